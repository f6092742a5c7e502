# SPDX-License-Identifier: GPL-3.0-or-later
"""Crops as a camera that faces the hand sees them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from inference_core.geometry.homography import mapped
from inference_core.landmarks.crop_squares import cut, to_frame
from inference_core.landmarks.facing import cut_facing, frame_from_facing

CROP_PX = 224
K = np.array([[737.0, 0, 960], [0, 737, 540], [0, 0, 1]])
CORNERS = np.array([[0.0, 0], [CROP_PX, 0], [0, CROP_PX], [CROP_PX, CROP_PX], [60, 90]])


def _pictured(points_m: NDArray[np.float64]) -> NDArray[np.float64]:
    pixels = points_m @ K.T
    return pixels[..., :2] / pixels[..., 2:]


def test_in_the_middle_of_the_picture_the_crop_is_the_plain_one() -> None:
    crop = np.array([960.0, 540, 900, 0.4])
    homography = frame_from_facing(crop, K, CROP_PX)
    plain = to_frame(np.pad(CORNERS, ((0, 0), (0, 1))), crop, CROP_PX)[:, :2]
    np.testing.assert_allclose(mapped(CORNERS, homography), plain, atol=1e-6)
    image = np.random.default_rng(1).integers(0, 255, (1080, 1920, 3)).astype(np.uint8)
    shown, as_before = cut_facing(image, homography, crop, CROP_PX), cut(image, crop, CROP_PX)
    assert np.abs(shown.astype(int) - as_before).max() <= 8


@pytest.mark.parametrize("crop", [[300.0, 950, 400, 0.0], [1700.0, 500, 300, 2.5]])
def test_a_disc_that_faces_the_camera_is_round_in_the_crop_wherever_it_is(crop: list[float]) -> None:
    square = np.array(crop)
    homography = frame_from_facing(square, K, CROP_PX)
    towards = np.linalg.solve(K, [crop[0], crop[1], 1.0])
    towards /= np.linalg.norm(towards)
    across = np.linalg.svd(towards[None])[2][1:]
    angle = np.linspace(0, 2 * np.pi, 60)[:, None]
    disc_m = 0.4 * towards + 0.02 * (np.cos(angle) * across[0] + np.sin(angle) * across[1])
    pixels = _pictured(disc_m)
    assert np.ptp(np.linalg.norm(pixels - square[:2], axis=-1)) > 10
    radius = np.linalg.norm(mapped(pixels, np.linalg.inv(homography)) - CROP_PX / 2, axis=-1)
    assert np.ptp(radius) < 1e-6 * radius.mean()
    # Up and area, in the middle, are those of the plain crop.
    step = mapped(CROP_PX / 2 + np.array([[0, 0], [1e-3, 0], [0, -1e-3]]), homography)
    right, up = (step[1:] - step[0]) / 1e-3
    assert np.isclose(abs(np.linalg.det([right, up])), (crop[2] / CROP_PX) ** 2, rtol=1e-4)
    np.testing.assert_allclose(up / np.linalg.norm(up), [np.sin(crop[3]), -np.cos(crop[3])], atol=1e-4)
