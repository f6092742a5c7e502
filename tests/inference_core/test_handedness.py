# SPDX-License-Identifier: GPL-3.0-or-later
"""Handedness by the bundled head: of real hands, of mirrored ones, and with missing frames."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from inference_core.footage import Frame, FrameRange, open_footage
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.tracking.detect import ShotDetector, detect_shot
from inference_core.tracking.detections import ShotDetections
from inference_core.tracking.handedness import with_handedness
from inference_core.tracking.settings import DetectionSettings
from inference_core.tracking.sides_ahead import SidesAhead
from tests.shared_files import footage_file


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Two fists before a face."""
    return list(open_footage(footage_file("two_hands.mp4"), FrameRange(0, 9)))


@pytest.fixture(scope="module")
def undecided(frames: list[Frame]) -> ShotDetections:
    """The detections with the landmark network's word on sides taken out."""
    found = detect_shot(frames, load_landmark_networks())
    assert len(set(found.tracklet)) == 2
    return replace(found, right=np.full_like(found.right, 0.5))


def at_of(frames: list[Frame]) -> Callable[[list[int]], list[Frame]]:
    return lambda positions: [frames[at] for at in positions]


def told_by_place(detections: ShotDetections) -> dict[str, np.ndarray]:
    """Probabilities of a right hand, of the hand at the picture's left and at its right."""
    x = detections.points_px[:, :, 0].mean(1)
    at_left = x < np.median(x)
    return {"left": detections.right[at_left], "right": detections.right[~at_left]}


def test_real_hands_and_their_mirror_images_get_opposite_sides(
    frames: list[Frame], undecided: ShotDetections, head: HeadWithLandmarks
) -> None:
    told = told_by_place(with_handedness(at_of(frames), undecided, KeptReadings(head)))
    # People face the camera: their right hand is at the picture's left.
    assert (told["left"] > 0.6).all() and (told["right"] < 0.4).all()
    width = undecided.size_px[0]
    turned = [
        replace(f, image=None if f.image is None else np.ascontiguousarray(f.image[:, ::-1])) for f in frames
    ]
    points = undecided.points_px.copy()
    points[..., 0] = width - points[..., 0]
    mirrored = told_by_place(
        with_handedness(at_of(turned), replace(undecided, points_px=points), KeptReadings(head))
    )
    assert (mirrored["left"] > 0.6).all() and (mirrored["right"] < 0.4).all()


def test_missing_frames_do_not_change_handedness_around_them(
    frames: list[Frame], undecided: ShotDetections, head: HeadWithLandmarks
) -> None:
    whole = with_handedness(at_of(frames), undecided, KeptReadings(head))
    holed = with_handedness(
        at_of([replace(frames[0], image=None), *frames[1:]]), undecided, KeptReadings(head)
    )
    assert np.isfinite(holed.right).all()
    assert ((whole.right > 0.5) == (holed.right > 0.5)).all()
    known = replace(undecided, right=np.linspace(0.05, 0.95, len(undecided.right), dtype=np.float32))
    nothing = with_handedness(
        at_of([replace(frame, image=None) for frame in frames]), known, KeptReadings(head)
    )
    np.testing.assert_allclose(nothing.right, known.right, atol=1e-5)
    none = with_handedness(at_of([]), replace(undecided, **no_rows(undecided)), KeptReadings(head))
    assert none.right.shape == (0,)


def test_sides_read_beside_detection_are_the_same_and_need_no_frame_again(
    frames: list[Frame], head: HeadWithLandmarks
) -> None:
    sides = SidesAhead(lambda: head)
    detector = ShotDetector(load_landmark_networks(), DetectionSettings(window_frames=4), sides=sides)
    assert list(detector.run(frames))[-1] == len(frames)
    found, again = detector.detections(), list[int]()

    def at_again(positions: list[int]) -> list[Frame]:
        again.extend(positions)
        return at_of(frames)(positions)

    assert sides.readings is not None
    told = with_handedness(at_again, found, sides.readings)
    assert again == []
    late = with_handedness(
        at_of(frames), replace(found, odds=np.full_like(found.odds, np.nan)), KeptReadings(head)
    )
    np.testing.assert_allclose(told.right, late.right, atol=1e-4)


def test_sides_are_known_although_no_hand_follows_for_long(
    frames: list[Frame], head: HeadWithLandmarks
) -> None:
    settings = DetectionSettings(window_frames=4, detect_every_empty=100, search_first=100)
    empty = [
        replace(frame, image=np.zeros((720, 1280, 3), np.uint8), index=len(frames) + number)
        for number, frame in enumerate((frames * 8)[:60])
    ]
    odds = list[np.ndarray]()
    for shown in (frames, [*frames, *empty]):
        detector = ShotDetector(load_landmark_networks(), settings, sides=SidesAhead(lambda: head))
        for _ in detector.run(shown):
            pass
        odds.append(detector.detections().odds[:2])
    alone, followed = odds
    assert np.isfinite(alone).all()
    np.testing.assert_array_equal(followed, alone)


def no_rows(detections: ShotDetections) -> dict[str, np.ndarray]:
    names = ("at", "tracklet", "points_px", "world_m", "presence", "right", "crops", "growth", "odds")
    return {name: getattr(detections, name)[:0] for name in names}
