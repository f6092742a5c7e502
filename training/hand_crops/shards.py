# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand crops on disk: files of a few hundred rows, complete or absent, read without loading them into memory."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor

from training.feature_cache.store import SetError, from_bytes, read_columns, write_columns
from training.hand_crops.made import CropRows
from training.synthetic.settings import Settings

PICTURES_A_SHARD = 192
# Seeds of the validation crops, outside the range of training seeds.
VALIDATION_SEED = 900_000_001
_FEATURES, _FEATURES_SHAPE = "features", (112, 14, 14)


# Ways of touching in which the other hand was missed most often, drawn more often than usual.
_HARD_WAYS = (
    *((f"{finger} tips", 0.8) for finger in ("thumb", "index", "middle", "ring", "pinky")),
    ("counts ring", 0.8),
    ("wrist grasped", 2.4),
    ("wrist grasped below", 2.0),
    ("prayer", 2.0),
    ("clasp", 2.8),
    ("fist in palm", 2.0),
    ("fist wrapped", 1.8),
)


def scene_settings() -> Settings:
    """The settings of the pictures' contents."""
    return Settings(
        vertices=False,
        supersample=1,
        one_hand=0.3,
        no_hand=0.0,
        touching=0.7,
        ways=_HARD_WAYS,
        own_eyes=0.33,
    )


def shard_path(folder: Path, seed: int, number: int) -> Path:
    """The file of that shard."""
    return folder / f"crops-{seed}-{number:06d}.safetensors"


def write_shard(path: Path, rows: CropRows) -> None:
    """Store the rows. Raises SetError; nothing incomplete is left behind."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetError(f"Cannot write to {path.parent}: {error}. Choose a folder you may write.") from error
    write_columns(path, {field.name: getattr(rows, field.name) for field in fields(rows)})


def training_shards(folder: Path) -> list[Path]:
    """The shards of a folder without those for validation."""
    validation = set(validation_shards(folder))
    return [path for path in sorted(folder.glob("crops-*.safetensors")) if path not in validation]


def validation_shards(folder: Path) -> list[Path]:
    """The shards of the validation seed."""
    return sorted(folder.glob(f"crops-{VALIDATION_SEED}-*.safetensors"))


class CropSet:
    """N crops of some shards: their truth in memory, their features read from the files on demand."""

    def __init__(self, paths: Sequence[Path], known: "CropSet | None" = None) -> None:
        """known: a set with fewer of the same shards, whose truth is not read again.

        Raises SetError if there is nothing, or a file is damaged.
        """
        if not paths:
            raise SetError(
                "There are no hand crops. Make some with `python -m training generate crops FOLDER`."
            )
        held = {} if known is None else known._truth
        self._truth = {path: held[path] if path in held else _truth_of(path) for path in paths}
        self._paths = list(paths)
        lengths = [len(truth["side"]) for truth in self._truth.values()]
        self._ends = torch.tensor(lengths).cumsum(0)
        self._features: dict[Path, Tensor] = {} if known is None else known._features
        self.points, self.world_m = self._column("points"), self._column("world_m")
        self.right, self.own_view = self._column("right"), self._column("own_view")
        self.gap_m, self.partner = self._column("gap_m"), self._column("partner")

    def __len__(self) -> int:
        return len(self.points)

    def features(self, rows: Tensor) -> Tensor:
        """(N, 112, 14, 14) of some rows."""
        shard = torch.bucketize(rows, self._ends, right=True)
        out = torch.empty(len(rows), *_FEATURES_SHAPE, dtype=torch.uint8)
        for at, (number, row) in enumerate(zip(shard.tolist(), rows.tolist(), strict=True)):
            start = int(self._ends[number - 1]) if number else 0
            out[at] = self._stored(self._paths[number])[row - start]
        return from_bytes(out)

    def _column(self, name: str) -> Tensor:
        return torch.cat([truth[name] for truth in self._truth.values()])

    def _stored(self, path: Path) -> Tensor:
        if path not in self._features:
            self._features[path] = read_columns(path, [_FEATURES])[_FEATURES]
        return self._features[path]


def _truth_of(path: Path) -> dict[str, Tensor]:
    return read_columns(path, [field.name for field in fields(CropRows) if field.name != _FEATURES])
