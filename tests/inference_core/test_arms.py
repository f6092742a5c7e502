# SPDX-License-Identifier: GPL-3.0-or-later
"""Sides from arms, on synthetic sightings: a body's wrists, and forearms that enter the person's own view."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.arms import arms_between, arms_in_camera, body_in_view, with_arms
from inference_core.tracking.assign import build_tracks
from inference_core.tracking.detections import ShotDetections
from tests.inference_core.test_tracks import Tracklet, palm_x, path, shot

FRAMES = 40


def looked_at(detections: ShotDetections, arms: np.ndarray | None) -> ShotDetections:
    """The shot with arms (S, 3, 3: x, y, score) on every eighth frame, or with nobody there."""
    arms_px = np.full((FRAMES, 2, 3, 3), np.nan, np.float32)
    arms_px[::8] = np.array([np.nan, np.nan, 0.0]) if arms is None else arms
    return replace(detections, arms_px=arms_px, arms_m=arms_px)


def pair(right_of_left: float, right_of_right: float) -> ShotDetections:
    """Upright hands at x = 300 and 700, of such handedness."""
    hands = [
        Tracklet(*path(300, 300, 0, FRAMES), right_of_left),
        Tracklet(*path(700, 700, 0, FRAMES), right_of_right),
    ]
    return shot(hands, FRAMES)


def body(left_x: float, right_x: float, score: float = 0.95) -> np.ndarray:
    """Arms of somebody who faces the camera, whose wrists are at the made-up hands' height, as visible as `score`."""
    x = np.array([[660, 690, left_x], [340, 310, right_x]])
    arms = np.stack(np.broadcast_arrays(x, [[500, 450, 348]], 0.95), -1)
    arms[:, 2, 2] = score
    return arms


def test_arms_of_long_footage_take_memory_by_the_frame() -> None:
    def peak_bytes(frames: int) -> int:
        arms = np.full((frames, 2, 3, 3), np.nan, np.float32)
        arms[::12] = 1.0
        detections = replace(shot([], frames), arms_px=arms, arms_m=arms)
        tracemalloc.start()
        drawn = arms_between(detections, arms)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert np.isfinite(drawn[: frames - 12]).all()
        return peak

    assert peak_bytes(8000) < 5 * peak_bytes(2000)


def test_arms_of_the_own_view_overrule_a_wrong_handedness() -> None:
    tracks = build_tracks(with_arms(looked_at(pair(0.8, 0.2), None)))
    assert palm_x(tracks, LEFT, 20) < palm_x(tracks, RIGHT, 20)


def test_hands_that_pass_each_other_keep_their_sides() -> None:
    # Each ends where the other one's forearm was.
    hands = [Tracklet(*path(300, 700, 0, FRAMES), 0.2), Tracklet(*path(700, 300, 0, FRAMES), 0.8)]
    read = with_arms(looked_at(shot(hands, FRAMES), None), by_head=True)
    tracks = build_tracks(read)
    assert palm_x(tracks, LEFT, 0) < palm_x(tracks, RIGHT, 0)
    assert palm_x(tracks, LEFT, FRAMES - 1) > palm_x(tracks, RIGHT, FRAMES - 1)


def test_hands_of_a_person_facing_the_camera_keep_their_sides() -> None:
    tracks = build_tracks(with_arms(looked_at(pair(0.97, 0.03), None)))
    assert palm_x(tracks, RIGHT, 20) < palm_x(tracks, LEFT, 20)


def test_a_hand_seen_alone_for_a_while_keeps_its_arm() -> None:
    # The right hand of an own view, taken for a left one as long as it is alone.
    hands = [
        Tracklet(*path(300, 300, 0, 25), 0.4),
        Tracklet(*path(700, 700, 0, 25), 0.4),
        Tracklet(*path(690, 690, 28, FRAMES), 0.2),
    ]
    tracks = build_tracks(with_arms(looked_at(shot(hands, FRAMES), None)))
    assert palm_x(tracks, RIGHT, 35) > 600


def test_a_hand_misread_along_its_arm_keeps_its_arm() -> None:
    # Touching hands, 100 px apart; then only the right one, half a hand up its arm.
    hands = [
        Tracklet(*path(300, 300, 0, 10), 0.4),
        Tracklet(*path(400, 400, 0, 10), 0.4),
    ]
    at, centres = path(395, 395, 25, FRAMES)
    alone = Tracklet(at, centres + np.array([0.0, 60.0]), 0.3)
    right = with_arms(looked_at(shot([*hands, alone], FRAMES), None)).right
    assert (right[-1] > 0.5) and (right[:2] > 0.5).tolist() == [False, True]


