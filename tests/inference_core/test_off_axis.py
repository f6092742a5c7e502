# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands far off the camera's axis are read as if the camera faced them."""

from importlib.resources import files

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.geometry.homography import mapped, turn_to_z
from inference_core.geometry.rotations import exp
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.head_reader import HeadWithLandmarks, in_frame
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.landmarks.many_squares import TURNED, read_in_many_squares
from inference_core.landmarks.off_axis import read_squares
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.expected_hands import ExpectedHands
from inference_core.tracking.refine import read_expected_hands

DEMO = files("inference_core") / "demo"
SIDES = np.array([LEFT, RIGHT])
Floats = NDArray[np.float64]
Scene = tuple[Frame, Floats, Floats]


@pytest.fixture(scope="module")
def scene() -> Scene:
    """The bundled clip's first frame, where its hands (2, 21, 3) truly are in the camera, and its intrinsics."""
    picture = cv2.VideoCapture(str(DEMO / "two_hands.mp4")).read()[1]
    with np.load(str(DEMO / "two_hands_truth.npz")) as truth:
        return (
            Frame(0, 0.0, np.array(picture[..., ::-1], np.uint8)),
            truth["landmarks_cam_m"][0],
            truth["K"],
        )


def turned(scene: Scene, turn: Floats) -> Scene:
    """The scene as a camera turned by (3, 3) sees it, in a picture wide enough for it."""
    (frame, points_m, K), wide = scene, scene[2].copy()
    assert frame.image is not None
    wide[:2, 2] = 1400
    back = wide @ turn @ np.linalg.inv(K)
    picture = cv2.warpPerspective(frame.image, back, (2800, 2800), borderMode=cv2.BORDER_REPLICATE)
    return Frame(0, 0.0, np.asarray(picture, np.uint8)), points_m @ turn.T, wide


def squares(scene: Scene) -> Floats:
    """(2, 4) squares about the hands."""
    pixels = scene[1] @ scene[2].T
    return crops_from_landmarks(pixels[..., :2] / pixels[..., 2:])


def in_camera(scene: Scene, along_m: Floats) -> Floats:
    """World landmarks (2, 21, 3) in the camera's axes, from those along the line of sight."""
    rays = np.linalg.solve(scene[2], np.pad(squares(scene)[:, :2], ((0, 0), (0, 1)), constant_values=1).T).T
    turns = [turn_to_z(ray / np.linalg.norm(ray)) for ray in rays]
    return np.stack([points @ turn for points, turn in zip(along_m, turns, strict=True)])


@pytest.mark.parametrize("rotation", [[0.7, 0, 0], [0, -0.65, 0], [-0.5, 0.6, 0.3]])
def test_a_hand_is_read_alike_wherever_the_camera_looks(
    scene: Scene, head: HeadWithLandmarks, rotation: list[float]
) -> None:
    turn = exp(np.array(rotation))
    elsewhere = turned(scene, turn)
    kept, crops = KeptReadings(head), squares(elsewhere)
    _, before_px, before_m, _ = read_squares([scene[0]] * 2, squares(scene), SIDES, scene[2], kept)
    _, after_px, after_m, _ = read_squares([elsewhere[0]] * 2, crops, SIDES, elsewhere[2], kept)
    expected_px = mapped(before_px, elsewhere[2] @ turn @ np.linalg.inv(scene[2]))
    off = np.linalg.norm(after_px - expected_px, axis=-1).mean(-1) / crops[:, 2]
    plain_px, _, _ = in_frame(kept.read([elsewhere[0]] * 2, crops, SIDES), crops, SIDES)
    plain_off = np.linalg.norm(plain_px - expected_px, axis=-1).mean(-1) / crops[:, 2]
    assert (off < 0.025).all() and off.mean() < 0.8 * plain_off.mean()
    expected_m = in_camera(scene, before_m) @ turn.T
    assert np.linalg.norm(in_camera(elsewhere, after_m) - expected_m, axis=-1).mean(-1).max() < 0.006


def test_hands_near_the_axis_and_far_off_it_are_read_in_their_order(
    scene: Scene, head: HeadWithLandmarks
) -> None:
    # One hand is 16 degrees off the axis, the other 35.
    beside = turned(scene, exp(np.array([0, 0.45, 0])))
    kept, crops = KeptReadings(head), squares(beside)
    off_axis = np.linalg.norm(crops[:, :2] - beside[2][:2, 2], axis=-1) / beside[2][0, 0]
    assert np.tan(0.2) < off_axis.min() < np.tan(0.4) and np.tan(0.5) < off_axis.max()
    together = read_squares([beside[0]] * 2, crops, SIDES, beside[2], kept)
    for row in (0, 1):
        alone = read_squares([beside[0]], crops[row : row + 1], SIDES[row : row + 1], beside[2], kept)
        for ours, own in zip(together[1:], alone[1:], strict=True):
            np.testing.assert_allclose(ours[row], own[0], atol=1e-3)
        np.testing.assert_allclose(together[0].right[row], alone[0].right[0], atol=1e-3)


def test_in_a_shot_the_hand_far_off_the_axis_is_read_in_turned_squares_the_other_in_its_own(
    scene: Scene, head: HeadWithLandmarks
) -> None:
    # As above: one hand is near the axis, the other far off it.
    beside = turned(scene, exp(np.array([0, 0.45, 0])))
    pixels, kept = beside[1] @ beside[2].T, KeptReadings(head)
    points_px = pixels[None, ..., :2] / pixels[None, ..., 2:]
    expected = ExpectedHands(points_px, beside[1][None], np.ones((1, 2, 21)), np.ones((1, 2)))
    found = read_expected_hands([beside[0]], expected, kept, np.zeros((1, 2), bool), beside[2])
    crops, shown = squares(beside), [beside[0]] * 2
    once = read_squares(shown, crops, SIDES, beside[2], kept)[1:]
    turned_too = read_in_many_squares(shown, crops, SIDES, beside[2], kept, TURNED)
    axis_px = np.linalg.norm(crops[:, :2] - beside[2][:2, 2], axis=-1)
    near, far = int(axis_px.argmin()), int(axis_px.argmax())
    for side, wanted, other in ((near, once, turned_too), (far, turned_too, once)):
        np.testing.assert_allclose(found.points_px[0, side], wanted[0][side], atol=0.05)
        assert np.linalg.norm(found.points_px[0, side] - other[0][side], axis=-1).mean() > 0.5
