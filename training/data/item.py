# SPDX-License-Identifier: GPL-3.0-or-later
"""One stored picture of two hands from a data set on disk, and the training samples made from a batch of them.

Workers only read files; meshes are posed for the whole batch on the training device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.hand_model.hand import HandModel
from inference_core.shared.errors import DuohandError
from training.data.sample import LEFT_HAND, RIGHT_HAND, Sample, uv_from_camera

CROP_PX = 256
BOX_SHARE = 0.8
_ENDS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}


class DataSetError(DuohandError):
    """A data set is missing, incomplete, or has an unreadable part."""


class DamagedItemError(DataSetError):
    """One item cannot be read; the rest of the data set can."""


@dataclass(frozen=True)
class StoredItem:
    """One picture, or B of them stacked.

    image (3, N, N) uint8 RGB; side_mask (M, M) and dense (3, M, M) uint8, zeros where the source has none; K
    (3, 3); present (S,) bool; rotations (S, 16, 3, 3) and wrist_cam_m (S, 3) in the picture's camera, betas
    (S, 10): see Sample.
    """

    image: Tensor
    side_mask: Tensor
    dense: Tensor
    K: Tensor
    present: Tensor
    rotations: Tensor
    betas: Tensor
    wrist_cam_m: Tensor


def stacked(items: Sequence[StoredItem]) -> StoredItem:
    """A batch of items."""
    names = [field.name for field in dataclasses.fields(StoredItem)]
    return StoredItem(**{name: torch.stack([getattr(item, name) for item in items]) for name in names})


def sample_from_items(items: StoredItem, hand: HandModel, device: torch.device) -> Sample:
    """The training samples of a batch of items, on the device; `hand`: the model their parameters are of."""
    names = [field.name for field in dataclasses.fields(StoredItem)]
    items = StoredItem(**{name: getattr(items, name).to(device, non_blocking=True) for name in names})
    posed = hand.with_shape(items.betas).with_pose(items.rotations, items.wrist_cam_m)
    wrist = items.wrist_cam_m[:, :, None]
    landmarks, K, crop_px = posed.landmarks21_m, items.K[:, None], items.image.shape[-1]
    return Sample(
        image=items.image.float() / 255,
        K=items.K,
        present=items.present,
        wrist_cam_m=items.wrist_cam_m,
        joints_rel_m=posed.joints21_m - wrist,
        vertices_rel_m=posed.vertices_m - wrist,
        joints_uv=uv_from_camera(posed.joints21_m, K, crop_px),
        vertices_uv=uv_from_camera(posed.vertices_m, K, crop_px),
        offset_m=items.wrist_cam_m[:, 1] - items.wrist_cam_m[:, 0],
        rotations=items.rotations,
        betas=items.betas,
        side_mask=items.side_mask.long(),
        dense=items.dense.float() / 255,
        landmarks_uv=uv_from_camera(landmarks, K, crop_px),
        landmarks_rel_m=landmarks - landmarks[:, :, :1],
    )


def read_picture(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB. Raises DamagedItemError for a file that is missing, truncated or not a picture."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise DamagedItemError(f"{path} cannot be read: {error.strerror}.") from error
    # A truncated picture still decodes, its lower part grey or black; only its end marker is missing.
    end = _ENDS.get(path.suffix.lower(), b"")
    cut = not bytes(data).endswith(end)
    image = None if cut or data.size == 0 else cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise DamagedItemError(f"{path} is damaged or no picture.")
    return np.ascontiguousarray(image[..., ::-1]).astype(np.uint8)


def planes(image: NDArray[np.uint8]) -> Tensor:
    """(3, H, W) of an (H, W, 3) picture."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def square_crop(vertices_cam_m: NDArray[np.floating], K: NDArray[np.floating]) -> NDArray[np.float64]:
    """Affine map (3, 3) from a picture's pixels to those of a square around vertices (...,
    3), whose box takes up 0.8 of it.

    This is the preparation that DIR's data came from.
    """
    pixels = vertices_cam_m.reshape(-1, 3).astype(np.float64) @ K.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    scale, centre = CROP_PX * BOX_SHARE / float((high - low).max()), (low + high) / 2
    return np.array(
        [[scale, 0, CROP_PX / 2 - scale * centre[0]], [0, scale, CROP_PX / 2 - scale * centre[1]], [0, 0, 1]]
    )


def sides_of_colours(mask: NDArray[np.uint8]) -> Tensor:
    """(H, W) uint8 side mask of an RGB picture in which red over 50 is the right hand and green the left."""
    sides = np.zeros(mask.shape[:2], np.uint8)
    sides[mask[..., 1] > 50] = LEFT_HAND
    sides[mask[..., 0] > 50] = RIGHT_HAND
    return torch.from_numpy(sides)


def first_missing(root: Path, pieces: Sequence[str], what: str) -> None:
    """Raise DataSetError naming the first of `pieces` (paths under root) that is missing."""
    for piece in ("", *pieces):
        path = root / piece
        if not path.exists():
            raise DataSetError(
                f"{what}: {path} is missing. docs/datasets.md shows the folder tree it belongs to."
            )
