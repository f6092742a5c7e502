# SPDX-License-Identifier: GPL-3.0-or-later
"""Rejects false bodies found by the pose network.

If no person is in view, it finds small bodies in hands, taps and sinks, with as high a score as real ones. A real
body shows both shoulders and is large compared with its hands, even when those are close to the camera.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.body_reader import ELBOW, SHOULDER
from inference_core.tracking.detections import ShotDetections

# Both shoulders have at least this visibility. The distance between them, or from one to its elbow, is at
# least this many hand sizes (as shares of the crop's side, about 0.65 of a hand's length): 1.2 to 3.4 for
# real bodies, up to 0.7 for false ones.
_SHOULDER_SCORE, _LEAST_LENGTH = 0.5, 0.9
# Hand sizes come from sightings within this many frames, or from the whole shot if there are none.
_NEAR_FRAMES = 12

Floats = NDArray[np.float64]


def with_true_bodies(detections: ShotDetections, hand_px: Floats) -> ShotDetections:
    """The detections with the arms of false bodies marked as if no person had been found. hand_px (N,): hand sizes."""
    arms_px, arms_m = detections.arms_px.copy(), detections.arms_m.copy()
    for at in np.flatnonzero(np.isfinite(arms_px).all((-1, -2, -3))):
        near = np.abs(detections.at - at) <= _NEAR_FRAMES
        size_px = float(np.median(hand_px[near if near.any() else slice(None)]))
        if not is_body(arms_px[at], size_px, detections.size_px):
            arms_px[at], arms_m[at] = (np.nan, np.nan, 0.0), np.nan
    return replace(detections, arms_px=arms_px, arms_m=arms_m)


def is_body(arms: NDArray[np.floating], hand_px: float, size_px: tuple[int, int]) -> bool:
    """Whether arms (S, 3, 3: x, y in pixels, score) can belong to a person with hands of size hand_px.

    size_px: width and height of the picture.
    """
    shoulders, elbows = arms[:, SHOULDER].astype(np.float64), arms[:, ELBOW].astype(np.float64)
    inside = ((shoulders[:, :2] >= 0) & (shoulders[:, :2] < np.array(size_px))).all()
    across_px = np.linalg.norm(shoulders[0, :2] - shoulders[1, :2])
    upper_px = np.linalg.norm(shoulders[:, :2] - elbows[:, :2], axis=-1).max()
    large = max(across_px, upper_px) >= _LEAST_LENGTH * hand_px
    return bool(inside and large and shoulders[:, 2].min() >= _SHOULDER_SCORE)
