# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hands of a shot are left ones and which right ones, as the hand head tells it.

The landmark network tells a palm from a back poorly, and with it a left hand from a right one, above all where hands
touch. The head looks at a hand twice, as it is and mirrored, and says how much each look is a right hand's.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.runtime.ahead import in_order
from inference_core.runtime.stopwatch import SIDES, timed
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.detections import ShotDetections

# Hands are looked at on every n-th frame of their tracklet, and what is seen there holds for the frames around.
_EVERY = 4
# What the landmark network's word counts beside the head's, of its log odds.
_LANDMARK_SHARE = 0.3
_SUREST = 1e-3


def with_handedness(
    frames: Iterable[Frame], detections: ShotDetections, head: KeptReadings
) -> ShotDetections:
    """The detections with `right` as the head tells it, of frames as many as they have, in order.

    The head keeps what it reads.
    """
    odds = np.full(len(detections.at), np.nan)

    def look(item: tuple[NDArray[np.int64], Frame]) -> None:
        rows, frame = item
        odds[rows] = _log_odds(frame, detections.points_px[rows, :, :2].astype(np.float64), head)

    for _ in in_order(look, _looks(frames, detections)):
        pass
    right = np.clip(detections.right.astype(np.float64), _SUREST, 1 - _SUREST)
    total = np.log(right / (1 - right))
    for tracklet in np.unique(detections.tracklet):
        rows = np.flatnonzero(detections.tracklet == tracklet)
        known = rows[np.isfinite(odds[rows])]
        if len(known):
            around = np.interp(detections.at[rows], detections.at[known], odds[known])
            total[rows] = around + _LANDMARK_SHARE * total[rows]
    return replace(detections, right=(1 / (1 + np.exp(-total))).astype(np.float32))


def _looks(frames: Iterable[Frame], detections: ShotDetections) -> Iterator[tuple[NDArray[np.int64], Frame]]:
    """The rows of the sightings that are looked at, with the frame that they are in."""
    asked = _asked(detections)
    for at, frame in enumerate(frames):
        rows = np.flatnonzero(asked & (detections.at == at))
        if len(rows) and frame.image is not None:
            yield rows, frame


def _asked(detections: ShotDetections) -> NDArray[np.bool_]:
    """(N,) the sightings that are looked at: every n-th of a tracklet, and its last one."""
    asked = np.zeros(len(detections.at), bool)
    for tracklet in np.unique(detections.tracklet):
        rows = np.flatnonzero(detections.tracklet == tracklet)
        asked[rows[::_EVERY]] = True
        asked[rows[-1]] = True
    return asked


@timed(SIDES)
def _log_odds(frame: Frame, points_px: NDArray[np.float64], head: KeptReadings) -> NDArray[np.float64]:
    """(N,) of a right hand, of the hands with landmarks at points_px (N, 21, 2): a right one looks like one as it is,
    a left one when mirrored.
    """
    count = len(points_px)
    crops = np.tile(crops_from_landmarks(points_px), (2, 1))
    shown = np.repeat([RIGHT, LEFT], count)
    right = head.read([frame] * (2 * count), crops, shown, keep=True).right.double().numpy()
    return (right[:count] - right[count:]) / 2
