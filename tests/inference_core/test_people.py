# SPDX-License-Identifier: GPL-3.0-or-later
"""One person's hands where more than two are in view, on synthetic sightings with bodies on some frames."""

from dataclasses import replace

import numpy as np

from inference_core.shared.presence import SEEN
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.arms import body_in_view, with_arms
from inference_core.tracking.assign import build_tracks
from inference_core.tracking.detections import ShotDetections
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.tracking.people import with_one_person
from tests.inference_core.test_tracks import Tracklet, palm_x, path, shot

FRAMES = 48


def body(x: float) -> np.ndarray:
    """Arms (S, 3, 3) of somebody who faces the camera, with the right wrist at x = `x`, the left one at `x` + 200."""
    across = np.array([[190, 205, 200], [10, -5, 0]]) + x
    return np.stack(np.broadcast_arrays(across, [[100, 230, 348]], 0.95), -1)


def seen(hands: list[Tracklet], bodies: dict[int, float]) -> ShotDetections:
    """The shot with a body at x, by frame."""
    found = shot(hands, FRAMES)
    arms_px = np.full((FRAMES, 2, 3, 3), np.nan, np.float32)
    for at, x in bodies.items():
        arms_px[at] = body(x)
    return replace(found, arms_px=arms_px, arms_m=arms_px)


def tracked(detections: ShotDetections) -> HandTracks:
    return build_tracks(with_arms(with_one_person(detections)[0]))


def hands(x: float, first: int, last: int, size_px: float = 80) -> list[Tracklet]:
    """The right and the left hand of the body at x."""
    right, left = path(x, x, first, last), path(x + 200, x + 200, first, last)
    return [Tracklet(*right, 0.9, size_px), Tracklet(*left, 0.1, size_px)]


def test_a_strangers_hand_does_not_displace_ones_own() -> None:
    # It is seen as a right one throughout, the own right one in two parts.
    own = [*hands(300, 0, 22), *hands(300, 26, FRAMES)]
    stranger = Tracklet(*path(1000, 1000, 8, 40), 0.99)
    tracks = tracked(seen([*own, stranger], dict.fromkeys(range(0, FRAMES, 12), 300)))
    for at in (10, 30):
        assert (tracks.present[at] == SEEN).all()
        assert palm_x(tracks, RIGHT, at) < 320 and palm_x(tracks, LEFT, at) < 520


def test_hands_of_two_people_are_not_mixed_though_bodies_alternate() -> None:
    # The first one's are in view for longer, one after the other; so are the second one's.
    first, second = hands(200, 0, FRAMES - 4), hands(800, 12, FRAMES - 10)
    first[0] = Tracklet(*path(200, 200, 0, 30), 0.9, 80)
    second[1] = Tracklet(*path(1000, 1000, 20, FRAMES), 0.1, 80)
    for bodies in ({0: 200, 12: 800, 24: 200, 36: 800}, {0: 800, 12: 200, 24: 800, 36: 200}):
        found, others = with_one_person(seen([*first, *second], {at: float(x) for at, x in bodies.items()}))
        assert others and found.points_px[..., 0].max() < 600
        assert np.isfinite(found.arms_px).all((1, 2, 3)).sum() == 2


def test_ones_own_large_hands_count_more_than_a_person_farther_away() -> None:
    near, far = hands(150, 0, FRAMES, size_px=200), hands(900, 0, FRAMES, size_px=60)
    detections = seen([*near, *far], dict.fromkeys(range(0, FRAMES, 12), 900))
    found, others = with_one_person(detections)
    assert others and not body_in_view(found)
    tracks = tracked(detections)
    assert palm_x(tracks, RIGHT, 20) < 200 and palm_x(tracks, LEFT, 20) < 400


def test_hands_with_no_body_nearby_in_time_are_kept() -> None:
    detections = seen([*hands(300, 0, FRAMES), *hands(900, 0, 12)], {0: 300.0})
    found, others = with_one_person(detections)
    assert others and set(found.at[found.points_px[:, 0, 0] > 800].tolist()) == set()
    assert (np.bincount(found.at) == 2).all()


def test_two_hands_stay_as_they_are_wherever_the_body_is() -> None:
    stray = Tracklet(*path(1100, 1100, 20, 26), 0.5)
    for found in (hands(300, 0, FRAMES), [*hands(300, 0, FRAMES), stray], [*hands(300, 0, 9), stray], []):
        detections = seen(found, dict.fromkeys(range(0, FRAMES, 12), 800))
        kept, others = with_one_person(detections)
        assert kept is detections and not others


def test_a_third_reading_now_and_then_is_nobody() -> None:
    own = hands(300, 0, FRAMES)
    passing = [Tracklet(*path(900, 900, at, at + 4), 0.9, 80, 0.6) for at in (0, 16, 32)]
    detections = seen([*own, *passing], {0: 300.0})
    assert not with_one_person(detections)[1]
    assert with_one_person(seen([*own, Tracklet(*path(900, 900, 0, 12), 0.9, 80, 0.6)], {0: 300.0}))[1]


def test_fingers_followed_as_a_small_hand_are_nobody() -> None:
    own = hands(300, 0, FRAMES, size_px=200)
    fingers = Tracklet(*path(320, 320, 10, 25), 0.9, 60, 0.8)
    assert not with_one_person(seen([*own, fingers], {0: 300.0}))[1]
