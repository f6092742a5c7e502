# SPDX-License-Identifier: GPL-3.0-or-later
"""Lost hands are found where they are clearly visible and nowhere else: real frames, the bundled weights."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from inference_core.footage import Frame, FrameRange, open_footage
from inference_core.geometry.camera import default_camera
from inference_core.hand_model.load import load_open_hand
from inference_core.landmarks.body_reader import find_arms
from inference_core.landmarks.crop_readings import Partners
from inference_core.landmarks.hand_crops import points_to_crop
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.landmarks.networks import load_landmark_networks, load_pose_networks
from inference_core.landmarks.partner_search import asked_square
from inference_core.shared.presence import ABSENT, SEEN
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.assign import build_tracks
from inference_core.tracking.detect import detect_shot
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.tracking.recover import Recovery, turn_to_arm
from inference_core.two_hand.card import SHIPPED_FOLDER, stored_network
from inference_core.two_hand.predictor import Predictor
from inference_core.two_hand.torch_engine import torch_engine
from inference_core.two_hand.weights import load_network
from tests.inference_core.through_the_network import refined_and_predicted
from tests.shared_files import footage_file

GAP = slice(3, 6)


def recover_hands(frames: Iterable[Frame], tracks: HandTracks, head: HeadWithLandmarks) -> HandTracks:
    """The tracks with lost hands that are there after all as SEEN ones, read by the head.

    frames: as many as the tracks have, in order; they are not touched where no hand was lost.
    """
    recovery = Recovery(tracks, head)
    if recovery.lost.any():
        for _ in recovery.run(frames):
            pass
    return recovery.tracks


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Two hands, far apart."""
    return list(open_footage(footage_file("two_hands.mp4"), FrameRange(90, 99)))


@pytest.fixture(scope="module")
def tracks(frames: list[Frame]) -> HandTracks:
    found = build_tracks(detect_shot(frames, load_landmark_networks()))
    assert (found.present == SEEN).all()
    return found


def with_right_beside_left(tracks: HandTracks) -> HandTracks:
    """The tracks with the right hand, wherever it is in the picture, half way to the left one."""
    landmarks = tracks.landmarks_px.copy()
    middles = landmarks[..., :2].mean(2, keepdims=True)
    landmarks[:, RIGHT, :, :2] += 0.5 * (middles[:, LEFT] - middles[:, RIGHT])
    return replace(tracks, landmarks_px=landmarks)


def without_left(tracks: HandTracks) -> HandTracks:
    columns = {name: values.copy() for name, values in vars(tracks).items()}
    for values in columns.values():
        values[GAP, LEFT] = 0 if values.dtype == np.uint8 or values.ndim == 2 else np.nan
    columns["landmarks_px"][GAP, LEFT, :, 2] = 0
    return HandTracks(**columns)


def painted_over(frames: list[Frame], points_px: np.ndarray) -> list[Frame]:
    """Frames of the gap without what lies about points (T, 21, 2)."""
    out = list(frames)
    for at in range(GAP.start, GAP.stop):
        image = frames[at].image
        assert image is not None
        image = image.copy()
        low, high = points_px[at].min(0).astype(int) - 40, points_px[at].max(0).astype(int) + 40
        image[max(0, low[1]) : high[1], max(0, low[0]) : high[0]] = 60
        out[at] = replace(frames[at], image=image)
    return out


def test_a_visible_lost_hand_is_recovered(
    frames: list[Frame], tracks: HandTracks, head: HeadWithLandmarks
) -> None:
    lost = without_left(tracks)
    found = recover_hands(frames, lost, head)
    assert (found.present == SEEN).all() and (found.landmarks_px[GAP, LEFT, :, 2] >= 0.5).all()
    points, true = found.landmarks_px[GAP, LEFT, :, :2], tracks.landmarks_px[GAP, LEFT, :, :2]
    size_px = np.linalg.norm(np.ptp(true, axis=1), axis=-1)
    assert (np.linalg.norm(points - true, axis=-1).mean(1) < 0.06 * size_px).all()
    assert np.isfinite(found.world_m).all() and (found.side_score[GAP, LEFT] > 0.5).all()
    np.testing.assert_array_equal(found.landmarks_px[:, RIGHT], tracks.landmarks_px[:, RIGHT])
    assert (lost.present[GAP, LEFT] == ABSENT).all(), "what was given stays as it is"


