# SPDX-License-Identifier: GPL-3.0-or-later
"""What the landmark head's readings change in the tracks, on made-up hands."""

import numpy as np

from inference_core.shared.presence import ABSENT, SEEN
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.expected_hands import expected_hands
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.tracking.refine import HandReadings, refined

FRAMES, LOST = 9, 4
_HAND = np.random.default_rng(1).uniform(-50, 50, (21, 2))


def tracks_and_readings(apart_px: float, lost: slice, trust: float) -> tuple[HandTracks, HandReadings]:
    """Two hands side by side, the left one lost in some frames; a head that reads hands 3 px lower."""
    points = np.stack([_HAND + np.array([200, 200]), _HAND + np.array([200 + apart_px, 200])]).astype(
        np.float32
    )
    landmarks = np.tile(np.concatenate([points, np.full((2, 21, 1), 0.9, np.float32)], -1), (FRAMES, 1, 1, 1))
    world_m = np.zeros((FRAMES, 2, 21, 3), np.float32)
    present = np.full((FRAMES, 2), SEEN, np.uint8)
    landmarks[lost, LEFT], world_m[lost, LEFT], present[lost, LEFT] = np.nan, np.nan, ABSENT
    read = np.ones((FRAMES, 2), bool)
    readings = HandReadings(
        np.tile(points + np.array([0, 3]), (FRAMES, 1, 1, 1)),
        np.zeros((FRAMES, 2, 21, 3)),
        np.full((FRAMES, 2, 21), trust),
        read,
    )
    return HandTracks(landmarks, world_m, present, np.ones((FRAMES, 2), np.float32)), readings


def refined_tracks(apart_px: float, lost: slice, trust: float = 0.5) -> HandTracks:
    tracks, readings = tracks_and_readings(apart_px, lost, trust)
    return refined(tracks, expected_hands(tracks), readings)[0]


def test_a_faint_hand_that_touches_one_that_is_seen_has_what_the_head_reads_of_it_at_little_trust() -> None:
    tracks = refined_tracks(apart_px=40, lost=slice(LOST, LOST + 1))
    assert tracks.present[LOST].tolist() == [SEEN, SEEN]
    faint, seen = tracks.landmarks_px[LOST, LEFT], tracks.landmarks_px[LOST, RIGHT]
    np.testing.assert_allclose(faint[:, :2], _HAND + np.array([200, 203]), atol=1e-3)
    assert (faint[:, 2] > 0).all() and (faint[:, 2] < seen[:, 2]).all()


def test_a_lost_hand_far_from_the_other_one_has_no_landmarks() -> None:
    tracks = refined_tracks(apart_px=400, lost=slice(LOST, LOST + 1))
    assert tracks.present[LOST, LEFT] == ABSENT and np.isnan(tracks.landmarks_px[LOST, LEFT]).all()


def test_a_hand_that_is_not_seen_again_is_not_held_on_to_where_it_last_touched() -> None:
    tracks = refined_tracks(apart_px=40, lost=slice(LOST, None))
    assert (tracks.present[LOST:, LEFT] == ABSENT).all()


def test_what_the_head_does_not_take_for_a_hand_is_none() -> None:
    tracks = refined_tracks(apart_px=40, lost=slice(LOST, LOST + 1), trust=0.05)
    assert tracks.present[LOST, LEFT] == ABSENT
