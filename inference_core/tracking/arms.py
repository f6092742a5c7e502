# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hand is at the end of which arm.

Where a body is in view, its wrists tell. Where none is, but two hands are, the picture is mostly the person's own view
or one from above: each forearm runs on behind its wrist and out of the picture, and seen from the elbows the left one
is on the left.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.body_reader import WRIST
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.detections import ShotDetections

# What a body's wrists say of a hand holds for so many frames around.
_HOLDS_FRAMES = 12
# A hand's wrist is where the body's is to so many hand sizes; farther away than the second it is someone else's.
_WRIST_SPREAD, _WRIST_REACH = 0.4, 2.0
# A body that is found in less than this share of the frames looked at is not there.
_BODY_SHARE = 0.2
# The most that arms say of one sighting, in nats: enough to outweigh a handedness that errs surely.
_MOST_BY_BODY, _MOST_BY_FOREARMS = 6.0, 4.0
# How far a forearm is followed behind the wrist, and how far apart two such ends tell most, in hand sizes.
_ALONG, _SURELY_APART = 0.8, 0.5
# Forearms that together point nowhere, or out of the picture's top, tell nothing.
_LEAST_TOGETHER, _HIGHEST = 0.4, -0.3
_HAND_IN_CROP = 0.5
_WRIST_POINT, _MIDDLE_MCP = 0, 9

Floats = NDArray[np.float64]


def with_arms(detections: ShotDetections) -> ShotDetections:
    """The detections with `right` as it is after the arms have spoken; as they are where nobody looked for a body."""
    if not len(detections.at) or not _looked(detections).any():
        return detections
    odds = _by_body(detections) if body_in_view(detections) else _by_forearms(detections)
    right = np.clip(detections.right.astype(np.float64), 1e-4, 1 - 1e-4)
    total = np.log(right / (1 - right)) + odds
    return replace(detections, right=(1 / (1 + np.exp(-total))).astype(np.float32))


def body_in_view(detections: ShotDetections) -> bool:
    """Whether the shot shows a person, and not only their hands."""
    found = np.isfinite(detections.arms_px).all((-1, -2, -3))
    return bool(found.sum() > _BODY_SHARE * _looked(detections).sum())


def _looked(detections: ShotDetections) -> NDArray[np.bool_]:
    return np.isfinite(detections.arms_px[..., 2]).all((-1, -2))


def _by_body(detections: ShotDetections) -> Floats:
    """(N,) nats for a right hand: which of the body's wrists each hand's is at."""
    wrists_px, score = _between(detections)
    own_px = detections.points_px[:, _WRIST_POINT, :2].astype(np.float64)
    at = detections.at
    apart = np.linalg.norm(wrists_px[at] - own_px[:, None], axis=-1) / _sizes(detections)[:, None]
    near = np.minimum(apart, _WRIST_REACH)
    odds = (near[:, LEFT] ** 2 - near[:, RIGHT] ** 2) / (2 * _WRIST_SPREAD**2)
    odds = np.clip(odds, -_MOST_BY_BODY, _MOST_BY_BODY) * score[at].min(-1)
    return np.where(np.isfinite(odds) & (apart.min(-1) < _WRIST_REACH), odds, 0.0)


def _between(detections: ShotDetections) -> tuple[Floats, Floats]:
    """The body's wrists in every frame (T, S, 2), drawn between the frames looked at, and their scores (T, S)."""
    frames = np.arange(len(detections.time_s))
    arms = detections.arms_px[:, :, WRIST].astype(np.float64)
    found = np.flatnonzero(np.isfinite(arms).all((-1, -2)))
    drawn = np.stack(
        [np.interp(frames, found, arms[found, side, axis]) for side in (LEFT, RIGHT) for axis in range(3)], -1
    ).reshape(-1, 2, 3)
    far = np.abs(frames[:, None] - found).min(1) > _HOLDS_FRAMES
    drawn[far] = np.nan
    return drawn[..., :2], np.nan_to_num(drawn[..., 2])


def _by_forearms(detections: ShotDetections) -> Floats:
    """(N,) nats for a right hand: which of the two hands of a frame has its forearm on the right."""
    odds = np.zeros(len(detections.at))
    wrists = detections.points_px[:, _WRIST_POINT, :2].astype(np.float64)
    behind = wrists - detections.points_px[:, _MIDDLE_MCP, :2]
    behind /= np.maximum(np.linalg.norm(behind, axis=-1, keepdims=True), 1e-6)
    sizes = _sizes(detections)
    ends = wrists + _ALONG * sizes[:, None] * behind
    for rows in np.split(np.arange(len(odds)), np.flatnonzero(np.diff(detections.at)) + 1):
        if len(rows) < 2:
            continue
        pair = rows[np.argsort(-detections.presence[rows], kind="stable")[:2]]
        along = behind[pair].mean(0)
        if np.linalg.norm(along) < _LEAST_TOGETHER or along[1] / np.linalg.norm(along) < _HIGHEST:
            continue
        # Seen from the elbows the hands lie ahead, against `along`; what is on the right there:
        aside = np.array([along[1], -along[0]]) / np.linalg.norm(along)
        apart = float((ends[pair[1]] - ends[pair[0]]) @ aside) / sizes[pair].mean()
        said = _MOST_BY_FOREARMS * np.tanh(apart / _SURELY_APART)
        odds[pair] = -said, said
    return odds


def _sizes(detections: ShotDetections) -> Floats:
    return np.maximum(detections.crops[:, 2].astype(np.float64) * _HAND_IN_CROP, 1.0)
