# SPDX-License-Identifier: GPL-3.0-or-later
"""Both hands of a picture chosen together: found on their sides, and never one hand twice."""

from importlib.resources import files

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.pair_choice import Candidates
from inference_core.tracking.pair_search import Pair, search_pair

DEMO = files("inference_core") / "demo"
SIZE, FRAME = (320, 180), 55


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    """The frame of the bundled clip in which its hands are nearest."""
    movie = cv2.VideoCapture(str(DEMO / "two_hands.mp4"))
    movie.set(cv2.CAP_PROP_POS_FRAMES, FRAME)
    frame = movie.read()[1]
    small = cv2.cvtColor(cv2.resize(frame, SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    return np.asarray(small, np.uint8)


@pytest.fixture(scope="module")
def hands_px() -> NDArray[np.float64]:
    """(2, 21, 2) where the frame's hands truly are."""
    with np.load(str(DEMO / "two_hands_truth.npz")) as truth:
        seen = truth["landmarks_cam_m"][FRAME] @ truth["K"].T
        return seen[..., :2] / seen[..., 2:] * SIZE[0] / truth["size_px"][0]


def test_both_hands_are_found_on_their_sides(
    head: HeadWithLandmarks, image: NDArray[np.uint8], hands_px: NDArray[np.float64]
) -> None:
    pair = search_pair(image, head)
    assert pair is not None and pair.hands.sides.tolist() == [LEFT, RIGHT]
    off_px = np.linalg.norm(pair.hands.points_px - hands_px, axis=-1).mean(-1)
    assert (off_px < 0.08 * pair.hands.crops[:, 2]).all()


def test_a_picture_without_hands_has_no_pair(head: HeadWithLandmarks) -> None:
    assert search_pair(np.full((*SIZE[::-1], 3), 90, np.uint8), head) is None


def test_a_hand_alone_is_no_pair(
    head: HeadWithLandmarks, image: NDArray[np.uint8], hands_px: NDArray[np.float64]
) -> None:
    bare, other = image.copy(), hands_px[RIGHT]
    (left, top), (right, bottom) = other.min(0).astype(int) - 12, other.max(0).astype(int) + 12
    bare[max(0, top) : bottom, max(0, left) : right] = 60
    pair = search_pair(bare, head, hands_px[[LEFT]], np.array([LEFT]))
    assert pair is None or not pair.good


def test_a_pair_is_good_only_if_it_is_likely_and_both_hands_are_seen(hands_px: NDArray[np.float64]) -> None:
    def pair(odds: float, presence: float, told: float = 4.0) -> Pair:
        two, ones = np.array([LEFT, RIGHT]), np.ones(2)
        seen, there = np.array([1.0, presence]), np.full(2, told)
        return Pair(
            Candidates(hands_px, np.zeros((2, 21, 3)), two, ones, ones, seen, there, hands_px, ones), odds
        )

    assert pair(4.0, 0.6).good
    assert not pair(0.5, 0.6).good
    assert pair(4.0, 0.4, told=7.0).good
    assert not pair(4.0, 0.4).good
    assert not pair(4.0, 0.05, told=7.0).good
