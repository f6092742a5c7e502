# SPDX-License-Identifier: GPL-3.0-or-later
"""Sides over a whole shot, on made-up sightings: hands that cross, leave, come back, flip, and others' hands."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_core.shared.errors import RequestError
from inference_core.shared.presence import ABSENT, FILLED, SEEN
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.assign import TrackSettings, build_tracks
from inference_core.tracking.detections import ShotDetections
from inference_core.tracking.hand_tracks import HandTracks, with_gaps_filled
from inference_core.tracking.seen_apart import with_sides_apart
from inference_core.tracking.segments import cut_segments

FPS = 30.0
# Wrist below, knuckles and tips above; hand lengths about the palm's middle.
_SHAPE = np.concatenate(
    (
        [[0.0, 0.4]],
        [
            [x, y]
            for x in (-0.3, -0.2, 0.0, 0.15, 0.25)
            for y in ((0.2, 0, -0.1, -0.2) if x == -0.3 else (-0.1, -0.3, -0.4, -0.5))
        ],
    )
)


@dataclass(frozen=True)
class Tracklet:
    """A made-up hand: seen in frames `at` (n,), there at `centre_px` (n, 2), `size_px` large."""

    at: np.ndarray
    centre_px: np.ndarray
    right: float | np.ndarray
    size_px: float = 120.0
    presence: float = 0.98


def shot(tracklets: list[Tracklet], frames: int, fps: float = FPS) -> ShotDetections:
    """The made-up shot, its rows ordered by frame as the real ones are."""
    at = np.concatenate([tracklet.at for tracklet in tracklets] or [np.zeros(0, int)]).astype(np.int64)
    order = np.argsort(at, kind="stable")
    points = [
        np.concatenate((_SHAPE * tracklet.size_px + centre, np.zeros((21, 1))), 1)
        for tracklet in tracklets
        for centre in tracklet.centre_px
    ]
    per_row = [
        np.concatenate(
            [
                np.broadcast_to(value, len(tracklet.at))
                for tracklet, value in zip(tracklets, values, strict=True)
            ]
        )
        if tracklets
        else np.zeros(0)
        for values in (
            range(len(tracklets)),
            [tracklet.right for tracklet in tracklets],
            [tracklet.presence for tracklet in tracklets],
            [2 * tracklet.size_px for tracklet in tracklets],
        )
    ]
    crops = np.zeros((len(at), 4))
    crops[:, 2] = per_row[3]
    return ShotDetections(
        at=at[order],
        tracklet=per_row[0].astype(np.int64)[order],
        points_px=np.array(points, np.float32).reshape(-1, 21, 3)[order],
        world_m=np.zeros((len(at), 21, 3), np.float32),
        presence=per_row[2].astype(np.float32)[order],
        right=per_row[1].astype(np.float32)[order],
        crops=crops.astype(np.float32)[order],
        time_s=np.arange(frames) / fps,
        size_px=(1280, 720),
    )


def path(start: float, end: float, first: int, last: int, y: float = 300.0) -> tuple[np.ndarray, np.ndarray]:
    """Frames and places of a hand that goes from x = start to x = end through frames first..last - 1."""
    at = np.arange(first, last)
    x = start + (end - start) * (at - first) / max(last - first - 1, 1)
    return at, np.stack((x, np.full(len(at), y)), -1)


def palm_x(tracks: HandTracks, side: int, frame: int) -> float:
    return float(tracks.landmarks_px[frame, side, [0, 5, 9, 13, 17], 0].mean())


def test_two_steady_hands_keep_their_sides() -> None:
    tracklets = [Tracklet(*path(300, 340, 0, 60), 0.95), Tracklet(*path(900, 860, 0, 60), 0.1)]
    tracks = build_tracks(shot(tracklets, 60))
    assert (tracks.present == SEEN).all()
    assert palm_x(tracks, RIGHT, 30) < palm_x(tracks, LEFT, 30)
    assert tracks.side_score.min() > 0.85
    assert np.isfinite(tracks.landmarks_px).all()


def test_hands_that_cross_keep_their_sides() -> None:
    # Each is lost where they meet, and found again on the other side of the meeting.
    tracklets = [
        Tracklet(*path(300, 560, 0, 30), 0.9),
        Tracklet(*path(900, 640, 0, 30), 0.1),
        Tracklet(*path(660, 900, 36, 70), 0.85),
        Tracklet(*path(540, 300, 36, 70), 0.2),
    ]
    tracks = build_tracks(shot(tracklets, 70))
    assert palm_x(tracks, RIGHT, 10) < 500
    assert palm_x(tracks, RIGHT, 60) > 700
    assert palm_x(tracks, LEFT, 60) < 500
    assert (tracks.present[30:36] == FILLED).all()


def test_tracklets_that_swap_hands_at_contact_are_corrected() -> None:
    # What is followed as one tracklet is the right hand until the touch and the left hand after it.
    _, to = path(300, 590, 0, 40)
    _, back = path(590, 300, 40, 100)
    mirrored = np.array([1200.0, 0]), np.array([-1.0, 1.0])
    one_way = np.concatenate((to, back))
    flips = np.where(np.arange(100) < 45, 0.95, 0.05)
    tracklets = [
        Tracklet(np.arange(100), one_way, flips),
        Tracklet(np.arange(100), one_way * mirrored[1] + mirrored[0], 1 - flips),
    ]
    tracks = build_tracks(shot(tracklets, 100))
    assert palm_x(tracks, RIGHT, 5) < 500
    assert palm_x(tracks, RIGHT, 95) > 700


def test_hands_that_touch_repeatedly_stay_separate() -> None:
    # Apart, touching and apart again every 20 frames, each followed by one tracklet all along.
    at = np.arange(160)
    half = 45 + 60 * np.abs(np.sin(at / 20 * np.pi))
    y = np.full(160, 300.0)
    tracklets = [
        Tracklet(at, np.stack((600 - half, y), -1), 0.9),
        Tracklet(at, np.stack((600 + half, y), -1), 0.1),
    ]
    tracks = build_tracks(shot(tracklets, 160))
    assert (tracks.present == SEEN).all()
    assert all(palm_x(tracks, RIGHT, frame) < 600 for frame in range(160))


def test_a_hand_that_leaves_and_comes_back_is_absent_in_between() -> None:
    tracklets = [Tracklet(*path(300, 20, 0, 30), 0.9), Tracklet(*path(25, 400, 90, 130), 0.9)]
    tracks = build_tracks(shot(tracklets, 130))
    assert (tracks.present[:30, RIGHT] == SEEN).all()
    assert (tracks.present[30:90, RIGHT] == ABSENT).all()
    assert (tracks.present[90:, RIGHT] == SEEN).all()
    assert (tracks.present[:, LEFT] == ABSENT).all()
    assert np.isnan(tracks.landmarks_px[40, RIGHT, :, :2]).all()
    assert tracks.landmarks_px[40, RIGHT, :, 2].max() == 0


@pytest.mark.parametrize(("gap", "expected"), [(3, FILLED), (14, FILLED), (16, ABSENT), (40, ABSENT)])
def test_gaps_up_to_half_a_second_are_filled(gap: int, expected: int) -> None:
    tracklets = [Tracklet(*path(300, 400, 0, 30), 0.9), Tracklet(*path(400, 500, 30 + gap, 60 + gap), 0.9)]
    tracks = build_tracks(shot(tracklets, 60 + gap))
    assert (tracks.present[30 : 30 + gap, RIGHT] == expected).all()
    assert tracks.landmarks_px[30 : 30 + gap, RIGHT, :, 2].max() == 0
    if expected == FILLED:
        assert 395 < palm_x(tracks, RIGHT, 30 + gap // 2) < 405


def test_gaps_are_measured_in_seconds_not_frames() -> None:
    tracklets = [Tracklet(*path(300, 400, 0, 60), 0.9), Tracklet(*path(400, 500, 90, 150), 0.9)]
    assert (build_tracks(shot(tracklets, 150, fps=120)).present[60:90, RIGHT] == FILLED).all()
    assert (build_tracks(shot(tracklets, 150, fps=24)).present[60:90, RIGHT] == ABSENT).all()


def test_filling_a_gap_keeps_known_frames_within_it() -> None:
    tracks = build_tracks(shot([Tracklet(*path(300, 500, 0, 41), 0.9)], 41))
    rest, carried = np.delete(np.arange(15, 20), 2), tracks.landmarks_px[17].copy() + 3
    broken = HandTracks(**{name: values.copy() for name, values in vars(tracks).items()})
    broken.present[15:20], broken.landmarks_px[15:20], broken.world_m[15:20] = ABSENT, np.nan, np.nan
    broken.present[17, RIGHT], broken.landmarks_px[17] = FILLED, carried
    filled = with_gaps_filled(broken, np.arange(41) / FPS, 0.5)
    assert (filled.present[15:20, RIGHT] == FILLED).all()
    np.testing.assert_array_equal(filled.landmarks_px[17], carried)
    np.testing.assert_allclose(
        filled.landmarks_px[rest, RIGHT, :, :2], tracks.landmarks_px[rest, RIGHT, :, :2], atol=0.1
    )
    assert not filled.landmarks_px[rest, RIGHT, :, 2].any()
    assert (broken.present[rest, RIGHT] == ABSENT).all(), "what was given stays as it is"


def test_a_side_that_flips_for_a_while_is_outvoted() -> None:
    flips = np.full(100, 0.9)
    flips[20:50] = 0.05
    tracks = build_tracks(shot([Tracklet(*path(300, 500, 0, 100), flips)], 100))
    assert (tracks.present[:, RIGHT] == SEEN).all()
    assert (tracks.present[:, LEFT] == ABSENT).all()


def test_a_stray_reading_of_one_frame_gives_no_hand_another_side() -> None:
    # Misread at first, and read once more where its side is read rightly.
    right = np.where(np.arange(40) < 14, 0.05, 0.95)
    hand = Tracklet(*path(300, 420, 0, 40), right)
    stray = Tracklet(np.array([14]), np.array([[370.0, 310.0]]), 0.1)
    tracks = build_tracks(shot([hand, stray], 40))
    assert (tracks.present[:, RIGHT] == SEEN).all() and (tracks.present[:, LEFT] == ABSENT).all()


def test_a_hand_found_again_immediately_keeps_its_identity() -> None:
    tracklets = [
        Tracklet(*path(300, 400, 0, 60), 0.95),
        Tracklet(*path(405, 420, 63, 75), 0.2),
        Tracklet(*path(425, 500, 77, 140), 0.95),
    ]
    tracks = build_tracks(shot(tracklets, 140))
    assert (tracks.present[:, LEFT] == ABSENT).all()
    assert (tracks.present[63:75, RIGHT] == SEEN).all()


def test_two_hands_that_both_look_left_are_still_a_pair() -> None:
    tracklets = [Tracklet(*path(300, 320, 0, 60), 0.3), Tracklet(*path(900, 880, 0, 60), 0.05)]
    tracks = build_tracks(shot(tracklets, 60))
    assert (tracks.present == SEEN).all()
    assert palm_x(tracks, RIGHT, 30) < palm_x(tracks, LEFT, 30)


def test_a_far_hand_that_looks_left_is_the_right_one_beside_a_surer_left_one() -> None:
    far = Tracklet(*path(300, 320, 0, 24), 0.2, size_px=70)
    detections = shot([far, Tracklet(*path(900, 880, 0, 24), 0.05)], 24)
    tracks = build_tracks(with_sides_apart(detections))
    assert (tracks.present == SEEN).all()
    assert palm_x(tracks, RIGHT, 12) < palm_x(tracks, LEFT, 12)


def test_a_hand_half_as_large_as_the_other_is_found_in_a_few_frames() -> None:
    near, far = Tracklet(*path(300, 320, 0, 60), 0.05), Tracklet(*path(900, 880, 40, 56), 0.9, size_px=60)
    tracks = build_tracks(shot([near, far], 60))
    assert (tracks.present[40:56, RIGHT] == SEEN).all()


def test_sides_are_told_apart_only_where_two_hands_are_seen_apart_for_some_time() -> None:
    passing = [Tracklet(*path(300, 320, 0, 3), 0.2), Tracklet(*path(900, 880, 0, 24), 0.05)]
    touching = [Tracklet(*path(300, 320, 0, 24), 0.2), Tracklet(*path(350, 370, 0, 24), 0.05)]
    of_both_sides = [Tracklet(*path(300, 320, 0, 24), 0.9), Tracklet(*path(900, 880, 0, 24), 0.05)]
    for hands in (passing, touching, of_both_sides):
        detections = shot(hands, 24)
        np.testing.assert_array_equal(with_sides_apart(detections).right, detections.right)


def test_a_stray_sighting_of_a_few_frames_is_ignored() -> None:
    tracklets = [
        Tracklet(*path(300, 400, 0, 80), 0.95),
        Tracklet(*path(1100, 1105, 30, 33), 0.1, presence=0.6),
    ]
    tracks = build_tracks(shot(tracklets, 80))
    assert (tracks.present[:, LEFT] == ABSENT).all()


def test_a_large_face_taken_for_a_hand_of_either_side_does_not_displace_the_hands() -> None:
    face = Tracklet(*path(640, 640, 20, 26, y=160), np.tile([0.95, 0.05], 3), size_px=170, presence=0.85)
    tracklets = [
        face,
        Tracklet(*path(600, 600, 26, 46), 0.95, size_px=60),
        Tracklet(*path(680, 680, 26, 46), 0.05, size_px=60),
    ]
    present = build_tracks(shot(tracklets, 60)).present
    assert (present[26:46] == SEEN).all()
    assert not present[20:26].any()


def test_a_second_reading_of_one_hand_does_not_become_the_other_hand() -> None:
    tracklets = [
        Tracklet(*path(300, 400, 0, 80), 0.95),
        Tracklet(*path(340, 350, 30, 38), 0.3, presence=0.7),
    ]
    assert (build_tracks(shot(tracklets, 80)).present[:, LEFT] == ABSENT).all()


def test_a_single_sighting_is_enough_in_a_still() -> None:
    tracks = build_tracks(
        shot([Tracklet(*path(300, 300, 0, 1), 0.8), Tracklet(*path(700, 700, 0, 1), 0.4)], 1)
    )
    assert (tracks.present == SEEN).all()
    assert palm_x(tracks, RIGHT, 0) < palm_x(tracks, LEFT, 0)


def test_hands_close_to_each_other_are_separate_in_a_still() -> None:
    tracks = build_tracks(
        shot([Tracklet(*path(300, 300, 0, 1), 0.98), Tracklet(*path(360, 360, 0, 1), 0.05)], 1)
    )
    assert (tracks.present == SEEN).all()


def two_people() -> ShotDetections:
    """The nearer person's pair at the picture's left, the other's, smaller, at its right."""
    return shot(
        [
            Tracklet(*path(200, 220, 0, 90), 0.9, size_px=150),
            Tracklet(*path(500, 480, 0, 90), 0.1, size_px=150),
            Tracklet(*path(900, 910, 0, 90), 0.95, size_px=80),
            Tracklet(*path(1100, 1090, 0, 90), 0.05, size_px=80),
        ],
        90,
    )


