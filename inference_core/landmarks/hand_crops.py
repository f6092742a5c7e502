# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand crops: single hands as the landmark network sees them, mirrored so that every hand is a right one.

N hand crops with squares as in `landmarks.crop_squares`. Points in them are -1..1, x right, y down; world landmarks
are in the crop's axes: seen along the ray through the hand, rotated upright.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import cut, to_crop, to_frame, turn_to_frame
from inference_core.landmarks.formats import CROP_PX, FEATURES
from inference_core.landmarks.networks import LandmarkNetworks
from inference_core.shared.skeleton import LEFT

_BATCH = 8
_HALF = CROP_PX / 2

Floats = NDArray[np.float64]
Sides = NDArray[np.int64]
Picture = NDArray[np.uint8]
Features = NDArray[np.float32]


def crop_features(
    images: Sequence[Picture], crops: Floats, sides: Sides, networks: LandmarkNetworks
) -> Features:
    """(N, 112, 14, 14) early features of crop n (4,) of RGB image n (H, W, 3)."""
    pictures = (cut(image, crop, CROP_PX) for image, crop in zip(images, crops, strict=True))
    return features_of(as_right_hands(pictures, sides), networks)


def as_right_hands(pictures: Iterable[Picture], sides: Sides) -> Iterator[Picture]:
    """Hands that are cut out (224, 224, 3), those of the left side mirrored."""
    return (
        picture[:, ::-1] if side == LEFT else picture for side, picture in zip(sides, pictures, strict=True)
    )


def features_of(pictures: Iterable[Picture], networks: LandmarkNetworks) -> Features:
    """The same of hands that are cut out already (224, 224, 3), left ones mirrored."""
    coming, parts = iter(pictures), list[NDArray[np.float32]]()
    while some := list(islice(coming, _BATCH)):
        parts.append(networks.early_features(np.stack(some)))
    return np.concatenate(parts) if parts else np.empty((0, *FEATURES), np.float32)


def points_to_crop(points_px: Floats, crops: Floats, sides: Sides) -> Floats:
    """Points (N, P, 2) from frame pixels to the crop."""
    flat = np.concatenate([points_px, np.zeros_like(points_px[..., :1])], -1)
    inside = (to_crop(flat, crops, CROP_PX)[..., :2] - _HALF) / _HALF
    return _mirrored(inside, sides)


def points_to_frame(points: Floats, crops: Floats, sides: Sides) -> Floats:
    """Points (N, P, 2) from the crop to frame pixels; undoes `points_to_crop`."""
    inside = _mirrored(points, sides) * _HALF + _HALF
    flat = np.concatenate([inside, np.zeros_like(inside[..., :1])], -1)
    return to_frame(flat, crops, CROP_PX)[..., :2]


def world_to_crop(world_m: Floats, crops: Floats, sides: Sides) -> Floats:
    """Points (N, P, 3) about the hand, from upright camera axes along its ray to the crop's axes."""
    back = np.concatenate([crops[:, :3], -crops[:, 3:]], -1)
    return _mirrored(turn_to_frame(world_m, back), sides)


def world_to_frame(world_m: Floats, crops: Floats, sides: Sides) -> Floats:
    """Undoes `world_to_crop`."""
    return turn_to_frame(_mirrored(world_m, sides), crops)


def _mirrored(points: Floats, sides: Sides) -> Floats:
    out = points.copy()
    out[sides == LEFT, :, 0] *= -1
    return out
