# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands that have left the picture, or have not entered it yet.

Before a hand's first sighting and after its last one, only its motion shows where it is. A hand that moved out of the
picture is gone, however confident a network is that it is present.
"""

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.presence import SEEN
from inference_core.tracking.hand_tracks import REMEMBERED_FRAMES, HandTracks

# How many sightings give the motion, and the most frames between the first and the last of them.
_SIGHTINGS, _WITHIN_FRAMES = 4, 8
# A hand has left when its middle is this close to the border (hand sizes); its motion is
# extrapolated for this many frames.
LEAVING_MARGIN, _HOLDS_FRAMES = 0.3, 10

Floats = NDArray[np.float64]


def out_of_picture(tracks: HandTracks, content_px: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """(T, S) where a hand, extrapolated from its motion, is outside the picture. content_px: its left, top, right and
    bottom.
    """
    gone = np.zeros(tracks.present.shape, bool)
    for side in range(tracks.present.shape[1]):
        seen = np.flatnonzero(tracks.present[:, side] == SEEN)
        if len(seen) < 2:
            continue
        points_px = tracks.landmarks_px[seen, side, :, :2].astype(np.float64)
        ends = np.flatnonzero(np.diff(seen) > REMEMBERED_FRAMES)
        firsts, lasts = np.concatenate(([0], ends + 1)), np.concatenate((ends, [len(seen) - 1]))
        for first in firsts:
            before = seen[first] - np.arange(1, REMEMBERED_FRAMES + 1)
            rows = slice(first, first + _SIGHTINGS)
            gone[_left(points_px[rows], seen[rows], before[before >= 0], content_px), side] = True
        for last in lasts:
            after = seen[last] + np.arange(1, REMEMBERED_FRAMES + 1)
            rows = slice(last, last - _SIGHTINGS if last >= _SIGHTINGS else None, -1)
            gone[_left(points_px[rows], seen[rows], after[after < len(gone)], content_px), side] = True
    return gone & (tracks.present != SEEN)


def _left(
    points_px: Floats,
    at: NDArray[np.int64],
    frames: NDArray[np.int64],
    content_px: tuple[int, int, int, int],
) -> NDArray[np.int64]:
    """Those of `frames`, leading away from the sightings (n, 21, 2) at frames (n,), in which the hand is outside."""
    near = np.abs(at - at[0]) <= _WITHIN_FRAMES
    points_px, at = points_px[near], at[near]
    if len(at) < 2 or not len(frames):
        return frames[:0]
    centres_px = points_px.mean(1)
    step_px = (centres_px[0] - centres_px[-1]) / (at[0] - at[-1])
    moved_px = centres_px[0] + step_px * (frames - at[0])[:, None]
    margin_px = LEAVING_MARGIN * np.ptp(points_px[0], axis=0).max()
    low_px, high_px = np.array(content_px[:2]) + margin_px, np.array(content_px[2:]) - margin_px
    out = ((moved_px < low_px) | (moved_px > high_px)).any(-1)
    # A hand that rests near the border is not leaving.
    leaving = np.linalg.norm(step_px) * _HOLDS_FRAMES > margin_px and out[:_HOLDS_FRAMES].any()
    return frames[np.logical_or.accumulate(out) & leaving]