def test_the_larger_pair_belongs_to_the_subject() -> None:
    tracks = build_tracks(two_people())
    assert palm_x(tracks, RIGHT, 45) < 300
    assert 400 < palm_x(tracks, LEFT, 45) < 600


def test_the_second_person_can_be_selected() -> None:
    tracks = build_tracks(two_people(), TrackSettings(subject=1))
    assert 800 < palm_x(tracks, RIGHT, 45) < 1000
    assert palm_x(tracks, LEFT, 45) > 1000
    assert (build_tracks(two_people(), TrackSettings(subject=2)).present == ABSENT).all()


def test_pairs_of_two_people_of_equal_size_are_not_mixed() -> None:
    tracklets = [
        Tracklet(*path(150, 150, 0, 90), 0.9),
        Tracklet(*path(400, 400, 0, 90), 0.1),
        Tracklet(*path(900, 900, 0, 90), 0.9),
        Tracklet(*path(1150, 1150, 0, 90), 0.1),
    ]
    tracks = build_tracks(shot(tracklets, 90))
    assert palm_x(tracks, LEFT, 45) - palm_x(tracks, RIGHT, 45) == pytest.approx(250)


def test_a_single_side_can_be_selected() -> None:
    tracklets = [Tracklet(*path(300, 340, 0, 60), 0.95), Tracklet(*path(900, 860, 0, 60), 0.1)]
    tracks = build_tracks(shot(tracklets, 60), TrackSettings(hands="left"))
    assert (tracks.present[:, RIGHT] == ABSENT).all()
    assert palm_x(tracks, LEFT, 30) > 700


