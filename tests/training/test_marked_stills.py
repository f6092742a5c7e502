# SPDX-License-Identifier: GPL-3.0-or-later
"""Marked frames as single stills: which are captured, and what counts as a hand too many."""

import numpy as np

from training.evaluation.marked_stills import ghosts_of_single, with_every
from training.evaluation.real import MarkedClip


def test_only_frames_with_two_whole_hands_are_captured() -> None:
    wrists_px = np.arange(20, dtype=float).reshape(5, 2, 2)
    wrists_px[1, 0] = np.nan
    clip = MarkedClip(
        np.arange(0, 50, 10), wrists_px, np.isnan(wrists_px).all(-1), np.full((5, 2), np.nan), 100
    )
    assert with_every(clip, 1).at.tolist() == [0, 20, 30, 40]
    some = with_every(clip, 3)
    assert some.at.tolist() == [0, 40] and np.array_equal(some.wrists_px, wrists_px[[0, 4]])


def test_the_first_hand_of_a_still_is_no_ghost() -> None:
    points_px = np.zeros((3, 2, 21, 2))
    points_px[0] = np.nan
    points_px[1, 1] = np.nan
    assert ghosts_of_single(points_px) == 1
    assert ghosts_of_single(points_px[:2]) == 0
