# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands proposed by the pair detector: both of a pair, wherever the square lies."""

from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.formats import PALM_WEIGHTS, WEIGHTS_FOLDER
from inference_core.landmarks.networks import LandmarkNetworks, load_landmark_networks
from inference_core.landmarks.pair_detector import ToldHands, proposed_apart, proposed_crops, told_hands
from inference_core.landmarks.pair_network import load_pair_graph
from inference_core.shared.errors import WeightsError

DEMO = files("inference_core") / "demo"
SIZE, FRAME = (320, 180), 55


@pytest.fixture(scope="module")
def networks() -> LandmarkNetworks:
    return load_landmark_networks()


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    """The frame of the bundled clip in which its hands are nearest."""
    movie = cv2.VideoCapture(str(DEMO / "two_hands.mp4"))
    movie.set(cv2.CAP_PROP_POS_FRAMES, FRAME)
    small = cv2.resize(movie.read()[1], SIZE, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)


@pytest.fixture(scope="module")
def crops() -> NDArray[np.float64]:
    """(2, 4) of the hands in it."""
    with np.load(str(DEMO / "two_hands_truth.npz")) as truth:
        seen = truth["landmarks_cam_m"][FRAME] @ truth["K"].T
        return crops_from_landmarks(seen[..., :2] / seen[..., 2:] * SIZE[0] / truth["size_px"][0])


def test_both_hands_are_proposed(
    networks: LandmarkNetworks, image: NDArray[np.uint8], crops: NDArray[np.float64]
) -> None:
    for known in (np.empty((0, 4)), crops[:1]):
        found = proposed_crops(image, known, 6, networks)[:, None]
        near = np.linalg.norm(found[..., :2] - crops[:, :2], axis=-1) < 0.2 * crops[:, 2]
        turned = np.abs(np.remainder(found[..., 3] - crops[:, 3] + np.pi, 2 * np.pi) - np.pi) < 0.8
        grown = np.abs(np.log(found[..., 2] / crops[:, 2])) < 0.35
        assert (near & turned & grown).any(0).all()


def test_what_is_proposed_apart_is_the_other_hand(
    networks: LandmarkNetworks, image: NDArray[np.uint8], crops: NDArray[np.float64]
) -> None:
    for other in (0, 1):
        (found,) = proposed_apart(image, crops[1 - other, None], 1, networks).crops
        assert np.linalg.norm(found[:2] - crops[other, :2]) < 0.2 * crops[other, 2]
    for crop in proposed_apart(image, crops, 2, networks).crops:
        assert (np.linalg.norm(crop[:2] - crops[:, :2], axis=-1) > 0.4 * crops[:, 2]).all()


def test_hands_are_told_where_the_square_lies(networks: LandmarkNetworks, image: NDArray[np.uint8]) -> None:
    """Twice as large and moved, the same square tells the same hands there."""
    square = np.array([[SIZE[0] / 2, SIZE[1] / 2, 192.0]])
    told = told_hands(image, square, networks)
    framed = cv2.copyMakeBorder(image, 40, 0, 70, 0, cv2.BORDER_REPLICATE)
    moved = told_hands(framed, square + np.array([70, 40, 0]), networks)
    np.testing.assert_allclose(moved.crops, told.crops + np.array([70, 40, 0, 0]), atol=1e-6)
    large = told_hands(image.repeat(2, 0).repeat(2, 1), square * 2, networks)
    np.testing.assert_allclose(large.best(2).crops, told.best(2).crops * [2, 2, 2, 1], rtol=0.05, atol=0.05)


def test_an_empty_picture_proposes_nothing(networks: LandmarkNetworks) -> None:
    empty = np.full((*SIZE[::-1], 3), 90, np.uint8)
    assert not len(proposed_crops(empty, np.empty((0, 4)), 6, networks))


def test_the_likeliest_crops_that_differ_are_proposed() -> None:
    told = ToldHands(
        np.array([[50.0, 50, 40, 3.0], [51, 50, 41, 3 - 2 * np.pi], [51, 50, 40, 0], [80, 50, 40, 3]]),
        np.array([-2.0, -1.0, -3.0, -4.0]),
    )
    np.testing.assert_array_equal(told.best(5).crops, told.crops[[1, 2, 3]])
    np.testing.assert_array_equal(told.best(2).crops, told.crops[[1, 2]])
    assert not len(ToldHands(np.empty((0, 4)), np.empty(0)).best(3).crops)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pair_detector.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="pair_detector"):
        load_pair_graph(path, WEIGHTS_FOLDER / PALM_WEIGHTS)
