# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each hand is in every frame, or should be judging by neighbouring frames."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.tracking.hand_tracks import HandTracks
from inference_core.tracking.interpolate import interpolated

# The score of interpolated landmarks relative to a seen hand, and the frames after which it falls to a third.
INTERPOLATED_SCORE, INTERPOLATED_FRAMES = 0.45, 8.0
# A hand with at least this score is seen in the frame itself.
SEEN_SCORE = 0.5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ExpectedHands:
    """Landmarks of both hands in every frame; those of a lost hand are interpolated from neighbouring frames.

    points_px (T, S, 21, 2): frame pixels. world_m (T, S, 21, 3): in upright axes along the line of sight to the hand.
    score (T, S, 21): 0..1, 0 if unknown; for an interpolated hand it falls with distance in time and stays below
    SEEN_SCORE. side_score (T, S): 0..1. Unknown entries are 0.
    """

    points_px: Floats
    world_m: Floats
    score: Floats
    side_score: Floats

    @property
    def hand_score(self) -> Floats:
        """(T, S) mean score of the known landmarks; 0 if none is known."""
        return mean_of_known(self.score)

    @property
    def between_px(self) -> Floats:
        """(T, S) from each hand's middle to the other one's; infinite without another."""
        middle_px = self.points_px.mean(-2)
        between_px = np.linalg.norm(middle_px[:, 0] - middle_px[:, 1], axis=-1, keepdims=True)
        return np.where((self.score > 0).any(-1)[:, ::-1], between_px, np.inf)


def mean_of_known(score: Floats) -> Floats:
    """(...) mean of the scores (..., 21) of known landmarks; 0 if none is known."""
    return score.sum(-1) / (score > 0).sum(-1).clip(1)


def expected_hands(tracks: HandTracks) -> ExpectedHands:
    """Both hands in every frame according to the tracks, with lost hands interpolated."""
    points, world_m = tracks.landmarks_px[..., :2].astype(np.float64), tracks.world_m.astype(np.float64)
    score = np.nan_to_num(tracks.landmarks_px[..., 2].astype(np.float64))
    seen = np.isfinite(points).all(-1) & np.isfinite(world_m).all(-1) & (score > 0)
    known = seen.any(-1)
    points, distance = interpolated(points, known)
    world_m, _ = interpolated(world_m, known)
    side_score, _ = interpolated(tracks.side_score.astype(np.float64), known)
    usable = np.isfinite(points).all(-1) & np.isfinite(world_m).all(-1)
    fallen = INTERPOLATED_SCORE * np.exp(-distance / INTERPOLATED_FRAMES)
    score = np.where(known[..., None], np.where(seen, score, 0.0), fallen[..., None]) * usable
    return ExpectedHands(np.nan_to_num(points), np.nan_to_num(world_m), score, np.nan_to_num(side_score))
