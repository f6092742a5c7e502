# SPDX-License-Identifier: GPL-3.0-or-later
"""The set on disk: files of some dozens of samples, each whole or not there.

    OUT/set.json                        what made it
    OUT/clip-000000.safetensors, ...    features as 8-bit floats, evidence, truth, a small picture of each sample
    OUT/still-000000.safetensors, ...

Features are those of a still backbone: rounded to 8 bits they are off by 3 %, far less than pictures of one hand differ.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from inference_core.errors import DuohandError
from inference_core.network.records import CropEvidence
from training.sample import Sample

PICTURE_PX = 64
FORMAT_VERSION = 1
_CARD = "set.json"
_LEVELS = ("features_32", "features_16", "features_8")
_TRUTH = (
    *("present", "wrist_cam_m", "joints_rel_m", "joints_uv", "offset_m", "rotations", "betas", "visibility"),
    *("landmarks_uv", "landmarks_rel_m"),
)
_EVIDENCE = tuple(field.name for field in fields(CropEvidence))
_LARGEST = 448.0


class SetError(DuohandError):
    """A precomputed set cannot be written or read."""


@dataclass(frozen=True)
class SetCard:
    """What a set was made with: the backbone whose features it holds, the seed, the settings of the scenes."""

    backbone: str
    seed: int
    clip_frames: int
    scenes: Mapping[str, Any]


def open_set(folder: Path, card: SetCard) -> None:
    """Writes the folder's card, or checks that it is the same. Raises SetError."""
    text = json.loads(json.dumps({"format_version": FORMAT_VERSION, **asdict(card)}))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _CARD
        if path.exists() and json.loads(path.read_text()) != text:
            raise SetError(
                f"{folder} holds a set made otherwise (see its {_CARD}). Continue it with the same seed and "
                "settings, or choose another folder."
            )
        path.write_text(json.dumps(text, indent=1))
    except (OSError, ValueError) as error:
        raise SetError(f"Cannot write to {folder}: {error}. Choose a folder you may write.") from error


def read_backbone(folder: Path) -> str:
    """Whose features the folder holds. Raises SetError where there is no set."""
    try:
        text = json.loads((folder / _CARD).read_text())
        if text["format_version"] != FORMAT_VERSION:
            raise SetError(f"{folder} is of another format version. Make the set anew with this version.")
        return str(text["backbone"])
    except (OSError, ValueError, KeyError) as error:
        raise SetError(
            f"{folder} holds no set ({error}). Make one with `python -m training.precomputed {folder}`."
        ) from error


def write_part(path: Path, sample: Sample) -> None:
    """Stores samples that have features and evidence. Raises SetError; nothing half-written is left."""
    assert sample.levels is not None and sample.evidence is not None
    tensors = {name: getattr(sample, name) for name in _TRUTH}
    tensors |= {f"evidence_{name}": getattr(sample.evidence, name) for name in _EVIDENCE}
    tensors |= {
        name: level.clamp(-_LARGEST, _LARGEST).to(torch.float8_e4m3fn)
        for name, level in zip(_LEVELS, sample.levels, strict=True)
    }
    scale = PICTURE_PX / sample.image.shape[-1]
    small = F.interpolate(sample.image, (PICTURE_PX, PICTURE_PX), mode="area")
    tensors |= {
        "picture": (small * 255).round().to(torch.uint8),
        "K": sample.K * small.new_tensor([[scale], [scale], [1]]),
    }
    part = path.with_suffix(".part")
    try:
        save_file({name: value.contiguous() for name, value in tensors.items()}, part)
        part.replace(path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise SetError(f"Cannot write {path}: {error}. Make room and run the same command again.") from error


class StoredSet:
    """All samples of a folder, read from the disk as they are asked for."""

    def __init__(self, folder: Path, paths: list[Path]) -> None:
        """Raises SetError where there is nothing, or a file is damaged."""
        self.backbone = read_backbone(folder)
        self._files: list[Any] = []
        lengths: list[int] = []
        for path in paths:
            try:
                file = safe_open(path, "pt")
                lengths.append(file.get_slice("K").get_shape()[0])
            except (OSError, SafetensorError) as error:
                raise SetError(f"{path} is damaged ({error}). Delete it and make the set anew.") from error
            self._files.append(file)
        if not lengths:
            raise SetError(f"{folder} holds no samples: run `python -m training.precomputed {folder}` first.")
        self._ends = np.cumsum(lengths)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def rows(self, numbers: Tensor) -> Sample:
        """The samples of some numbers, 0 .. len - 1."""
        where = numbers.numpy()
        file = np.searchsorted(self._ends, where, "right")
        row = where - np.concatenate([[0], self._ends])[file]
        places = list(zip(file.tolist(), row.tolist(), strict=True))

        def column(name: str) -> Tensor:
            return torch.cat([self._files[f].get_slice(name)[r : r + 1] for f, r in places])

        truth = {name: column(name) for name in _TRUTH}
        empty = truth["joints_rel_m"][:, :, :0]
        return Sample(
            image=column("picture").float() / 255,
            K=column("K"),
            vertices_rel_m=empty,
            vertices_uv=empty[..., :2],
            side_mask=torch.zeros(len(where), 1, 1, dtype=torch.int64),
            evidence=CropEvidence(*(column(f"evidence_{name}") for name in _EVIDENCE)),
            levels=tuple(column(name).float() for name in _LEVELS),
            **truth,
        )
