# SPDX-License-Identifier: GPL-3.0-or-later
"""The preview: triangles to pixels, shading, labels, the movie's timing."""

import dataclasses
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_core.footage import FootageInfo, Frame, open_footage
from inference_core.footage.records import Footage
from inference_core.geometry.rasteriser import rasterise
from inference_core.preview import draw_frame, write_preview
from inference_core.preview.hands import draw_hands, vertex_normals
from inference_core.shared.errors import FootageError, RequestError
from inference_core.shared.take import Take
from tests.sample_take import sample_take


def naive_nearest(corners_px: np.ndarray, depths_m: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    """The nearest triangle of every pixel, one pixel and one triangle at a time."""
    width, height = size_px
    nearest, best = np.full((height, width), -1), np.zeros((height, width))
    for number, (corners, depths) in enumerate(zip(corners_px, depths_m, strict=True)):
        (ax, ay), (bx, by), (cx, cy) = corners
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area <= 1e-9:
            continue
        for row in range(height):
            for column in range(width):
                x, y = column + 0.5, row + 0.5
                a = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                b = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                c = 1 - a - b
                if min(a, b, c) < 0:
                    continue
                nearness = a / depths[0] + b / depths[1] + c / depths[2]
                if nearness > best[row, column]:
                    nearest[row, column], best[row, column] = number, nearness
    return nearest


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_the_rasteriser_agrees_with_a_naive_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners, depths = rng.uniform(-4, 24, (12, 3, 2)), rng.uniform(0.3, 2, (12, 3))
    expected = naive_nearest(corners, depths, (20, 16))
    whole = np.full((16, 20), -1)
    cover = rasterise(corners, depths, (20, 16))
    if cover is not None:
        height, width = cover.triangle.shape
        whole[cover.top : cover.top + height, cover.left : cover.left + width] = cover.triangle
    assert np.array_equal(whole, expected)


def test_interpolation_is_perspective_correct() -> None:
    corners_m = np.array([[[-1.0, -1, 1], [3, -1, 3], [-1, 1, 1]]])
    pixels = corners_m[..., :2] / corners_m[..., 2:] * 50 + 60
    cover = rasterise(pixels, corners_m[..., 2], (200, 200))
    rows, columns = np.nonzero(cover.triangle == 0)
    points = np.einsum("nk,kc->nc", cover.weights[rows, columns], corners_m[0])
    seen = points[:, :2] / points[:, 2:] * 50 + 60
    np.testing.assert_allclose(seen[:, 0], columns + cover.left + 0.5, atol=1e-3)
    np.testing.assert_allclose(seen[:, 1], rows + cover.top + 0.5, atol=1e-3)


def test_nothing_is_drawn_for_geometry_outside_the_picture() -> None:
    assert rasterise(np.full((2, 3, 2), -50.0), np.ones((2, 3)), (20, 20)) is None


def tetrahedra() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two tetrahedra side by side half a metre away, their faces (normals out), and a camera."""
    shape = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.05
    faces = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]], np.int32)
    vertices = np.stack([shape, shape]) + np.array([[[-0.1, 0, 0.5]], [[0.1, 0, 0.5]]])
    return vertices, np.stack([faces, faces]), np.array([[100.0, 0, 64], [0, 100, 32], [0, 0, 1]])


def test_normals_point_outwards() -> None:
    vertices, faces, _ = tetrahedra()
    outwards = vertices[0] - vertices[0].mean(0)
    assert ((vertex_normals(vertices[0], faces[0]) * outwards).sum(-1) > 0).all()


def test_each_hand_is_drawn_in_its_colour_and_place() -> None:
    vertices, faces, K = tetrahedra()
    drawn = draw_hands(np.zeros((64, 128, 3), np.uint8), vertices, faces, K, np.ones(2, np.float32)).astype(
        int
    )
    left, right = drawn[32, 44], drawn[32, 84]
    assert left[2] > left[0] + 40
    assert right[0] > right[2] + 40
    assert drawn[32, 64].sum() == 0


def test_absent_hands_are_not_drawn_and_unsure_ones_are_fainter() -> None:
    vertices, faces, K = tetrahedra()
    vertices[1] = np.nan
    plate = np.zeros((64, 128, 3), np.uint8)
    sure = draw_hands(plate, vertices, faces, K, np.array([1, 0], np.float32))
    unsure = draw_hands(plate, vertices, faces, K, np.array([0.1, 0], np.float32))
    assert sure[:, 64:].sum() == 0
    assert unsure[32, 44].sum() < 0.7 * sure[32, 44].sum()
    assert plate.sum() == 0


def stills(times_s: list[float], take: Take) -> Footage:
    """Footage of a take's size, made up: white pictures, the second one missing."""
    width, height = (int(side) for side in take.size_px)
    info = FootageInfo("made up", "movie", (width, height), 25.0, range(len(times_s)), 1.0, "")
    white = np.full((height, width, 3), 255, np.uint8)
    return Footage(
        info,
        lambda _: (Frame(n, t, None if n == 1 else white) for n, t in enumerate(times_s)),
        lambda number: times_s[number],
    )


def test_the_preview_has_the_footages_times(tmp_path: Path) -> None:
    times_s = [0.0, 0.04, 0.05, 0.2, 0.21, 0.9]
    take = dataclasses.replace(sample_take(6), time_s=np.array(times_s))
    write_preview(take, stills(times_s, take), tmp_path / "p.mp4")
    with av.open(str(tmp_path / "p.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx(times_s, abs=1e-4)
    assert open_footage(tmp_path / "p.mp4").info.size_px == (640, 360)


def test_a_missing_picture_is_grey_with_the_hands_drawn() -> None:
    take = sample_take(3, np.zeros((3, 2), np.uint8))
    drawn = draw_frame(take, 1, None)
    assert drawn.shape == (360, 640, 3)
    assert (drawn[150, 300] == drawn[200, 400]).all()


def test_pictures_of_odd_size_are_cropped_to_even_size(tmp_path: Path) -> None:
    take = dataclasses.replace(sample_take(3), size_px=np.array([101, 75]))
    write_preview(take, stills([0.0, 0.04, 0.08], take), tmp_path / "p.mp4")
    assert open_footage(tmp_path / "p.mp4").info.size_px == (100, 74)


def test_footage_of_another_shot_is_refused(tmp_path: Path) -> None:
    take = sample_take(5)
    with pytest.raises(FootageError, match="frames"):
        write_preview(take, stills([0.0, 0.04], take), tmp_path / "p.mp4")
    other = dataclasses.replace(take, size_px=np.array([800, 600]))
    with pytest.raises(FootageError, match="800x600"):
        write_preview(other, stills([0.0, 0.04], take), tmp_path / "p.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_preview_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    take = sample_take(2)
    with pytest.raises(RequestError, match="no folder"):
        write_preview(take, stills([0.0, 0.04], take), tmp_path / "nowhere" / "p.mp4")
    with pytest.raises(RequestError, match=r"\.mp4"):
        write_preview(take, stills([0.0, 0.04], take), tmp_path / "p.png")
    with pytest.raises(RequestError, match="not a valid file name"):
        write_preview(take, stills([0.0, 0.04], take), tmp_path / f"{'p' * 300}.mp4")
    assert list(tmp_path.iterdir()) == []
