# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand crops: single hands as the landmark network sees them, mirrored so that every hand is a right one.

N hand crops. Their squares are those of `landmarks.crop_squares`; points in them are -1..1, x right, y down; world
landmarks stand in the crop's axes: seen along the ray through the hand, turned upright.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.landmarks.crop_squares import crops_from_landmarks, cut, to_crop, to_frame, turn_to_frame
from inference_core.landmarks.landmark_network import CROP_PX, FEATURES
from inference_core.landmarks.weights import LandmarkNetworks
from inference_core.shared.skeleton import LEFT

_BATCH = 8
_HALF = CROP_PX / 2

Floats = NDArray[np.float64]
Sides = NDArray[np.int64]


@dataclass(frozen=True)
class HandCrops:
    """Looks at both hands of B two-hand crops.

    features (B, S, 112, 14, 14): the landmark network's early ones. crops (B, S, 4): where it looked, in pixels of the
    whole picture; of side 0 where it did not. uv_from_px (B, 3, 3): homography from those pixels to the two-hand crop.
    """

    features: Tensor
    crops: Tensor
    uv_from_px: Tensor

    @staticmethod
    def joined(parts: Sequence[HandCrops]) -> HandCrops:
        """One batch of several."""
        names = (field.name for field in fields(HandCrops))
        return HandCrops(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def cut_hand_crops(
    images: Sequence[NDArray[np.uint8]],
    points_px: Floats,
    known: NDArray[np.bool_],
    uv_from_px: Floats,
    networks: LandmarkNetworks,
) -> HandCrops:
    """Looks at the known hands (B, S) of RGB images whose landmarks are at points_px (B, S, 21, 2)."""
    rows, sides = np.nonzero(known)
    crops = crops_from_landmarks(points_px[rows, sides])
    found = crop_features([images[row] for row in rows], crops, sides, networks)
    hand_crops = HandCrops(
        found.new_zeros(*known.shape, *found.shape[1:]),
        torch.zeros(*known.shape, 4),
        torch.from_numpy(uv_from_px).float(),
    )
    hand_crops.features[rows, sides] = found
    hand_crops.crops[rows, sides] = torch.from_numpy(crops).float()
    return hand_crops


def crop_features(
    images: Sequence[NDArray[np.uint8]], crops: Floats, sides: Sides, networks: LandmarkNetworks
) -> Tensor:
    """(N, 112, 14, 14) early features of crop n (4,) of RGB image n (H, W, 3), on the CPU."""
    parts: list[Tensor] = []
    for start in range(0, len(crops), _BATCH):
        part = slice(start, start + _BATCH)
        pictures = [cut(image, crop, CROP_PX) for image, crop in zip(images[part], crops[part], strict=True)]
        mirrored = [
            picture[:, ::-1] if side == LEFT else picture
            for picture, side in zip(pictures, sides[part], strict=True)
        ]
        parts.append(networks.early_features(np.stack(mirrored)))
    return torch.cat(parts) if parts else torch.empty(0, *FEATURES)


def points_to_crop(points_px: Floats, crops: Floats, sides: Sides) -> Floats:
    """Points (N, P, 2) from frame pixels to the look."""
    flat = np.concatenate([points_px, np.zeros_like(points_px[..., :1])], -1)
    inside = (to_crop(flat, crops, CROP_PX)[..., :2] - _HALF) / _HALF
    return _mirrored(inside, sides)


def points_to_frame(points: Floats, crops: Floats, sides: Sides) -> Floats:
    """Points (N, P, 2) from the look to frame pixels; undoes `points_to_crop`."""
    inside = _mirrored(points, sides) * _HALF + _HALF
    flat = np.concatenate([inside, np.zeros_like(inside[..., :1])], -1)
    return to_frame(flat, crops, CROP_PX)[..., :2]


def world_to_crop(world_m: Floats, crops: Floats, sides: Sides) -> Floats:
    """Points (N, P, 3) about the hand, seen along its ray in the camera's upright axes, in the look's axes."""
    back = np.concatenate([crops[:, :3], -crops[:, 3:]], -1)
    return _mirrored(turn_to_frame(world_m, back), sides)


def world_to_frame(world_m: Floats, crops: Floats, sides: Sides) -> Floats:
    """Undoes `world_to_crop`."""
    return turn_to_frame(_mirrored(world_m, sides), crops)


def _mirrored(points: Floats, sides: Sides) -> Floats:
    out = points.copy()
    out[sides == LEFT, :, 0] *= -1
    return out
