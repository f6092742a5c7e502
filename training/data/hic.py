# SPDX-License-Identifier: GPL-3.0-or-later
"""Two-hand clips 01 to 07 of "Hands in Action" (Tzionas et al., IJCV 2016) with MANO fits; for testing only.

ROOT/<clip>/rgb/<frame>.{png,jpg} and ROOT/<clip>/mano/<frame>.npz; docs/datasets.md shows how to arrange the
download.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import HandModel
from training.data.item import (
    CROP_PX,
    DamagedItemError,
    DataSetError,
    StoredItem,
    first_missing,
    planes,
    read_picture,
)

CLIPS = tuple(f"{number:02d}" for number in range(1, 8))
# The camera of the recordings (PrimeSense Carmine, 640 x 480), as published with them.
K_FRAME = np.array([[525.0, 0.0, 319.5], [0.0, 525.0, 239.5], [0.0, 0.0, 1.0]])
# The box round both hands is this share of the crop, as in InterHand2.6M's preparation.
BOX_SHARE = 0.8


@dataclass(frozen=True)
class HandsInAction:
    """All frames of the clips that have fits of both hands; the hand model must be MANO. Indexing reads one
    item.
    """

    hand: HandModel
    frames: tuple[tuple[Path, Path], ...]

    @staticmethod
    def opened(root: Path, hand: HandModel) -> HandsInAction:
        """The clips under `root`. Raises DataSetError naming the first missing piece."""
        first_missing(
            root, [f"{clip}/{piece}" for clip in CLIPS for piece in ("rgb", "mano")], "Hands in Action"
        )
        frames: list[tuple[Path, Path]] = []
        for clip in CLIPS:
            pictures = {path.stem: path for path in sorted((root / clip / "rgb").iterdir())}
            fits = sorted((root / clip / "mano").glob("*.npz"))
            frames += [(pictures[fit.stem], fit) for fit in fits if fit.stem in pictures]
        if not frames:
            raise DataSetError(f"Hands in Action: no frame under {root} has both a picture and a fit.")
        return HandsInAction(hand, tuple(frames))

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> StoredItem:
        """Item number `index`, cropped round both hands. Raises DamagedItemError."""
        picture, fit = self.frames[index]
        image = read_picture(picture)
        pose, betas, trans = _fit(fit)
        shaped = self.hand.with_shape(betas)
        rotations = exp(pose.reshape(2, 16, 3))
        wrist = shaped.rest_joints_m[:, 0] + trans
        vertices = shaped.with_pose(rotations, wrist).vertices_m.numpy().astype(np.float64)
        A = _square_crop(vertices)
        crop = cv2.warpAffine(image, A[:2], (CROP_PX, CROP_PX), flags=cv2.INTER_LINEAR)
        nothing = torch.zeros(CROP_PX, CROP_PX, dtype=torch.uint8)
        return StoredItem(
            image=planes(np.asarray(crop, np.uint8)),
            side_mask=nothing,
            dense=nothing.expand(3, -1, -1).clone(),
            K=torch.from_numpy((A @ K_FRAME).astype(np.float32)),
            present=torch.ones(2, dtype=torch.bool),
            rotations=rotations,
            betas=betas,
            wrist_cam_m=wrist,
        )


def _fit(path: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """pose (2, 48) full axis-angles, betas (2, 10), trans (2, 3), left first, camera axes, metres."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            pose, betas, trans = (
                torch.from_numpy(arrays[name].astype(np.float32)) for name in ("pose", "betas", "trans")
            )
            return pose.reshape(2, 48), betas.reshape(2, 10), trans.reshape(2, 3)
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise DamagedItemError(f"{path} is no fit of both hands: {error}.") from error


def _square_crop(vertices_cam_m: NDArray[np.float64]) -> NDArray[np.float64]:
    pixels = vertices_cam_m.reshape(-1, 3) @ K_FRAME.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    scale, centre = CROP_PX * BOX_SHARE / float((high - low).max()), (low + high) / 2
    return np.array(
        [[scale, 0, CROP_PX / 2 - scale * centre[0]], [0, scale, CROP_PX / 2 - scale * centre[1]], [0, 0, 1]]
    )