def test_a_lone_hand_gets_the_selected_side() -> None:
    tracks = build_tracks(shot([Tracklet(*path(300, 340, 0, 60), 0.9)], 60), TrackSettings(hands="left"))
    assert (tracks.present[:, LEFT] == SEEN).all()
    assert (tracks.present[:, RIGHT] == ABSENT).all()


def test_a_shot_without_hands_has_empty_tracks() -> None:
    tracks = build_tracks(shot([], 12))
    assert tracks.present.shape == (12, 2)
    assert (tracks.present == ABSENT).all()
    assert build_tracks(shot([], 0)).present.shape == (0, 2)


@pytest.mark.parametrize("bad", [{"hands": "three"}, {"subject": -1}, {"max_gap_s": -0.1}])
def test_invalid_track_settings_are_refused(bad: dict) -> None:
    with pytest.raises(RequestError, match="Cannot track"):
        build_tracks(shot([], 3), replace(TrackSettings(), **bad))


@st.composite
def any_shots(draw: st.DrawFn) -> ShotDetections:
    tracklets = []
    for _ in range(draw(st.integers(0, 7))):
        first = draw(st.integers(0, 50))
        last = draw(st.integers(first + 1, 60))
        start, end, y = (draw(st.floats(0, 1280)) for _ in range(3))
        right, presence = draw(st.floats(0, 1)), draw(st.floats(0.5, 1))
        tracklets.append(
            Tracklet(*path(start, end, first, last, y), right, draw(st.floats(20, 300)), presence)
        )
    return shot(tracklets, 60)