def test_moving_forearms_say_little_about_a_hand_between_them() -> None:
    def right_of_lone_hand(reach: float) -> float:
        hands = [
            Tracklet(*path(300 - reach, 300 + reach, 0, 25), 0.4),
            Tracklet(*path(600 - reach, 600 + reach, 0, 25), 0.4),
            Tracklet(*path(425, 425, 28, FRAMES), 0.9),
        ]
        return float(with_arms(looked_at(shot(hands, FRAMES), None)).right[-1])

    assert right_of_lone_hand(reach=5) < 0.5 < right_of_lone_hand(reach=120)


def test_two_readings_of_one_hand_get_the_same_side() -> None:
    hands = [
        Tracklet(*path(300, 300, 0, 20), 0.5),
        Tracklet(*path(420, 420, 0, FRAMES), 0.5),
        Tracklet(*path(405, 405, 20, FRAMES), 0.5),
    ]
    detections = looked_at(shot(hands, FRAMES), None)
    right = with_arms(detections).right
    assert (right[detections.at >= 20] > 0.5).all()


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_sides_by_forearms_do_not_depend_on_the_pictures_rotation(turns: int) -> None:
    upright = looked_at(pair(0.5, 0.5), None)
    middle = np.array([500.0, 300.0])
    points = upright.points_px.copy()
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    points[..., :2] = (points[..., :2] - middle) @ np.linalg.matrix_power(turn, turns).T + middle
    right = with_arms(replace(upright, points_px=points.astype(np.float32))).right
    np.testing.assert_allclose(right, with_arms(upright).right, atol=1e-5)
    assert (right > 0.5).tolist() == (upright.points_px[:, 0, 0] > 500).tolist()


def test_a_bodys_wrists_outweigh_handedness_and_own_view() -> None:
    detections = looked_at(pair(0.1, 0.9), body(left_x=710, right_x=290))
    assert body_in_view(detections)
    tracks = build_tracks(with_arms(detections))
    assert palm_x(tracks, RIGHT, 20) < palm_x(tracks, LEFT, 20)


def test_a_body_with_distant_or_hidden_wrists_changes_nothing() -> None:
    for arms in (body(left_x=-900, right_x=-800), body(left_x=710, right_x=290, score=0.0)):
        detections = looked_at(pair(0.1, 0.9), arms)
        np.testing.assert_allclose(with_arms(detections).right, detections.right, atol=1e-6)


@pytest.mark.parametrize(
    "shrunk, moved_px, shoulder_score", [(0.2, 0, 0.95), (1.0, 900, 0.95), (1.0, 0, 0.2)]
)
def test_implausible_bodies_are_ignored(shrunk: float, moved_px: float, shoulder_score: float) -> None:
    arms = body(left_x=710, right_x=290)
    arms[..., :2] = (arms[..., :2] - [500, 348]) * shrunk + [500 + moved_px, 348]
    arms[:, 0, 2] = shoulder_score
    seen = with_arms(looked_at(pair(0.1, 0.9), arms))
    nobody = with_arms(looked_at(pair(0.1, 0.9), None))
    assert not body_in_view(seen)
    np.testing.assert_array_equal(seen.right, nobody.right)
    np.testing.assert_array_equal(seen.arms_px, nobody.arms_px)


def test_a_single_hand_is_judged_on_its_own() -> None:
    alone = looked_at(shot([Tracklet(*path(300, 300, 0, FRAMES), 0.9)], FRAMES), None)
    np.testing.assert_allclose(with_arms(alone).right, 0.9, atol=1e-6)


def test_frames_without_a_search_for_arms_give_no_vote() -> None:
    detections = pair(0.97, 0.03)
    assert with_arms(detections) is detections


def test_arms_are_on_their_lines_of_sight_at_the_bodys_relative_depth() -> None:
    K = np.array([[800.0, 0, 640], [0, 800, 360], [0, 0, 1]])
    arms = body(left_x=710, right_x=290)
    arms_m = np.full((FRAMES, 2, 3, 3), np.nan, np.float32)
    arms_m[::8] = [[0, 0, 0.3], [0, 0, 0.1], [0, 0, 0]]
    detections = replace(looked_at(pair(0.1, 0.9), arms), arms_m=arms_m)
    wrist_m = np.full((FRAMES, 2, 3), [0, 0, 1.5], np.float32)
    wrist_m[5, LEFT] = np.nan
    joints_m, score = arms_in_camera(detections, wrist_m, K)
    np.testing.assert_allclose(joints_m[20, :, :, 2], [[1.8, 1.6]] * 2, rtol=1e-5)
    image = joints_m[20] @ K.T
    np.testing.assert_allclose(image[..., :2] / image[..., 2:], arms[:, :2, :2], rtol=1e-4)
    assert np.isnan(joints_m[5, LEFT]).all() and (score[5, LEFT] == 0).all()
    np.testing.assert_allclose(score[5, RIGHT], 0.95, rtol=1e-5)
    none = arms_in_camera(looked_at(pair(0.1, 0.9), None), wrist_m, K)
    assert np.isnan(none[0]).all() and (none[1] == 0).all()
