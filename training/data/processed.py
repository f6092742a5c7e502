# SPDX-License-Identifier: GPL-3.0-or-later
"""InterHand2.6M in the layout that IntagHand's published preparation writes and DIR trains on.

ROOT/{train,val,test}/{img,mask,dense}/<i>.jpg and anno/<i>.pkl; see docs/datasets.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.mano_pickle import InertPickle, read_inert
from inference_core.shared.errors import HandModelError
from inference_core.shared.skeleton import SIDES
from training.data.item import (
    DamagedItemError,
    DataSetError,
    StoredItem,
    first_missing,
    planes,
    read_picture,
    sides_of_colours,
)

PIECES = ("img", "mask", "dense", "anno")


@dataclass(frozen=True)
class ProcessedInterHand:
    """A split of the processed data set; the hand model must be MANO. Indexing reads one item."""

    folder: Path
    hand: HandModel
    names: tuple[str, ...]

    @staticmethod
    def opened(root: Path, split: str, hand: HandModel) -> ProcessedInterHand:
        """The split under `root`. Raises DataSetError naming the first missing piece."""
        first_missing(root, [split, *(f"{split}/{piece}" for piece in PIECES)], "Processed InterHand2.6M")
        names = sorted((path.stem for path in (root / split / "anno").glob("*.pkl")), key=_number)
        if not names:
            raise DataSetError(f"Processed InterHand2.6M: {root / split / 'anno'} holds no <number>.pkl.")
        return ProcessedInterHand(root / split, hand, tuple(names))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> StoredItem:
        """Item number `index`. Raises DamagedItemError."""
        name = self.names[index]
        images = {piece: read_picture(self.folder / piece / f"{name}.jpg") for piece in PIECES[:3]}
        path = self.folder / "anno" / f"{name}.pkl"
        try:
            annotation = read_inert(path.read_bytes(), path.name)
            hands = _hands(annotation, self.hand)
        except (HandModelError, OSError, KeyError, TypeError, ValueError) as error:
            raise DamagedItemError(f"{path} is damaged: {error}") from error
        return StoredItem(
            image=planes(images["img"]),
            side_mask=sides_of_colours(images["mask"]),
            dense=planes(images["dense"]),
            present=torch.ones(2, dtype=torch.bool),
            **hands,
        )


def _hands(annotation: InertPickle, hand: HandModel) -> dict[str, torch.Tensor]:
    """K, rotations, betas and wrist_cam_m of an annotation: MANO in the world, seen by x_cam = R x + t."""
    camera = _inner(annotation, "camera")
    turn, shift, K = (_tensor(camera.array(key)) for key in ("R", "t", "camera"))
    sides = [_inner(_inner(annotation, "mano_params"), side) for side in SIDES]
    root, pose, shape, trans = (
        torch.stack([_tensor(side.array(key)) for side in sides]) for key in ("R", "pose", "shape", "trans")
    )
    betas = shape.reshape(2, 10)
    vectors = hand.finger_vectors(pose.reshape(2, 45))
    rotations = torch.cat([(turn @ root.reshape(2, 3, 3))[:, None], exp(vectors.reshape(2, 15, 3))], dim=1)
    wrist_world = hand.with_shape(betas).rest_joints_m[:, 0] + trans.reshape(2, 3)
    return {
        "K": K.reshape(3, 3),
        "rotations": rotations,
        "betas": betas,
        "wrist_cam_m": wrist_world @ turn.mT + shift.reshape(3),
    }


def _inner(held: InertPickle, key: str) -> InertPickle:
    value: Any = held.values[key]
    if not isinstance(value, dict):
        raise TypeError(f"{key} is not a dictionary")
    return InertPickle(value, f"{held.source}: {key}")


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array).astype(np.float32))


def _number(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (-1, name)