@settings(max_examples=60)
@given(any_shots())
def test_tracks_are_well_formed_for_any_sightings(detections: ShotDetections) -> None:
    tracks = build_tracks(detections)
    seen = tracks.present == SEEN
    # Every seen hand is a sighting of that frame, and no sighting is both hands.
    for frame, side in np.argwhere(seen):
        rows = detections.at == frame
        matches = (detections.points_px[rows, :, :2] == tracks.landmarks_px[frame, side, :, :2]).all((1, 2))
        assert matches.any()
    assert np.isfinite(tracks.landmarks_px[tracks.present != ABSENT]).all()
    assert np.isnan(tracks.landmarks_px[tracks.present == ABSENT][..., :2]).all()
    assert (tracks.landmarks_px[~seen][..., 2] == 0).all()
    assert (tracks.side_score[~seen] == 0).all()
    assert not (tracks.present[[0, -1]] == FILLED).any()


@settings(max_examples=60)
@given(any_shots())
def test_segments_partition_the_tracklets_rows(detections: ShotDetections) -> None:
    segments = cut_segments(detections)
    rows = np.concatenate([one.rows for one in segments] or [np.zeros(0, int)])
    assert len(np.unique(rows)) == len(rows)
    for one in segments:
        assert len(set(detections.tracklet[one.rows])) == 1
        assert (np.diff(one.at) > 0).all()
    assert [one.start for one in segments] == sorted(one.start for one in segments)


