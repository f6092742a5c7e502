# SPDX-License-Identifier: GPL-3.0-or-later
"""Left or right for each hand of the shot, as read by the landmark head.

The landmark network often confuses palm and back, and with them left and right, especially when hands touch. The head
reads each hand twice, as it is and mirrored; the difference between the two is its vote.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.landmarks.odds import log_odds_of, probability
from inference_core.runtime.ahead import in_order
from inference_core.runtime.stopwatch import SIDES, timed
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.detections import ShotDetections
from inference_core.tracking.sides_ahead import is_due, log_odds

# The weight of the landmark network's log odds relative to the head's.
_LANDMARK_SHARE = 0.3
_SUREST = 1e-3


def with_handedness(
    frames: Callable[[list[int]], Iterable[Frame]], detections: ShotDetections, head: KeptReadings
) -> ShotDetections:
    """The detections with `right` as decided by the head. frames: the shot's frames at rising positions.

    What has been read beside detection is not read again. The head caches what it reads.
    """
    odds = _known(detections)

    def look(item: tuple[NDArray[np.int64], Frame]) -> None:
        rows, frame = item
        odds[rows] = _log_odds(frame, detections.points_px[rows, :, :2].astype(np.float64), head)

    for _ in in_order(look, _looks(frames, detections)):
        pass
    total = log_odds_of(detections.right, _SUREST)
    for tracklet in np.unique(detections.tracklet):
        rows = np.flatnonzero(detections.tracklet == tracklet)
        known = rows[np.isfinite(odds[rows])]
        if len(known):
            around = np.interp(detections.at[rows], detections.at[known], odds[known])
            total[rows] = around + _LANDMARK_SHARE * total[rows]
    return replace(detections, right=probability(total).astype(np.float32))


def _looks(
    frames: Callable[[list[int]], Iterable[Frame]], detections: ShotDetections
) -> Iterator[tuple[NDArray[np.int64], Frame]]:
    """The rows of the sightings to be read, with the frame that shows them."""
    asked = _asked(detections)
    shown = np.unique(detections.at[asked]).tolist()
    for at, frame in zip(shown, frames(shown), strict=True):
        if frame.image is not None:
            yield np.flatnonzero(asked & (detections.at == at)), frame


def _asked(detections: ShotDetections) -> NDArray[np.bool_]:
    """(N,) which sightings the head is still to read: of those that are due, and of each tracklet's first and last."""
    asked = is_due(detections.at, detections.points_px[..., :2].astype(np.float64))
    for tracklet in np.unique(detections.tracklet):
        asked[np.flatnonzero(detections.tracklet == tracklet)[[0, -1]]] = True
    return asked & np.isnan(_known(detections))


def _known(detections: ShotDetections) -> NDArray[np.float64]:
    """(N,) the log odds that were read beside detection; NaN for the others."""
    return detections.odds.astype(np.float64) if len(detections.odds) else np.full(len(detections.at), np.nan)


@timed(SIDES)
def _log_odds(frame: Frame, points_px: NDArray[np.float64], head: KeptReadings) -> NDArray[np.float64]:
    """(N,) log odds of a right hand, for hands with landmarks points_px (N, 21, 2)."""
    count = len(points_px)
    crops = np.tile(crops_from_landmarks(points_px), (2, 1))
    shown = np.repeat([RIGHT, LEFT], count)
    return log_odds(head.read([frame] * (2 * count), crops, shown, keep=True).right.astype(np.float64))
