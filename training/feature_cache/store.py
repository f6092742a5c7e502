# SPDX-License-Identifier: GPL-3.0-or-later
"""The feature cache on disk: files of a few dozen samples, each complete or absent.

    OUT/set.json                        how it was made
    OUT/clip-000000.safetensors, ...    8-bit features, hand crops, conditioning, truth, a small picture each
    OUT/still-000000.safetensors, ...
    OUT/refined/                        the conditioning of each of them as read by a landmark head, and that head

Features are those of a frozen backbone. Rounding to 8 bits changes them by 3 %, less
than pictures of one hand differ.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from inference_core.shared.errors import DuohandError
from inference_core.two_hand.records import Conditioning
from training.data.hand_crops import HandCrops
from training.data.sample import Sample

PICTURE_PX = 64
REFINED = "refined"
FORMAT_VERSION = 2
_CARD = "set.json"
_LEVELS = ("features_32", "features_16", "features_8")
_TRUTH = (
    *("present", "wrist_cam_m", "joints_rel_m", "joints_uv", "offset_m", "rotations", "betas", "visibility"),
    *("landmarks_uv", "landmarks_rel_m"),
)
_CONDITIONING = tuple(field.name for field in fields(Conditioning))
_SMALL_PICTURE = ("picture", "K")
_CROP_COLUMNS = ("crops", "uv_from_px")
_CROP_FEATURES = "crop_features"
_LARGEST = 448.0
_IN_CROP = 0.3


class SetError(DuohandError):
    """A feature cache cannot be written or read."""


@dataclass(frozen=True)
class SetCard:
    """How a set was made: the backbone whose features it holds, the seed, the settings of the scenes."""

    backbone: str
    seed: int
    clip_frames: int
    scenes: Mapping[str, Any]


def open_set(folder: Path, card: SetCard) -> None:
    """Write the folder's card, or check that it is the same. Raises SetError."""
    text = json.loads(json.dumps({"format_version": FORMAT_VERSION, **asdict(card)}))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _CARD
        if path.exists() and json.loads(path.read_text()) != text:
            raise SetError(
                f"{folder} holds a set made with other settings (see its {_CARD}). Continue it with the same seed and "
                "settings, or choose another folder."
            )
        path.write_text(json.dumps(text, indent=1))
    except (OSError, ValueError) as error:
        raise SetError(f"Cannot write to {folder}: {error}. Choose a folder you may write.") from error


def read_backbone(folder: Path) -> str:
    """The backbone of the folder's features. Raises SetError if there is no set."""
    try:
        text = json.loads((folder / _CARD).read_text())
        if text["format_version"] != FORMAT_VERSION:
            raise SetError(f"{folder} is of another format version. Make the set again with this version.")
        return str(text["backbone"])
    except (OSError, ValueError, KeyError) as error:
        raise SetError(
            f"{folder} holds no set ({error}). Make one with `python -m training cache make {folder}`."
        ) from error


def write_part(path: Path, sample: Sample) -> None:
    """Store samples that have features and conditioning. Raises SetError; nothing incomplete is left behind."""
    assert sample.levels is not None and sample.conditioning is not None and sample.hand_crops is not None
    tensors = {name: getattr(sample, name) for name in _TRUTH}
    tensors |= {f"conditioning_{name}": getattr(sample.conditioning, name) for name in _CONDITIONING}
    tensors |= {f"hand_{name}": getattr(sample.hand_crops, name) for name in _CROP_COLUMNS}
    tensors |= {
        name: to_bytes(level).view(torch.float8_e4m3fn)
        for name, level in zip(
            (*_LEVELS, _CROP_FEATURES), (*sample.levels, sample.hand_crops.features), strict=True
        )
    }
    scale = PICTURE_PX / sample.image.shape[-1]
    small = F.interpolate(sample.image, (PICTURE_PX, PICTURE_PX), mode="area")
    tensors |= {
        "picture": (small * 255).round().to(torch.uint8),
        "K": sample.K * small.new_tensor([[scale], [scale], [1]]),
    }
    _save(tensors, path)


