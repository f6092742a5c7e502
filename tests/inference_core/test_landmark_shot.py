# SPDX-License-Identifier: GPL-3.0-or-later
"""Detection over a streamed shot: memory, missing frames, windows, and agreement with mediapipe."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from inference_core.footage import Frame, FrameRange, open_footage
from inference_core.landmarks.crop_squares import crops_from_palms
from inference_core.landmarks.hand_reader import read_hands
from inference_core.landmarks.networks import LandmarkNetworks, load_landmark_networks
from inference_core.landmarks.palm_detector import detect_palms
from inference_core.shared.presence import ABSENT, FILLED, SEEN
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking import detect
from inference_core.tracking.assign import build_tracks
from inference_core.tracking.detect import ShotDetector, StoppedSearch, detect_shot
from inference_core.tracking.settings import DetectionSettings
from inference_core.tracking.tracklets import Columns
from tests.shared_files import footage_file


@pytest.fixture(scope="module")
def networks() -> LandmarkNetworks:
    return load_landmark_networks()


def clip(name: str, start: int, stop: int) -> list[Frame]:
    return list(open_footage(footage_file(name), FrameRange(start, stop)))


@pytest.fixture(scope="module")
def fists() -> list[Frame]:
    """Two fists before a face, side by side."""
    return clip("two_hands.mp4", 0, 26)


def blank_frames(count: int) -> Iterator[Frame]:
    for index in range(count):
        yield Frame(index, index / 30, np.full((72, 128, 3), index % 255, np.uint8))


def test_a_shot_without_hands_has_its_times_and_size_and_no_sightings(networks: LandmarkNetworks) -> None:
    detections = detect_shot(blank_frames(7), networks)
    assert len(detections.at) == 0
    assert detections.points_px.shape == (0, 21, 3)
    np.testing.assert_allclose(detections.time_s, np.arange(7) / 30)
    assert detections.size_px == (128, 72)
    assert detect_shot([], networks).size_px == (0, 0)


def test_at_most_a_window_of_images_is_held(networks: LandmarkNetworks) -> None:
    images: list[weakref.ref] = []
    most = 0

    def watched() -> Iterator[Frame]:
        nonlocal most
        for frame in blank_frames(90):
            assert frame.image is not None
            images.append(weakref.ref(frame.image))
            if frame.index % 10 == 0:
                gc.collect()
                most = max(most, sum(image() is not None for image in images))
            yield frame

    settings = DetectionSettings(detect_every=10, window_frames=10, history_frames=5)
    detect_shot(watched(), networks, settings)
    assert most <= 10 + 5 + 1


def test_progress_counts_every_frame(networks: LandmarkNetworks) -> None:
    detector = ShotDetector(networks, DetectionSettings(detect_every=10, window_frames=10))
    assert list(detector.run(blank_frames(25))) == [10, 20, 25]


def test_a_stopped_detection_resumes_with_the_same_result(
    networks: LandmarkNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = clip("two_hands.mp4", 0, 40)
    settings = DetectionSettings(detect_every=6, window_frames=12, history_frames=6)
    whole = detect_shot(frames, networks, settings)
    monkeypatch.setattr(detect, "_WINDOWS_BACK", 1)
    stopped, parts = ShotDetector(networks, settings), list[Columns]()
    for done in stopped.run(frames):
        parts.append(stopped.settled(sum(len(part["at"]) for part in parts)))
        if done == 24:
            break
    assert [len(part["at"]) > 0 for part in parts] == [False, True]
    again = ShotDetector(networks, settings, stopped=StoppedSearch(stopped.state(), parts))
    assert (again.done, again.next_frame) == (24, 18)
    assert list(again.run(frames[18:])) == [36, 40]
    for name, values in vars(again.detections()).items():
        np.testing.assert_array_equal(values, getattr(whole, name), err_msg=name)


def test_missing_frames_are_skipped(networks: LandmarkNetworks, fists: list[Frame]) -> None:
    holed = [replace(frame, image=None) if frame.index in (0, 7, 8, 12) else frame for frame in fists]
    detections = detect_shot(holed, networks)
    counts = np.bincount(detections.at, minlength=len(fists))
    np.testing.assert_array_equal(np.flatnonzero(counts == 0), [0, 7, 8, 12])
    assert (counts[counts > 0] == 2).all()
    tracks = build_tracks(detections)
    assert (tracks.present[0] == ABSENT).all()
    assert (tracks.present[[7, 8, 12]] == FILLED).all()


def test_windows_do_not_affect_detection(networks: LandmarkNetworks, fists: list[Frame]) -> None:
    whole = detect_shot(fists, networks)
    pieces = detect_shot(fists, networks, DetectionSettings(window_frames=12))
    assert len(set(pieces.tracklet)) == 2
    shares: list[float] = []
    for frame in range(len(fists)):
        one, other = whole.points_px[whole.at == frame], pieces.points_px[pieces.at == frame]
        apart = np.linalg.norm(one[:, None, :, :2] - other[None, :, :, :2], axis=-1).mean(-1).min(1)
        shares.extend(apart / whole.crops[whole.at == frame, 2])
    # A hand followed forwards is read a little otherwise than one followed back, and one that comes from a palm than
    # one that is followed.
    assert np.mean(shares) < 0.02 and np.max(shares) < 0.06


def test_hands_are_followed_backwards_from_where_they_are_found(networks: LandmarkNetworks) -> None:
    frames = clip("one_hand.mp4", 0, 12)
    blind = [
        replace(frame, image=np.zeros_like(frame.image)) if frame.index == 0 else frame for frame in frames
    ]
    # The only key frames are the first, which is black, and one that is seen late.
    detections = detect_shot(blind, networks, DetectionSettings(detect_every=8))
    assert sorted(detections.at) == list(range(1, 12))
    assert set(detections.tracklet) == {0}


def test_the_closer_search_finds_a_small_second_hand(
    networks: LandmarkNetworks,
) -> None:
    frames = clip("one_hand.mp4", 40, 44)
    wide: list[Frame] = []
    for frame in frames:
        assert frame.image is not None
        picture = np.full((360, 640, 3), 90, np.uint8)
        picture[:, :320] = cv2.resize(frame.image, (640, 360), interpolation=cv2.INTER_AREA)[:, 160:480]
        picture[150:240, 440:600] = cv2.resize(frame.image, (160, 90), interpolation=cv2.INTER_AREA)
        wide.append(replace(frame, image=picture))
    detections = detect_shot(wide, networks)
    assert np.bincount(detections.at).tolist() == [2] * len(wide) and len(set(detections.tracklet)) == 2
    small = detections.points_px[detections.crops[:, 2] < 100, :, :2].mean(1)
    assert len(small) == len(wide) and ((small > (440, 150)) & (small < (600, 240))).all()
    assert all(len(palms.scores) == 1 for palms in detect_palms([frame.image for frame in wide], networks))


def test_a_hand_without_a_palm_is_found_where_the_pair_detector_proposes_it(
    networks: LandmarkNetworks,
) -> None:
    frames = clip("one_hand.mp4", 0, 12)
    usual = detect_shot(frames, networks)
    found = detect_shot(frames, networks, DetectionSettings(min_palm_score=1.1, min_palm_score_closer=1.1))
    np.testing.assert_array_equal(found.at, usual.at)
    off_px = np.linalg.norm(found.points_px[..., :2] - usual.points_px[..., :2], axis=-1)
    assert off_px.mean() < 0.03 * usual.crops[:, 2].mean()


@pytest.mark.parametrize(("name", "start", "stop"), [("two_hands.mp4", 70, 96), ("one_hand.mp4", 300, 330)])
def test_sightings_agree_with_mediapipe(name: str, start: int, stop: int, networks: LandmarkNetworks) -> None:
    frames = clip(name, start, stop)
    detections = detect_shot(frames, networks)
    differences: list[float] = []
    for at, theirs in enumerate(_mediapipe(frames, static=False)):
        ours = detections.points_px[detections.at == at, :, :2]
        assert len(ours) >= len(theirs)
        differences += [_difference(hand, ours) for hand in theirs]
    assert len(differences) >= len(frames)
    assert np.median(differences) < 0.01


def test_a_blurred_hand_is_found_as_often_as_by_mediapipe(networks: LandmarkNetworks) -> None:
    frames = clip("blur.mp4", 10, 50)
    detections = detect_shot(frames, networks)
    theirs = [len(hands) for hands in _mediapipe(frames, static=False)]
    assert len(detections.at) >= sum(theirs)
    tracks = build_tracks(detections)
    assert (tracks.present[:, LEFT] == ABSENT).all()
    assert (tracks.present[:, RIGHT] == SEEN).sum() >= sum(theirs)


def test_a_single_frame_agrees_with_mediapipes_still_mode(networks: LandmarkNetworks) -> None:
    frames = [*clip("blur.mp4", 19, 22), *clip("one_hand.mp4", 100, 104)]
    differences: list[float] = []
    for frame, theirs in zip(frames, _mediapipe(frames, static=True), strict=True):
        assert frame.image is not None
        (palms,) = detect_palms([frame.image], networks)
        crops = crops_from_palms(palms.boxes_px, palms.key_points_px)
        readings = read_hands([frame.image] * len(crops), crops, networks)
        differences += [_difference(hand, readings.points_px[..., :2]) for hand in theirs]
    assert len(differences) == len(frames)
    assert np.median(differences) < 0.01


@pytest.mark.parametrize(("start", "stop"), [(0, 30), (138, 166)])
def test_sides_of_real_hands_are_correct(start: int, stop: int, networks: LandmarkNetworks) -> None:
    tracks = build_tracks(detect_shot(clip("two_hands.mp4", start, stop), networks))
    assert (tracks.present == SEEN).all()
    # The person faces the camera and never crosses hands: the right hand is at the picture's left.
    assert (tracks.landmarks_px[:, RIGHT, 9, 0] < tracks.landmarks_px[:, LEFT, 9, 0]).all()


def test_a_still_of_two_hands_gives_a_pair(networks: LandmarkNetworks) -> None:
    tracks = build_tracks(detect_shot(clip("two_hands.mp4", 100, 101), networks))
    assert (tracks.present == SEEN).all()
    assert tracks.landmarks_px[0, RIGHT, 9, 0] < tracks.landmarks_px[0, LEFT, 9, 0]


def _mediapipe(frames: list[Frame], static: bool) -> list[list[np.ndarray]]:
    """Hands (21, 2) in pixels that mediapipe finds in each frame; second readings of one hand left out."""
    mediapipe = pytest.importorskip("mediapipe", reason="mediapipe, the test peer, is not installed")
    found: list[list[np.ndarray]] = []
    with mediapipe.solutions.hands.Hands(static_image_mode=static, max_num_hands=2) as peer:
        for frame in frames:
            assert frame.image is not None
            size_px = np.array(frame.image.shape[1::-1])
            hands: list[np.ndarray] = []
            for landmarks in peer.process(frame.image).multi_hand_landmarks or []:
                hand = np.array([[point.x, point.y] for point in landmarks.landmark]) * size_px
                if not hands or _difference(hand, np.stack(hands)) > 0.15:
                    hands.append(hand)
            found.append(hands)
    return found


def _difference(hand: np.ndarray, others: np.ndarray) -> float:
    """Mean distance of a hand (21, 2) to the closest of others (N, 21, 2), over its box's diagonal."""
    diagonal = np.linalg.norm(np.ptp(hand, axis=0))
    return float(np.linalg.norm(others - hand, axis=-1).mean(-1).min() / diagonal)