def test_recovery_finds_no_absent_hand_and_no_hand_twice(
    frames: list[Frame], tracks: HandTracks, head: HeadWithLandmarks
) -> None:
    lost = without_left(tracks)
    hidden = recover_hands(painted_over(frames, tracks.landmarks_px[:, LEFT, :, :2]), lost, head)
    assert (hidden.present[GAP, LEFT] == ABSENT).all()
    # The frames around say that it lies where the right hand is.
    lost.landmarks_px[:, LEFT, :, :2] = np.where(
        (lost.present[:, LEFT] == SEEN)[:, None, None], tracks.landmarks_px[:, RIGHT, :, :2], np.nan
    )
    assert (recover_hands(frames, lost, head).present[GAP, LEFT] == ABSENT).all()


def test_a_hand_away_from_its_expected_place_is_found_beside_the_other_hand_but_is_not_that_hand(
    frames: list[Frame], tracks: HandTracks, head: HeadWithLandmarks
) -> None:
    tracks = with_right_beside_left(tracks)
    points_px = tracks.landmarks_px[..., :2].astype(np.float64)
    lost, aside = without_left(tracks), np.array([0.0, -1.2]) * np.ptp(points_px[0, LEFT], axis=0)
    lost.landmarks_px[:, LEFT, :, :2] += aside.astype(np.float32)

    def found(place: np.ndarray) -> HandTracks:
        known = points_px[GAP.start, RIGHT]
        points = points_to_crop(place[None], asked_square(known)[None], np.array([RIGHT]))
        one = Partners(np.array([9.0]), points, np.zeros(1))
        return recover_hands(frames, lost, replace(head, partner=lambda features: one))

    there = found(points_px[GAP.start, LEFT])
    assert (there.present[GAP, LEFT] == SEEN).all()
    size_px = np.linalg.norm(np.ptp(points_px[GAP, LEFT], axis=1), axis=-1)
    off_px = np.linalg.norm(there.landmarks_px[GAP, LEFT, :, :2] - points_px[GAP, LEFT], axis=-1).mean(1)
    assert (off_px < 0.08 * size_px).all()
    assert (found(points_px[GAP.start, RIGHT]).present[GAP, LEFT] == ABSENT).all()


def test_a_hand_far_from_the_other_one_is_not_looked_for_beside_it(
    frames: list[Frame], tracks: HandTracks, head: HeadWithLandmarks
) -> None:
    points_px = tracks.landmarks_px[..., :2].astype(np.float64)
    lost, aside = without_left(tracks), np.array([0.0, -1.2]) * np.ptp(points_px[0, LEFT], axis=0)
    lost.landmarks_px[:, LEFT, :, :2] += aside.astype(np.float32)
    known, place = points_px[GAP.start, RIGHT], points_px[GAP.start, LEFT]
    points = points_to_crop(place[None], asked_square(known)[None], np.array([RIGHT]))
    there = Partners(np.array([9.0]), points, np.zeros(1))
    recovered = recover_hands(frames, lost, replace(head, partner=lambda features: there))
    assert (recovered.present[GAP, LEFT] == ABSENT).all()


def test_only_frames_with_a_lost_hand_are_read(
    frames: list[Frame], tracks: HandTracks, head: HeadWithLandmarks
) -> None:
    def never() -> Iterator[Frame]:
        raise AssertionError("read")
        yield

    assert recover_hands(never(), tracks, head).present.all()
    nobody = replace(tracks, present=np.zeros_like(tracks.present))
    assert not recover_hands(never(), nobody, head).present.any()
    missing = [replace(frame, image=None) for frame in frames]
    lost = without_left(tracks)
    np.testing.assert_array_equal(recover_hands(missing, lost, head).present, lost.present)