@settings(max_examples=40)
@given(any_shots())
def test_mirrored_footage_gives_opposite_sides(detections: ShotDetections) -> None:
    mirrored_points = detections.points_px * [-1, 1, 1] + np.float32([1280, 0, 0])
    mirrored = replace(detections, points_px=mirrored_points.astype(np.float32), right=1 - detections.right)
    one, other = build_tracks(detections), build_tracks(mirrored)
    # Ties may fall either way; what is present as either side may not.
    if not np.isclose(detections.right, 0.5, atol=0.05).any():
        assert (one.present == SEEN).sum() == (other.present == SEEN).sum()


def test_a_tracklet_is_cut_where_it_changes_arms() -> None:
    # Rubbing hands: following changes from the left hand to the right one, when the left one is found anew.
    to_right, (at, centres) = path(300, 300, 0, 20), path(400, 400, 20, 40)
    hopping = Tracklet(np.concatenate([to_right[0], at]), np.concatenate([to_right[1], centres]), 0.5)
    detections = shot([hopping, Tracklet(*path(300, 300, 20, 40), 0.5)], 40)
    on_right = detections.points_px[:, 0, 0] > 350
    odds = np.where(on_right, 3.0, -3.0).astype(np.float32)
    odds[detections.at == 10] = 3.0  # for one frame only: a slip
    tracks = build_tracks(replace(detections, right=1 / (1 + np.exp(-odds)), arm_odds=odds))
    assert (
        palm_x(tracks, LEFT, 5) < 350 and palm_x(tracks, LEFT, 30) < 350 and palm_x(tracks, RIGHT, 30) > 350
    )
    assert len(cut_segments(replace(detections, arm_odds=odds))) == 3


