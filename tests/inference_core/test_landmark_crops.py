# SPDX-License-Identifier: GPL-3.0-or-later
"""Crops: points and pixels map to them and back consistently."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_core.landmarks.crop_squares import (
    crops_from_arms,
    crops_from_landmarks,
    crops_from_palms,
    cut,
    to_crop,
    to_frame,
    turn_to_frame,
)

CROP_PX = 224
# The step of the grid of crops: a share of their side, and radians.
GRID = 2.0**-10
# A right hand, palm to the camera, fingers up, its wrist at the origin; hand lengths.
HAND = np.array(
    [[0, 0], [0.2, -0.1], [0.35, -0.25], [0.45, -0.38], [0.52, -0.5]]
    + [[x, y] for x, top in ((0.18, -0.95), (0.05, -1.0), (-0.08, -0.95), (-0.2, -0.8))
       for y in np.linspace(-0.48, top, 4)]
)  # fmt: skip

crops = st.tuples(
    st.floats(-500, 2000), st.floats(-500, 2000), st.floats(5, 1500), st.floats(-np.pi, np.pi)
).map(np.array)


@given(crops, st.integers(0, 2**31))
def test_mapping_to_a_crop_and_back_is_the_identity(crop: np.ndarray, seed: int) -> None:
    points = np.random.default_rng(seed).uniform(-300, 900, (4, 21, 3))
    there_and_back = to_frame(to_crop(points, crop, CROP_PX), crop, CROP_PX)
    np.testing.assert_allclose(there_and_back, points, atol=1e-8)


@pytest.mark.parametrize("rotation", [0.0, 0.7, -2.5])
def test_the_crop_of_a_straight_arm_is_that_of_its_hand(rotation: float) -> None:
    turn = np.array([[np.cos(rotation), -np.sin(rotation)], [np.sin(rotation), np.cos(rotation)]])
    wrist, hand = np.array([300.0, 200.0]), 100 * HAND @ turn.T
    elbow = wrist - 120 * hand[9] / np.linalg.norm(hand[9])
    of_hand = crops_from_landmarks(wrist + hand)
    of_arm = crops_from_arms(elbow, wrist, float(of_hand[2]))
    assert np.linalg.norm(of_arm[:2] - of_hand[:2]) < 0.1 * of_hand[2]
    assert abs((of_arm[3] - of_hand[3] + np.pi) % (2 * np.pi) - np.pi) < 0.2


@pytest.mark.parametrize("rotation", [0.0, 0.7, -2.5])
@pytest.mark.parametrize("side", [150.0, 400.0])
def test_pixels_and_points_map_alike(rotation: float, side: float) -> None:
    y, x = np.mgrid[0:800, 0:900]
    # Pixel (i, j) tells its own centre (i + 0.5, j + 0.5), a quarter of it to fit a byte.
    picture = np.stack([(x + 0.5) / 4, (y + 0.5) / 4, 0 * x], -1).round().astype(np.uint8)
    crop = np.array([450.3, 380.8, side, rotation])
    inside = cut(picture, crop, CROP_PX)
    at = np.array([[10.5, 20.5, 0], [111.5, 112.5, 0], [200.5, 60.5, 0], [30.5, 190.5, 0]])
    expected = to_frame(at, crop, CROP_PX)[:, :2] / 4
    seen = inside[at[:, 1].astype(int), at[:, 0].astype(int), :2]
    np.testing.assert_allclose(seen, expected, atol=1.0)


def test_a_crop_of_a_large_picture_is_smoothed_and_not_shifted() -> None:
    picture = np.zeros((3000, 3000, 3), np.uint8)
    picture[1500:] = 255
    inside = cut(picture, np.array([1500.0, 1500.0, 2800.0, 0.0]), CROP_PX).astype(int)
    assert inside[:111].max() == 0
    assert inside[113:].min() == 255


@given(st.floats(-3, 3), st.floats(30, 600), st.floats(-200, 1500), st.floats(-200, 1500))
def test_a_crop_follows_its_hands_rotation_size_and_position(
    turn: float, size: float, x: float, y: float
) -> None:
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    upright = crops_from_landmarks(HAND * 100.0)
    moved = crops_from_landmarks(HAND @ spin.T * size + np.array([x, y]))
    # Either crop is within half a step of the grid.
    np.testing.assert_allclose(moved[2], upright[2] * size / 100, rtol=GRID)
    apart = (moved[3] - upright[3] - turn + np.pi) % (2 * np.pi) - np.pi
    assert abs(apart) <= GRID
    expected = upright[:2] @ spin.T * size / 100 + np.array([x, y])
    np.testing.assert_allclose(moved[:2], expected, atol=2 * GRID * moved[2])


def test_rounding_rarely_reaches_the_next_crop() -> None:
    random = np.random.default_rng(0)
    hands = HAND * random.uniform(40, 400, (1000, 1, 1)) + random.uniform(0, 1000, (1000, 1, 2))
    other = crops_from_landmarks(hands * (1 + random.uniform(-1, 1, hands.shape) * 1e-7))
    assert (other == crops_from_landmarks(hands)).all(1).mean() > 0.99


def test_a_hand_is_upright_in_the_middle_of_its_crop() -> None:
    points = np.concatenate((HAND * 200 + np.array([640, 500]), np.zeros((21, 1))), 1)
    inside = to_crop(points, crops_from_landmarks(points), CROP_PX)
    assert (inside[:, :2] > 0).all()
    assert (inside[:, :2] < CROP_PX).all()
    assert inside[9, 1] < inside[0, 1]
    assert abs(inside[9, 0] - inside[0, 0]) < 10


def test_a_palm_pointing_right_gives_a_crop_rotated_by_90_degrees() -> None:
    key_points = np.zeros((7, 2))
    key_points[0], key_points[2] = (100, 100), (180, 100)
    crop = crops_from_palms(np.array([140.0, 100.0, 80.0, 80.0]), key_points)
    np.testing.assert_allclose(crop, [140 + 40, 100, 80 * 2.6, np.pi / 2], atol=GRID * 80 * 2.6)


def test_world_points_rotate_about_z_only() -> None:
    points = np.array([[[1.0, 0.0, 5.0]]])
    turned = turn_to_frame(points, np.array([[0, 0, 1, np.pi / 2]]))
    np.testing.assert_allclose(turned, [[[0, 1, 5]]], atol=1e-12)
