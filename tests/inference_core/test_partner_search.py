# SPDX-License-Identifier: GPL-3.0-or-later
"""The second hand read beside the first: where the partner network says that it is, and none where there is none."""

from dataclasses import replace
from importlib.resources import files

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inference_core.landmarks.crop_readings import Partners
from inference_core.landmarks.hand_crops import points_to_crop
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.landmarks.partner_search import asked_square, read_partner
from inference_core.shared.skeleton import LEFT, RIGHT

DEMO = files("inference_core") / "demo"
WIDTH = 640


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    """The bundled clip's first frame."""
    frame = cv2.VideoCapture(str(DEMO / "two_hands.mp4")).read()[1]
    size = (WIDTH, round(WIDTH * frame.shape[0] / frame.shape[1]))
    return cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), size, interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def hands_px() -> NDArray[np.float64]:
    """(2, 21, 2) where the frame's hands truly are."""
    with np.load(str(DEMO / "two_hands_truth.npz")) as truth:
        seen = truth["landmarks_cam_m"][0] @ truth["K"].T
        return seen[..., :2] / seen[..., 2:] * WIDTH / truth["size_px"][0]


def told(
    head: HeadWithLandmarks,
    known_px: NDArray[np.float64],
    side: int,
    other_px: NDArray[np.float64],
    odds: float = 9.0,
) -> HeadWithLandmarks:
    """The head beside a network that tells of a hand at other_px (21, 2)."""
    points = points_to_crop(other_px[None], asked_square(known_px)[None], np.array([side]))
    one = Partners(np.array([odds]), points, np.zeros(1))
    return replace(head, partner=lambda features: one)


@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_the_other_hand_is_read_where_it_is(
    head: HeadWithLandmarks, image: NDArray[np.uint8], hands_px: NDArray[np.float64], side: int
) -> None:
    known, other = hands_px[side], hands_px[1 - side]
    near = other + 0.1 * np.ptp(other, axis=0)
    read = read_partner(image, known, side, told(head, known, side, near))
    assert read is not None and read.good and read.side == 1 - side
    assert np.linalg.norm(read.points_px - other, axis=-1).mean() < 0.08 * read.crop[2]


@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_a_hand_predicted_too_small_is_read_all_the_same(
    head: HeadWithLandmarks, image: NDArray[np.uint8], hands_px: NDArray[np.float64], side: int
) -> None:
    known, other = hands_px[side], hands_px[1 - side]
    middle = other.mean(0)
    read = read_partner(image, known, side, told(head, known, side, middle + 0.2 * (other - middle)))
    assert read is not None and read.good
    assert np.linalg.norm(read.points_px - other, axis=-1).mean() < 0.08 * read.crop[2]


def test_a_hand_is_not_its_own_partner(
    head: HeadWithLandmarks, image: NDArray[np.uint8], hands_px: NDArray[np.float64]
) -> None:
    known = hands_px[RIGHT]
    read = read_partner(image, known, RIGHT, told(head, known, RIGHT, known))
    assert read is not None and not read.good


def test_no_hand_is_read_where_the_network_predicts_none(
    head: HeadWithLandmarks, image: NDArray[np.uint8], hands_px: NDArray[np.float64]
) -> None:
    known, other = hands_px[LEFT], hands_px[RIGHT]
    assert read_partner(image, known, LEFT, told(head, known, LEFT, other, odds=-9.0)) is None
    assert read_partner(image, known, LEFT, replace(head, partner=None)) is None


def test_a_mirrored_picture_gives_the_mirrored_partner(
    head: HeadWithLandmarks, image: NDArray[np.uint8], hands_px: NDArray[np.float64]
) -> None:
    known, other = hands_px[LEFT], hands_px[RIGHT]
    mirror = np.array([-1.0, 1.0]), np.array([WIDTH, 0.0])
    turned, aside = known * mirror[0] + mirror[1], other * mirror[0] + mirror[1]
    read = read_partner(image, known, LEFT, told(head, known, LEFT, other))
    flipped = np.ascontiguousarray(image[:, ::-1])
    again = read_partner(flipped, turned, RIGHT, told(head, turned, RIGHT, aside))
    assert read is not None and again is not None
    np.testing.assert_allclose(again.points_px * mirror[0] + mirror[1], read.points_px, atol=2.0)
    assert again.odds == pytest.approx(read.odds, abs=1.5)
