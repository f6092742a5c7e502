# SPDX-License-Identifier: GPL-3.0-or-later
"""Two-hand clips 01 to 07 of "Hands in Action" (Tzionas et al., IJCV 2016) with MANO fits; for testing only.

ROOT/<clip>/1/rgb/<frame>.png and the archive of MANO fits for 21 joints beside them, as they are
published; see docs/datasets.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from torch import Tensor

from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.mano_pickle import read_inert
from inference_core.shared.errors import HandModelError
from inference_core.shared.skeleton import LEFT
from training.data.item import (
    CROP_PX,
    DamagedItemError,
    DataSetError,
    StoredItem,
    first_missing,
    planes,
    read_picture,
    square_crop,
)

CLIPS = tuple(f"{number:02d}" for number in range(1, 8))
FITS = "IJCV16___Results_MANO___parms_for___joints21"
# The camera of the recordings (PrimeSense Carmine, 640 x 480), as published.
K_FRAME = np.array([[525.0, 0.0, 319.5], [0.0, 525.0, 239.5], [0.0, 0.0, 1.0]])
# Largest mean distance between a fit's own vertices and those computed from its parameters.
_MATCH_M = 0.001

Fingers = Literal["components", "about the mean hand", "as they are"]


@dataclass(frozen=True)
class Reading:
    """How to interpret a fit: the meaning of its 45 finger values, and whether the left shape directions are wrong
    (not mirrored: MANO v1.2's error, which `hand_model` corrects).
    """

    fingers: Fingers
    left_slipped: bool

    def model(self, hand: HandModel) -> HandModel:
        """The hand model that the fits are of."""
        if not self.left_slipped:
            return hand
        shape_dirs = hand.shape_dirs.clone()
        shape_dirs[LEFT] *= shape_dirs.new_tensor([-1.0, 1.0, 1.0])[:, None]
        return replace(hand, shape_dirs=shape_dirs)


READINGS = tuple(Reading(*meaning) for meaning in product(get_args(Fingers), (False, True)))


@dataclass(frozen=True)
class Fit:
    """Both hands' numbers as stored: pose (2, 48), betas (2, 10), trans (2, 3), and vertices_m (2, V, 3)."""

    pose: Tensor
    betas: Tensor
    trans: Tensor
    vertices_m: Tensor


@dataclass(frozen=True)
class HandsInAction:
    """All frames of the clips that have fits of both hands. Indexing reads one item.

    hand: MANO as the fits have it; fingers: what the fits' finger numbers are. frames: the picture, and the left and
    the right hand's fit.
    """

    hand: HandModel
    frames: tuple[tuple[Path, Path, Path], ...]
    fingers: Fingers

    @staticmethod
    def opened(root: Path, hand: HandModel) -> HandsInAction:
        """The clips under `root`; the hand model must be MANO.

        Raises DataSetError naming the first missing piece, or if the fits are not of this hand model.
        """
        pieces = [*(f"{clip}/1/rgb" for clip in CLIPS)]
        pieces += [f"{FITS}/{_fit_folder(clip, side)}" for clip in CLIPS for side in "LR"]
        first_missing(root, pieces, "Hands in Action")
        frames: list[tuple[Path, Path, Path]] = []
        for clip in CLIPS:
            left, right = (root / FITS / _fit_folder(clip, side) for side in "LR")
            for picture in sorted((root / clip / "1" / "rgb").glob("*.png")):
                fits = left / f"{picture.stem}.pkl", right / f"{picture.stem}.pkl"
                if all(path.exists() for path in fits):
                    frames.append((picture, *fits))
        if not frames:
            raise DataSetError(
                f"Hands in Action: no frame under {root} has a picture and fits of both hands."
            )
        reading = _meaning(frames, hand)
        return HandsInAction(reading.model(hand), tuple(frames), reading.fingers)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> StoredItem:
        """Item number `index`, cropped around both hands. Raises DamagedItemError."""
        picture, left, right = self.frames[index]
        image = read_picture(picture)
        fit = _read_fit(left, right)
        rotations, wrist = parameters(fit, self.hand, self.fingers)
        off_m = _off_m(fit, self.hand, rotations, wrist)
        if not off_m < _MATCH_M:
            raise DamagedItemError(
                f"{left} and {right}: their vertices lie {off_m * 1e3:.1f} mm off their pose."
            )
        A = square_crop(fit.vertices_m.numpy(), K_FRAME)
        crop = cv2.warpAffine(image, A[:2], (CROP_PX, CROP_PX), flags=cv2.INTER_LINEAR)
        nothing = torch.zeros(CROP_PX, CROP_PX, dtype=torch.uint8)
        return StoredItem(
            image=planes(np.asarray(crop, np.uint8)),
            side_mask=nothing,
            dense=nothing.expand(3, -1, -1).clone(),
            K=torch.from_numpy((A @ K_FRAME).astype(np.float32)),
            present=torch.ones(2, dtype=torch.bool),
            rotations=rotations,
            betas=fit.betas,
            wrist_cam_m=wrist,
        )


def _fit_folder(clip: str, side: str) -> str:
    return f"IJCV16___fakeGT___IJCV___{clip}___Model_Hand_{side}___ncomps45"


def _meaning(frames: list[tuple[Path, Path, Path]], hand: HandModel) -> Reading:
    """The interpretation that reproduces the vertices of the first complete fit."""
    damage: list[str] = []
    for _, left, right in frames:
        try:
            fit = _read_fit(left, right)
        except DamagedItemError as error:
            damage.append(str(error))
            continue
        models = [reading.model(hand) for reading in READINGS]
        off_m = [
            _off_m(fit, model, *parameters(fit, model, reading.fingers))
            for model, reading in zip(models, READINGS, strict=True)
        ]
        best = int(np.argmin(off_m))
        if not off_m[best] < _MATCH_M:
            raise DataSetError(
                f"{left}: with this hand model the fit's numbers miss its own vertices by {off_m[best] * 1e3:.1f} mm "
                "at best. Name the MANO files (--mano) that the fits were made with."
            )
        return READINGS[best]
    raise DataSetError(
        f"Hands in Action: none of the {len(frames)} fits can be read. Download them again. The first: {damage[0]}"
    )


def parameters(fit: Fit, hand: HandModel, fingers: Fingers) -> tuple[Tensor, Tensor]:
    """rotations (2, 16, 3, 3) and wrist_cam_m (2, 3) of a fit."""
    vectors = fit.pose[:, 3:]
    if fingers == "components":
        vectors = hand.finger_vectors(vectors)
    elif fingers == "about the mean hand":
        vectors = vectors + hand.hands_mean
    rotations = exp(torch.cat([fit.pose[:, :3], vectors], 1).reshape(2, 16, 3))
    return rotations, hand.with_shape(fit.betas).rest_joints_m[:, 0] + fit.trans


def _off_m(fit: Fit, hand: HandModel, rotations: Tensor, wrist: Tensor) -> float:
    """Mean distance between the vertices computed from a fit's parameters and those stored with them."""
    vertices_m = hand.with_shape(fit.betas).with_pose(rotations, wrist).vertices_m
    return float((vertices_m - fit.vertices_m).norm(dim=-1).mean())


def _read_fit(left: Path, right: Path) -> Fit:
    columns: dict[str, list[Tensor]] = {"pose": [], "betas": [], "trans": [], "v": []}
    for path in (left, right):
        try:
            stored = read_inert(path.read_bytes(), path.name)
            for name, column in columns.items():
                column.append(torch.from_numpy(np.asarray(stored.array(name), np.float32)))
        except (HandModelError, OSError, KeyError, TypeError, ValueError) as error:
            raise DamagedItemError(f"{path} is not a fit of a hand: {error}.") from error
    shapes = {"pose": (2, 48), "betas": (2, 10), "trans": (2, 3), "v": (2, -1, 3)}
    try:
        pose, betas, trans, vertices_m = (
            torch.stack(column).reshape(shapes[name]) for name, column in columns.items()
        )
    except RuntimeError as error:
        raise DamagedItemError(f"{left} and {right} are not fits of two hands: {error}.") from error
    return Fit(pose, betas, trans, vertices_m)
