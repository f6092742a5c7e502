# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands found without palms: on a rendered frame, around a known hand, and nowhere in an empty picture."""

from dataclasses import replace
from importlib.resources import files

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inference_core.landmarks.hand_search import crops_about, crops_over, plausible, search_hands
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.landmarks.networks import LandmarkNetworks, load_landmark_networks
from inference_core.tracking.follower import sightings_of
from inference_core.tracking.sure_hands import sure_hands

# As large a picture as lets a test search it in a second or two.
SIZE = (320, 180)


@pytest.fixture(scope="module")
def networks() -> LandmarkNetworks:
    return load_landmark_networks()


def rendered() -> np.ndarray:
    """The bundled clip's first frame."""
    movie = cv2.VideoCapture(str(files("inference_core") / "demo" / "two_hands.mp4"))
    return cv2.resize(cv2.cvtColor(movie.read()[1], cv2.COLOR_BGR2RGB), SIZE, interpolation=cv2.INTER_AREA)


def test_squares_cover_the_whole_picture() -> None:
    crops = crops_over(*SIZE)
    y, x = np.mgrid[: SIZE[1] : 5, : SIZE[0] : 5]
    for side in np.unique(crops[:, 2]):
        some = crops[crops[:, 2] == side]
        apart = np.abs(np.stack((x, y), -1)[:, :, None] - some[:, :2]).max(-1) / side
        assert apart.min(-1).max() < 0.5
    assert len(crops) < 300 and len(np.unique(crops[:, 3])) == 8


def test_squares_about_a_hand_have_its_size_and_surround_it() -> None:
    about = crops_about(np.array([100.0, 80.0, 60.0, 0.3]))
    assert (about[:, 2] == 60).all()
    np.testing.assert_allclose(about[:, :2].mean(0), (100, 80))
    assert np.abs(about[:, :2] - (100, 80)).max() == pytest.approx(18)


def test_both_hands_of_a_rendered_frame_are_found_without_a_palm(
    networks: LandmarkNetworks, head: HeadWithLandmarks
) -> None:
    image = rendered()
    found = search_hands(image, crops_over(*SIZE)[::2], networks)
    assert (np.diff(found.presence) <= 0).all()
    assert plausible(image, found.next_crops, head).sum() >= 2


def test_faint_hands_are_sure_only_where_the_pair_detector_tells_of_them(
    networks: LandmarkNetworks, head: HeadWithLandmarks
) -> None:
    image = rendered()
    found = search_hands(image, crops_over(*SIZE)[::2], networks)
    nothing = replace(found, next_crops=np.tile([40.0, 150.0, 60.0, 0.0], (len(found.presence), 1)))
    hands, others = (
        [replace(one, presence=0.6) for one in sightings_of([0] * len(read.presence), read)]
        for read in (found, nothing)
    )
    told, untold = np.full(len(hands), -0.5), np.full(len(hands), -1.9)
    assert len(sure_hands(image, hands, head, told)) >= 2
    assert not sure_hands(image, hands, head) and not sure_hands(image, hands, head, untold)
    assert not sure_hands(image, hands, None, told)
    assert not sure_hands(image, others, head, told)


def test_the_search_beside_the_only_hand_of_a_picture_stops_early(networks: LandmarkNetworks) -> None:
    image = rendered()
    known = search_hands(image, crops_over(*SIZE)[::2], networks).next_crops[0]
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    alone = image * (np.hypot(x - known[0], y - known[1]) < 0.6 * known[2])[..., None].astype(np.uint8)
    looks: list[int] = []

    def counted(pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        looks.append(len(pictures))
        return networks.early(pictures)

    about = crops_about(known)
    assert not len(search_hands(alone, about, replace(networks, early=counted), known).presence)
    assert sum(looks) < 0.5 * len(about)


def test_no_hand_is_found_in_an_empty_picture(networks: LandmarkNetworks, head: HeadWithLandmarks) -> None:
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    image = np.stack((x // 2, y, (x + y) // 3), -1).clip(0, 255).astype(np.uint8)
    looks: list[int] = []

    def counted(pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        looks.append(len(pictures))
        return networks.early(pictures)

    crops = crops_over(*SIZE)[::5]
    found = search_hands(image, crops, replace(networks, early=counted))
    assert not plausible(image, found.next_crops, head).any()
    assert sum(looks) <= 0.3 * len(crops)
