# SPDX-License-Identifier: GPL-3.0-or-later
"""The layout that `python -m training convert data-set` writes: pictures in folders, hands in one table.

ROOT/SPLIT/img/<i>.jpg, mask/<i>.png, dense/<i>.png and hands.npz: K (N, 3, 3), rotation_vectors (N, S, 16,
3) with the wrist's in camera axes, betas (N, S, 10), wrist_cam_m (N, S, 3), names (N,).
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import HandModel
from training.data.item import (
    DataSetError,
    StoredItem,
    first_missing,
    planes,
    read_picture,
    sides_of_colours,
)

COLUMNS = ("K", "rotation_vectors", "betas", "wrist_cam_m", "names")


@dataclass(frozen=True)
class PreparedHands:
    """A split of a prepared data set; `hand` is the model it was prepared with. Indexing reads one item."""

    TABLE: ClassVar[str] = "hands.npz"

    folder: Path
    hand: HandModel
    table: Mapping[str, NDArray[Any]]

    @staticmethod
    def opened(root: Path, split: str, hand: HandModel) -> PreparedHands:
        """The split under `root`. Raises DataSetError naming the first missing piece."""
        pieces = [split, f"{split}/img", f"{split}/mask", f"{split}/dense", f"{split}/{PreparedHands.TABLE}"]
        first_missing(root, pieces, "Prepared data set")
        path = root / split / PreparedHands.TABLE
        try:
            with np.load(path, allow_pickle=False) as arrays:
                table = {name: arrays[name] for name in COLUMNS}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataSetError(
                f"{path} is not a whole table ({error}). Run the preparation again."
            ) from error
        return PreparedHands(root / split, hand, table)

    def __len__(self) -> int:
        return len(self.table["names"])

    def __getitem__(self, index: int) -> StoredItem:
        """Item number `index`. Raises DamagedItemError."""
        row = {
            name: torch.from_numpy(np.asarray(self.table[name][index], np.float32)) for name in COLUMNS[:4]
        }
        name = str(self.table["names"][index])
        return StoredItem(
            image=planes(read_picture(self.folder / "img" / f"{name}.jpg")),
            side_mask=sides_of_colours(read_picture(self.folder / "mask" / f"{name}.png")),
            dense=planes(read_picture(self.folder / "dense" / f"{name}.png")),
            K=row["K"],
            present=torch.ones(2, dtype=torch.bool),
            rotations=exp(row["rotation_vectors"]),
            betas=row["betas"],
            wrist_cam_m=row["wrist_cam_m"],
        )