def test_a_recovered_hand_counts_as_seen_in_network_and_solve(
    frames: list[Frame], tracks: HandTracks, head: HeadWithLandmarks
) -> None:
    stored, hand = stored_network(SHIPPED_FOLDER), load_open_hand()
    engine = torch_engine(load_network(stored), hand)
    predictor = Predictor(engine, stored.card, batch=4, betas_apply=True)
    lost, camera = without_left(tracks), default_camera((1280, 720))
    found = recover_hands(frames, lost, head)
    solved, told = refined_and_predicted(frames, found, camera, predictor, hand, head)
    assert (solved.present == SEEN).all()
    assert (told.presence[GAP, LEFT] > 0.9).all()
    # Painted over it is there, says the shot, but not seen, and the network is less sure of it.
    images = painted_over(frames, tracks.landmarks_px[:, LEFT, :, :2])
    unfound = recover_hands(images, lost, head)
    solved, hidden = refined_and_predicted(images, unfound, camera, predictor, hand, head)
    assert (solved.present[GAP, LEFT] == ABSENT).all()
    assert (hidden.presence[GAP, LEFT] > 0.5).all()
    assert (hidden.confidence[GAP, LEFT] < told.confidence[GAP, LEFT]).all()


def test_fast_hands_are_recovered_at_the_ends_of_their_arms(
    head: HeadWithLandmarks,
) -> None:
    start = 44
    frames = list(open_footage(footage_file("touching/sign_book.mp4"), FrameRange(start, 62)))
    found = build_tracks(detect_shot(frames, load_landmark_networks()))
    recovery = Recovery(found, head, load_pose_networks())
    for _ in recovery.run(frames):
        pass
    tracks, dropped = recovery.tracks, 50 - start
    assert not found.present[dropped].any() and tracks.present[dropped].all()
    # By eye, to some 15 px; a hand is 85 px long.
    wrists_px = tracks.landmarks_px[dropped, :, 0, :2]
    assert (np.linalg.norm(wrists_px - np.array([[440, 365], [322, 368]]), axis=-1) < 40).all()
    assert not tracks.present[58 - start :].any()


def test_no_hand_is_sought_at_the_arm_of_somebody_else(head: HeadWithLandmarks) -> None:
    """Frames in which the body that is found has a hand, as the test above tells; it is not the body of these hands."""
    frames = list(open_footage(footage_file("touching/sign_book.mp4"), FrameRange(44, 52)))
    found = build_tracks(detect_shot(frames, load_landmark_networks()))
    own, pose = np.full((len(frames), 2, 3, 3), np.nan), load_pose_networks()
    own[..., :2] = find_arms(
        [image for frame in frames if (image := frame.image) is not None], pose
    ).points_px
    dropped = 50 - 44
    for aside_px, there in ((0, True), (-400, False)):
        recovery = Recovery(found, head, pose, body_px=own + np.array([aside_px, 0, 0]))
        for _ in recovery.run(frames):
            pass
        assert (
            not found.present[dropped].any() and (recovery.tracks.present[dropped] != ABSENT).any() == there
        )


def test_a_hand_placed_by_its_arm_never_points_back_along_it() -> None:
    # Read upright, as where a forearm points up; the arm points down to the right by now.
    points_px = np.zeros((21, 2))
    points_px[:] = (100.0, 200.0)
    points_px[9] = (100.0, 120.0)
    elbow_px, wrist_px = np.array([60.0, 60.0]), np.array([140.0, 160.0])
    turned = (points_px - points_px[0]) @ turn_to_arm(points_px, elbow_px, wrist_px).T
    np.testing.assert_allclose(np.linalg.norm(turned[9]), 80)
    np.testing.assert_allclose(turned[9] / 80, np.array([80, 100]) / np.hypot(80, 100))
    bent = turn_to_arm(points_px, np.array([20.0, 190.0]), wrist_px)
    np.testing.assert_array_equal(bent, np.eye(2))
