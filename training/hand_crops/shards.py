# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand crops on disk: files of some hundreds of rows, whole or not there, read without being loaded."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from training.hand_crops.made import CropRows
from training.feature_cache.store import SetError, from_bytes, read_columns, write_columns
from training.synthetic.settings import Settings

PICTURES_A_SHARD = 192
# Seeds of the held-out crops lie where no training seed does.
HELD_OUT_SEED = 900_000_001
_FEATURES = "features"


def scene_settings() -> Settings:
    """What the pictures show."""
    return Settings(vertices=False, supersample=1, one_hand=0.3, no_hand=0.0, touching=0.7)


def shard_path(folder: Path, seed: int, number: int) -> Path:
    """The file of that shard."""
    return folder / f"crops-{seed}-{number:06d}.safetensors"


def write_shard(path: Path, rows: CropRows) -> None:
    """Stores the rows. Raises SetError; nothing half-written is left."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetError(f"Cannot write to {path.parent}: {error}. Choose a folder you may write.") from error
    write_columns(path, {field.name: getattr(rows, field.name) for field in fields(rows)})


class CropSet:
    """N crops of some shards: their truth in memory, their features read from the files when asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises SetError where there is nothing, or a file is damaged."""
        if not paths:
            raise SetError("There are no hand crops. Make some with `python -m training.hand_crops OUT`.")
        names = [field.name for field in fields(CropRows) if field.name != _FEATURES]
        columns = [read_columns(path, names) for path in paths]
        for name in names:
            setattr(self, name, torch.cat([column[name] for column in columns]))
        self._paths = list(paths)
        self._ends = torch.tensor([len(column["side"]) for column in columns]).cumsum(0)
        self._open: dict[int, Tensor] = {}
        self.points: Tensor
        self.world_m: Tensor
        self.right: Tensor

    def __len__(self) -> int:
        return len(self.points)

    def features(self, rows: Tensor) -> Tensor:
        """(N, 112, 14, 14) of some rows."""
        shard = torch.bucketize(rows, self._ends, right=True)
        out = torch.empty(len(rows), 112, 14, 14)
        for number in shard.unique().tolist():
            mine = shard == number
            start = int(self._ends[number - 1]) if number else 0
            out[mine] = from_bytes(self._features(number)[rows[mine] - start])
        return out

    def _features(self, number: int) -> Tensor:
        if number not in self._open:
            with safe_open(self._paths[number], "pt") as file:
                self._open[number] = file.get_tensor(_FEATURES)
        return self._open[number]