class StoredSet:
    """All samples of some files of a folder with their refined conditioning, held in memory (0.2 MB each)."""

    def __init__(self, folder: Path, paths: list[Path]) -> None:
        """Raises SetError if there is nothing, a file is damaged, or the set has no refined conditioning."""
        self.backbone = read_backbone(folder)
        _must_be_some(folder, paths)
        self._columns: dict[str, Tensor] = {}
        for name in (*_TRUTH, *_LEVELS, *_SMALL_PICTURE):
            parts = [_read(path, name) for path in paths]
            self._columns[name] = torch.cat(
                [part.view(torch.uint8) if name in _LEVELS else part for part in parts]
            )
        for name in _CONDITIONING:
            parts = [_read(_refined_path(folder, path), name) for path in paths]
            self._columns[f"conditioning_{name}"] = torch.cat(parts)

    def __len__(self) -> int:
        return len(self._columns["K"])

    def rows(self, numbers: Tensor, fine: bool = True) -> Sample:
        """The samples of some numbers, 0 .. len - 1. fine: with the finest features, which only the second refinement
        stage reads; else they are empty.
        """
        levels = [
            from_bytes(self._columns[name][numbers])
            if fine or name != _LEVELS[0]
            else torch.empty(len(numbers), 0)
            for name in _LEVELS
        ]
        chosen = {name: self._columns[name][numbers] for name in self._columns if name not in _LEVELS}
        return replace(_sample(chosen), levels=tuple(levels))


def read_raw(folder: Path, path: Path) -> Sample:
    """The samples of one file with hand crops and the conditioning as found, without features. Raises SetError."""
    read_backbone(folder)
    names = (*_TRUTH, *_SMALL_PICTURE, *(f"conditioning_{name}" for name in _CONDITIONING))
    hand_crops = HandCrops(
        features=from_bytes(_read(path, _CROP_FEATURES).view(torch.uint8)),
        **{name: _read(path, f"hand_{name}") for name in _CROP_COLUMNS},
    )
    return replace(_sample({name: _read(path, name) for name in names}), hand_crops=hand_crops)


def write_refined(folder: Path, path: Path, conditioning: Conditioning) -> None:
    """Store the refined conditioning of one file of the set. Raises SetError; nothing incomplete is left behind."""
    _save({name: getattr(conditioning, name) for name in _CONDITIONING}, _refined_path(folder, path))


def _refined_path(folder: Path, path: Path) -> Path:
    return folder / REFINED / path.name


def _sample(columns: Mapping[str, Tensor]) -> Sample:
    truth = {name: columns[name] for name in _TRUTH}
    truth["present"] = truth["present"] & in_crop(truth["joints_uv"])
    empty = truth["joints_rel_m"][:, :, :0]
    return Sample(
        image=columns["picture"].float() / 255,
        K=columns["K"],
        vertices_rel_m=empty,
        vertices_uv=empty[..., :2],
        side_mask=torch.zeros(len(empty), 1, 1, dtype=torch.int64),
        conditioning=Conditioning(*(columns[f"conditioning_{name}"] for name in _CONDITIONING)),
        levels=None,
        hand_crops=None,
        **truth,
    )


def in_crop(joints_uv: Tensor) -> Tensor:
    """(B, S) bool: enough of the hand is in the crop for a network to estimate it; other hands count as absent."""
    return (joints_uv.abs() <= 1).all(-1).float().mean(-1) >= _IN_CROP


# The value of each byte; a look-up is four times faster than torch's own conversion.
_MEANING = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()


def from_bytes(values: Tensor) -> Tensor:
    """The floats that stored bytes represent."""
    return _MEANING.index_select(0, values.flatten().int()).view(values.shape)


def to_bytes(values: Tensor) -> Tensor:
    """Floats in their stored form, 8-bit floats in uint8; the inverse of from_bytes."""
    return values.clamp(-_LARGEST, _LARGEST).to(torch.float8_e4m3fn).view(torch.uint8)


def write_columns(path: Path, columns: Mapping[str, Tensor]) -> None:
    """Store columns of one file. Raises SetError; nothing incomplete is left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(columns, path)


def read_columns(path: Path, names: Sequence[str]) -> dict[str, Tensor]:
    """Columns of one file. Raises SetError if it is damaged."""
    return {name: _read(path, name) for name in names}


def _must_be_some(folder: Path, paths: list[Path]) -> None:
    if not paths:
        raise SetError(f"{folder} holds no samples: run `python -m training cache make {folder}` first.")


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    part = path.with_suffix(".part")
    try:
        save_file({name: value.contiguous() for name, value in tensors.items()}, part)
        part.replace(path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise SetError(f"Cannot write {path}: {error}. Make room and run the same command again.") from error


def _read(path: Path, name: str) -> Tensor:
    if path.parent.name == REFINED and not path.exists():
        raise SetError(
            f"There is no refined conditioning {path}: run "
            f"`python -m training cache refine {path.parents[1]} HEAD`."
        )
    try:
        with safe_open(path, "pt") as file:
            return file.get_tensor(name)
    except (OSError, SafetensorError) as error:
        raise SetError(f"{path} is damaged ({error}). Delete it and make the set again.") from error
