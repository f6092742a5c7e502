# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmarks of hands in given crops, for many crops of many frames at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.geometry.homography import mapped
from inference_core.landmarks.crop_squares import crops_from_landmarks, cut, to_frame, turn_to_frame
from inference_core.landmarks.facing import facing_crops
from inference_core.landmarks.formats import CROP_PX
from inference_core.landmarks.networks import LandmarkNetworks

_BATCH = 8

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HandReadings:
    """The landmark network's readings of N crops.

    points_px (N, 21, 3): x, y in frame pixels (centres at +0.5), z on the same scale. world_m (N, 21, 3): about
    the hand's centre, camera axes. presence, right (N,): 0..1. crops (N, 4): the crops that were read.
    next_crops (N, 4): where to look next.
    """

    points_px: Floats
    world_m: Floats
    presence: Floats
    right: Floats
    crops: Floats
    next_crops: Floats


def read_hands(
    images: Sequence[NDArray[np.uint8]], crops: Floats, networks: LandmarkNetworks
) -> HandReadings:
    """Read crop n (4,) of RGB image n (H, W, 3), for all n."""
    points, presence, right, world_m = _read(
        [cut(image, crop, CROP_PX) for image, crop in zip(images, crops, strict=True)], networks
    )
    points_px = to_frame(points, crops, CROP_PX)
    return HandReadings(
        points_px, turn_to_frame(world_m, crops), presence, right, crops, crops_from_landmarks(points_px)
    )


def read_facing(
    images: Sequence[NDArray[np.uint8]], crops: Floats, K: Floats, networks: LandmarkNetworks
) -> tuple[Floats, Floats]:
    """Landmarks (N, 21, 2) in frame pixels, and presence (N,), of crops (N, 4) as cameras that face them see them.

    K (3, 3): of the frame's camera.
    """
    pictures, back = facing_crops(images, crops, K, CROP_PX)
    points, presence, _, _ = _read(pictures, networks)
    return mapped(points[..., :2], back), presence


def _read(pictures: Sequence[NDArray[np.uint8]], networks: LandmarkNetworks) -> tuple[Floats, ...]:
    """Points, presence, right and world landmarks of crops (CROP_PX, CROP_PX, 3)."""
    starts = range(0, len(pictures), _BATCH)
    parts = [networks.run_landmark(np.stack(pictures[start : start + _BATCH])) for start in starts]
    return tuple(np.concatenate([part[k] for part in parts]).astype(np.float64) for k in range(4))
