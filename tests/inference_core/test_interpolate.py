# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaps are interpolated linearly, ends are held, and values far from known frames stay unknown."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inference_core.tracking.hand_tracks import frames_to_known
from inference_core.tracking.interpolate import MAX_GAP_FRAMES, MAX_HOLD_FRAMES, interpolated


@given(st.lists(st.booleans(), min_size=2, max_size=60))
def test_straight_motion_is_interpolated_exactly(known: list[bool]) -> None:
    frames = np.arange(len(known), dtype=float)
    truth = np.stack([frames * 2, 5 - frames], -1)[:, None]
    mask = np.array(known)[:, None]
    filled, distance = interpolated(np.where(mask[..., None], truth, 7777.0), mask)
    at = np.flatnonzero(known)
    for frame in range(len(known)):
        before, after = at[at <= frame], at[at >= frame]
        if len(before) and len(after) and after[0] - before[-1] <= MAX_GAP_FRAMES:
            np.testing.assert_allclose(filled[frame], truth[frame], atol=1e-9)
            assert distance[frame] == min(frame - before[-1], after[0] - frame)


def test_ends_are_held_briefly_and_then_unknown() -> None:
    count, seen = 3 * MAX_HOLD_FRAMES, MAX_HOLD_FRAMES
    values = np.full((count, 2, 3), np.nan)
    known = np.zeros((count, 2), bool)
    values[seen, 0], known[seen, 0] = (1.0, 2.0, 3.0), True
    filled, distance = interpolated(values, known)
    assert (filled[: seen + MAX_HOLD_FRAMES + 1, 0] == (1.0, 2.0, 3.0)).all()
    assert np.isnan(filled[seen + MAX_HOLD_FRAMES + 1 :, 0]).all() and np.isnan(filled[:, 1]).all()
    assert (distance[:, 1] == count).all()
    assert distance[0, 0] == seen and distance[seen, 0] == 0


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_distances_to_the_nearest_known_frames_are_counted(known: list[bool]) -> None:
    before, after = (counts[:, 0] for counts in frames_to_known(np.array(known)[:, None]))
    at = np.flatnonzero(known)
    for frame in range(len(known)):
        earlier, later = at[at <= frame], at[at >= frame]
        assert before[frame] == frame - earlier[-1] if len(earlier) else before[frame] > 1000
        assert after[frame] == later[0] - frame if len(later) else after[frame] > 1000
