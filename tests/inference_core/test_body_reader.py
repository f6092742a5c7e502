# SPDX-License-Identifier: GPL-3.0-or-later
"""Arms of bodies in whole frames: where MediaPipe finds them, and nowhere else."""

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference_core.landmarks.body_reader import ELBOW, SHOULDER, WRIST, find_arms
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.formats import SQUARE_PX
from inference_core.landmarks.hand_reader import read_hands
from inference_core.landmarks.networks import PoseNetworks, load_landmark_networks, load_pose_networks
from inference_core.shared.skeleton import LEFT, RIGHT
from tests.shared_files import footage_file


@pytest.fixture(scope="module")
def networks() -> PoseNetworks:
    return load_pose_networks()


def person() -> np.ndarray:
    """A frame (H, W, 3) of someone who presses their palms together."""
    movie = cv2.VideoCapture(str(footage_file("touching/namaste.mp4")))
    movie.set(cv2.CAP_PROP_POS_FRAMES, 30)
    return cv2.cvtColor(movie.read()[1], cv2.COLOR_BGR2RGB)


def test_pictures_without_a_person_have_no_arms(networks: PoseNetworks) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    arms = find_arms([np.full((240, 320, 3), 128, np.uint8), noise], networks)
    assert np.isnan(arms.points_px).all() and np.isnan(arms.world_m).all() and (arms.score == 0).all()
    assert np.isnan(arms.crops).all()
    assert find_arms([], networks).score.shape == (0, 2, 3)


def test_arms_agree_with_mediapipe(networks: PoseNetworks) -> None:
    peer = pytest.importorskip("mediapipe", reason="mediapipe, the test peer, is not installed")
    image = person()
    arms = find_arms([image], networks)
    with peer.solutions.pose.Pose(static_image_mode=True, model_complexity=1) as pose:
        theirs = pose.process(image).pose_landmarks.landmark
    height, width = image.shape[:2]
    theirs_px = np.array(
        [[(theirs[i].x * width, theirs[i].y * height) for i in arm] for arm in ((11, 13, 15), (12, 14, 16))]
    )
    # It moves them by its heat maps, which are left out here.
    shoulders = np.linalg.norm(np.diff(theirs_px[:, SHOULDER], axis=0))
    assert np.linalg.norm(arms.points_px[0] - theirs_px, axis=-1).max() < 0.12 * shoulders
    assert (arms.score > 0.9).all()


def test_arms_do_not_move_in_a_wider_picture(networks: PoseNetworks) -> None:
    image = person()
    wider = np.pad(image, ((0, 0), (300, 100), (0, 0)), mode="edge")
    plain, moved = find_arms([image], networks), find_arms([wider], networks)
    shoulders = np.linalg.norm(plain.points_px[0, LEFT, SHOULDER] - plain.points_px[0, RIGHT, SHOULDER])
    apart = np.linalg.norm(moved.points_px - (300, 0) - plain.points_px, axis=-1)
    assert apart.max() < 0.1 * shoulders


def test_the_left_arm_is_the_persons_own(networks: PoseNetworks) -> None:
    arms = find_arms([person()], networks)
    for joint in (SHOULDER, ELBOW, WRIST):
        assert arms.points_px[0, LEFT, joint, 0] > arms.points_px[0, RIGHT, joint, 0]
        assert arms.world_m[0, LEFT, joint, 0] > arms.world_m[0, RIGHT, joint, 0]


def test_hands_are_read_where_a_body_has_them(networks: PoseNetworks) -> None:
    image = person()
    (crops,) = find_arms([image], networks).crops
    read = read_hands([image, image], crops, load_landmark_networks())
    assert (read.presence > 0.9).all()
    own = crops_from_landmarks(read.points_px)
    assert (np.linalg.norm(own[:, :2] - crops[:, :2], axis=-1) < 0.15 * own[:, 2]).all()
    np.testing.assert_allclose(own[:, 2] / crops[:, 2], 1, atol=0.3)
    assert read.right[LEFT] < 0.5 < read.right[RIGHT]
    np.testing.assert_allclose(own[:, 3], crops[:, 3], atol=np.pi / 4)


def test_the_square_of_a_hand_agrees_with_the_source_model(networks: PoseNetworks) -> None:
    peer = find_spec("mediapipe")
    if peer is None or peer.origin is None:
        pytest.skip("mediapipe, whose model is the test peer, is not installed")
    import openvino

    core = openvino.Core()
    file = Path(peer.origin).parent / "modules/holistic_landmark/hand_recrop.tflite"
    source = core.compile_model(core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    noise = np.random.default_rng(0).integers(0, 255, (2, SQUARE_PX, SQUARE_PX, 3)).astype(np.uint8)
    pictures = np.stack([cv2.GaussianBlur(picture, (31, 31), 9) for picture in noise])
    expected = [source(picture[None].astype(np.float32) / 255)[0].ravel() for picture in pictures]
    np.testing.assert_allclose(networks.run_square(pictures), expected, atol=0.5)
