# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the bodies that the pose network finds are there.

Where no person is in view it finds small ones in hands, taps and sinks, as present as true ones. A true one shows both
shoulders, and is large beside its hands even where those are held towards the camera.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.body_reader import ELBOW, SHOULDER
from inference_core.tracking.detections import ShotDetections

# Both shoulders are this likely to be visible; from one to the other, or from one to its elbow, it is at least so many
# hand sizes (shares of the crop's side, about 0.65 of a hand's length): 1.2 to 3.4 of true bodies, up to 0.7 of others.
_SHOULDER_SCORE, _LEAST_LENGTH = 0.5, 0.9
# Sightings within so many frames tell how large the hands are; where there are none, all of the shot's do.
_NEAR_FRAMES = 12

Floats = NDArray[np.float64]


def with_true_bodies(detections: ShotDetections, hand_px: Floats) -> ShotDetections:
    """The detections without the arms of bodies that are none, as where no person was found. hand_px (N,): sizes."""
    arms_px, arms_m = detections.arms_px.copy(), detections.arms_m.copy()
    for at in np.flatnonzero(np.isfinite(arms_px).all((-1, -2, -3))):
        near = np.abs(detections.at - at) <= _NEAR_FRAMES
        size_px = float(np.median(hand_px[near if near.any() else slice(None)]))
        if not is_body(arms_px[at], size_px, detections.size_px):
            arms_px[at], arms_m[at] = (np.nan, np.nan, 0.0), np.nan
    return replace(detections, arms_px=arms_px, arms_m=arms_m)


def is_body(arms: NDArray[np.floating], hand_px: float, size_px: tuple[int, int]) -> bool:
    """Whether arms (S, 3, 3), x, y in pixels and a score, can be those of a person with hands of hand_px, in a
    picture of width and height size_px.
    """
    shoulders, elbows = arms[:, SHOULDER].astype(np.float64), arms[:, ELBOW].astype(np.float64)
    inside = ((shoulders[:, :2] >= 0) & (shoulders[:, :2] < np.array(size_px))).all()
    across_px = np.linalg.norm(shoulders[0, :2] - shoulders[1, :2])
    upper_px = np.linalg.norm(shoulders[:, :2] - elbows[:, :2], axis=-1).max()
    large = max(across_px, upper_px) >= _LEAST_LENGTH * hand_px
    return bool(inside and large and shoulders[:, 2].min() >= _SHOULDER_SCORE)
