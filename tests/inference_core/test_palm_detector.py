# SPDX-License-Identifier: GPL-3.0-or-later
"""Anchors, letterbox and suppression of the palm detector."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_core.footage import FrameRange, open_footage
from inference_core.landmarks.formats import PALM_PX
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.landmarks.palm_detector import (
    anchor_centres,
    box_overlaps,
    closer_side,
    detect_palms,
    detect_palms_in,
    letterbox,
    squares_over,
    weighted_suppression,
)
from tests.shared_files import footage_file


def test_fine_cells_have_two_anchors_and_coarse_ones_six() -> None:
    centres = anchor_centres()
    assert centres.shape == (24 * 24 * 2 + 12 * 12 * 6, 2)
    np.testing.assert_array_equal(centres[:3], [[4, 4], [4, 4], [12, 4]])
    np.testing.assert_array_equal(centres[24 * 24 * 2 + 5 : 24 * 24 * 2 + 7], [[8, 8], [24, 8]])


@pytest.mark.parametrize("size", [(720, 1280), (1280, 720), (192, 192), (1, 1), (3, 700), (37, 53)])
def test_a_letterbox_keeps_the_aspect_and_returns_scale_and_offset(size: tuple[int, int]) -> None:
    height, width = size
    square, scale, offset = letterbox(np.full((height, width, 3), 255, np.uint8))
    assert square.shape == (PALM_PX, PALM_PX, 3)
    lit = np.argwhere(square[..., 0] > 0)
    low, high = lit.min(0), lit.max(0) + 1
    np.testing.assert_allclose(low[::-1], offset)
    np.testing.assert_allclose((high - low)[::-1], np.maximum(np.array([width, height]) * scale, 1), atol=0.5)


boxes = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0, 100), st.floats(1, 60), st.floats(1, 60), st.floats(0.5, 1.0)),
    max_size=25,
)


@settings(max_examples=80)
@given(boxes)
def test_suppression_agrees_with_a_plain_loop(rows: list[tuple[float, ...]]) -> None:
    array = np.array(rows, np.float64).reshape(-1, 5)
    values, scores = weighted_suppression(array[:, :4], array[:, 4])
    expected_values, expected_scores = _plain_suppression(rows)
    np.testing.assert_allclose(values, expected_values, atol=1e-9)
    np.testing.assert_allclose(scores, expected_scores)


def test_overlap_is_one_with_itself_and_symmetric() -> None:
    overlaps = box_overlaps(np.array([[5.0, 5, 4, 4], [6, 5, 4, 4], [50, 50, 3, 8]]))
    np.testing.assert_allclose(np.diag(overlaps), 1)
    np.testing.assert_allclose(overlaps, overlaps.T)
    assert overlaps[0, 1] == pytest.approx(12 / 20)
    assert overlaps[0, 2] == 0


def test_pictures_without_hands_have_no_palms() -> None:
    pictures = [np.zeros((90, 160, 3), np.uint8), np.full((1, 1, 3), 200, np.uint8)]
    assert [len(palms.scores) for palms in detect_palms(pictures, load_landmark_networks())] == [0, 0]


def test_the_closer_search_finds_a_small_palm_once_and_in_place() -> None:
    """A hand too small for the look at the whole frame, against the look at that hand alone."""
    networks = load_landmark_networks()
    frame = next(iter(open_footage(footage_file("one_hand.mp4"), FrameRange(40, 41)))).image
    assert frame is not None
    small = cv2.resize(frame, (96, 54), interpolation=cv2.INTER_AREA)
    wide = np.full((180, 320, 3), 90, np.uint8)
    wide[60:114, 150:246] = small
    whole = detect_palms([wide], networks)[0]
    closer = detect_palms_in(wide, squares_over(320, 180, closer_side(320, 180)), networks)
    alone = detect_palms([small], networks)[0]
    assert len(whole.scores) == 0 and len(closer.scores) == len(alone.scores) == 1
    np.testing.assert_allclose(closer.key_points_px[0], alone.key_points_px[0] + (150, 60), atol=4)
    np.testing.assert_allclose(closer.boxes_px[0, 2:], alone.boxes_px[0, 2:], rtol=0.2)


@pytest.mark.parametrize("size", [(320, 180), (180, 320), (200, 200), (1, 3)])
@pytest.mark.parametrize("side", [1, 70, 500])
def test_squares_cover_the_whole_picture(size: tuple[int, int], side: int) -> None:
    seen = np.zeros(size[::-1], bool)
    for x, y, own in squares_over(*size, side).tolist():
        assert own == min(*size, side) and 0 <= x <= size[0] - own and 0 <= y <= size[1] - own
        seen[y : y + own, x : x + own] = True
    assert seen.all()


def _plain_suppression(rows: list[tuple[float, ...]]) -> tuple[np.ndarray, list[float]]:
    left = sorted(rows, key=lambda row: -row[4])
    values, scores = [], []
    while left:
        best = left[0]
        group = [row for row in left if row is best or _plain_overlap(best, row) > 0.3]
        left = [row for row in left if not any(row is member for member in group)]
        weight = sum(row[4] for row in group)
        values.append([sum(row[k] * row[4] for row in group) / weight for k in range(4)])
        scores.append(best[4])
    return np.array(values).reshape(-1, 4), scores


def _plain_overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    sides = [
        max(
            0.0,
            min(one[k] + one[k + 2] / 2, other[k] + other[k + 2] / 2)
            - max(one[k] - one[k + 2] / 2, other[k] - other[k + 2] / 2),
        )
        for k in (0, 1)
    ]
    shared = sides[0] * sides[1]
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)
