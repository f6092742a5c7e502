# SPDX-License-Identifier: GPL-3.0-or-later
"""The subject's hands on two tracks, one per side.

T frames, S sides (left, right). Absent entries hold NaN; their scores and confidences are 0.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.odds import probability
from inference_core.shared.presence import ABSENT, FILLED, SEEN

# A sighting counts as evidence for the hand within this many frames.
REMEMBERED_FRAMES = 50
# The presence of a hand that is vouched for, however faint the landmark network sees it.
_VOUCHED = 0.5


@dataclass(frozen=True)
class HandTracks:
    """Landmarks of the subject's two hands through the shot.

    landmarks_px (T, S, 21, 3): x, y in pixels of the whole frame (pixel centres at +0.5), score 0..1.
    world_m (T, S, 21, 3): metres about the hand's centre, camera axes (x right, y down, z forward).
    present (T, S) uint8: ABSENT, SEEN, or FILLED (a short gap, to be interpolated by the solve).
    side_score (T, S): 0..1, how sure this frame alone is that the hand is of that side.
    """

    landmarks_px: NDArray[np.float32]
    world_m: NDArray[np.float32]
    present: NDArray[np.uint8]
    side_score: NDArray[np.float32]


def with_gaps_filled(tracks: HandTracks, time_s: NDArray[np.float64], max_gap_s: float) -> HandTracks:
    """The tracks with a hand FILLED where it is ABSENT for up to max_gap_s between two frames that see it.

    Its landmarks are interpolated linearly, with score 0. time_s (T,).
    """
    present, landmarks_px, world_m = tracks.present.copy(), tracks.landmarks_px.copy(), tracks.world_m.copy()
    for side in range(present.shape[1]):
        for before, after in pairwise(np.flatnonzero(present[:, side] == SEEN)):
            missing_s = time_s[after] - time_s[before]
            gap = before + 1 + np.flatnonzero(present[before + 1 : after, side] == ABSENT)
            if not len(gap) or missing_s > max_gap_s:
                continue
            present[gap, side] = FILLED
            share = (time_s[gap] - time_s[before]) / missing_s
            landmarks_px[gap, side, :, 2] = 0
            for array, width in ((landmarks_px, 2), (world_m, 3)):
                first, last = array[before, side, :, :width], array[after, side, :, :width]
                array[gap, side, :, :width] = first + share[:, None, None] * (last - first)
    return replace(tracks, present=present, landmarks_px=landmarks_px, world_m=world_m)


def record_hand(
    tracks: HandTracks,
    at: int,
    side: int,
    points_px: NDArray[np.floating],
    world_m: NDArray[np.floating],
    score: float,
    side_score: float,
) -> None:
    """Writes a hand SEEN in frame `at` into the tracks, in place: points_px (21, 2), world_m (21, 3)."""
    tracks.landmarks_px[at, side] = np.concatenate([points_px, np.full((len(points_px), 1), score)], -1)
    tracks.world_m[at, side] = world_m
    tracks.present[at, side] = SEEN
    tracks.side_score[at, side] = side_score


def record_vouched(
    tracks: HandTracks,
    at: int,
    side: int,
    points_px: NDArray[np.float64],
    world_m: NDArray[np.float64],
    presence: float,
    odds: float,
) -> None:
    """`record_hand` for a hand that more than the landmark network tells of. odds: for its side, as a logarithm."""
    score, side_score = max(float(presence), _VOUCHED), float(probability(odds))
    record_hand(tracks, at, side, points_px, world_m, score, side_score)


def forget_hand(tracks: HandTracks, at: int, side: int) -> None:
    """Makes a hand ABSENT in frame `at`, in place."""
    tracks.landmarks_px[at, side, :, :2] = tracks.world_m[at, side] = np.nan
    tracks.landmarks_px[at, side, :, 2] = tracks.side_score[at, side] = 0
    tracks.present[at, side] = ABSENT


def frames_to_known(known: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames since a hand was last known and until it is known again, for known (T, S).

    Zero if it is known in the frame itself; far more than T if it is never known before, or after.
    """
    frames, far = np.arange(len(known))[:, None], 1_000_000
    last = np.maximum.accumulate(np.where(known, frames, -far), 0)
    following = np.minimum.accumulate(np.where(known, frames, 2 * far)[::-1], 0)[::-1]
    return frames - last, following - frames