def test_a_tracklet_is_not_cut_where_arms_cross_beside_a_hand_seen_apart() -> None:
    hands = [Tracklet(*path(300, 300, 0, 40), 0.5), Tracklet(*path(600, 600, 0, 40), 0.5)]
    detections = shot(hands, 40)
    odds = np.where((detections.at < 20) == (detections.tracklet == 0), -3.0, 3.0).astype(np.float32)
    assert len(cut_segments(replace(detections, arm_odds=odds))) == 2


def single_frame(*hands: Tracklet) -> list[int]:
    """The sides on which the hands of a still are found: LEFT, RIGHT."""
    present = build_tracks(shot(list(hands), 1)).present[0]
    return np.flatnonzero(present == SEEN).tolist()


def still_hand(x: float, right: float, size_px: float, presence: float) -> Tracklet:
    return Tracklet(np.array([0]), np.array([[x, 300.0]]), right, size_px, presence)


def test_fingers_read_as_a_small_hand_of_the_other_side_are_no_second_hand() -> None:
    hand, fingers = still_hand(500, 0.99, 190, 0.99), still_hand(430, 0.01, 90, 0.65)
    assert single_frame(hand, fingers) == [RIGHT]
    assert single_frame(hand, replace(fingers, size_px=120)) == [LEFT, RIGHT]


def test_clasped_hands_of_a_still_that_look_alike_are_both_found() -> None:
    first, second = still_hand(500, 0.85, 120, 0.8), still_hand(575, 0.6, 110, 0.98)
    assert single_frame(first, second) == [LEFT, RIGHT]
    assert single_frame(first, replace(second, centre_px=first.centre_px + 30)) in ([LEFT], [RIGHT])
