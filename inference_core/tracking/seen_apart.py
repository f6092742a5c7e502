# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hands that are seen apart for some time: one of them is the left, the other the right hand.

Where hands do not touch, their handedness is read well, better than forearms tell it, which may cross.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.odds import log_odds_of
from inference_core.tracking.detections import ShotDetections, rows_of_frames

# Hands whose middles are farther apart than this, in sizes of the larger, are so in at least this many frames, with
# pauses of at most so many.
_APART, _LEAST_FRAMES, _PAUSE = 0.6, 4, 6
_SUREST = 1e-4

Floats = NDArray[np.float64]


def runs_apart(detections: ShotDetections) -> Iterator[NDArray[np.int64]]:
    """Rows (n, 2) of two tracklets in the frames, one after another, that show these two hands, apart."""
    middles_px, sizes_px = detections.points_px[..., :2].astype(np.float64).mean(1), detections.hand_sizes_px
    of_tracklets = dict[tuple[int, int], list[NDArray[np.int64]]]()
    for rows in rows_of_frames(detections.at):
        if (
            len(rows) == 2
            and np.linalg.norm(np.diff(middles_px[rows], axis=0)) > _APART * sizes_px[rows].max()
        ):
            rows = rows[np.argsort(detections.tracklet[rows])]
            first, second = detections.tracklet[rows].tolist()
            of_tracklets.setdefault((first, second), []).append(rows)
    for found in of_tracklets.values():
        pairs = np.stack(found)
        for run in np.split(pairs, np.flatnonzero(np.diff(detections.at[pairs[:, 0]]) > _PAUSE) + 1):
            if len(run) >= _LEAST_FRAMES:
                yield run


def with_sides_apart(detections: ShotDetections) -> ShotDetections:
    """The detections with `right` for two hands seen apart: where both are of one side, the less sure is of either."""
    right = detections.right.copy()
    for rows in runs_apart(detections):
        usual = log_odds_of(right[rows], _SUREST).mean(0)
        if usual.prod() > 0:
            right[rows[:, np.abs(usual).argmin()]] = 0.5
    return replace(detections, right=right)
