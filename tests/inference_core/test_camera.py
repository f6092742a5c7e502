# SPDX-License-Identifier: GPL-3.0-or-later
"""The pinhole camera, for each way of specifying a lens."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_core.geometry.camera import (
    DEFAULT_FOV_DEG,
    camera_from_focal_length,
    camera_from_fov,
    camera_from_intrinsics,
    default_camera,
)
from inference_core.shared.errors import RequestError

sizes = st.tuples(st.integers(32, 8000), st.integers(32, 8000))


@given(sizes, st.floats(1, 175))
def test_field_of_view_survives_conversion_and_back(size_px: tuple[int, int], fov_deg: float) -> None:
    assert camera_from_fov(size_px, fov_deg).fov_deg == pytest.approx(fov_deg, rel=1e-6)


@given(sizes, st.floats(4, 400), st.floats(4, 60))
def test_focal_length_and_field_of_view_give_the_same_camera(
    size_px: tuple[int, int], focal_mm: float, sensor_mm: float
) -> None:
    fov_deg = math.degrees(2 * math.atan(sensor_mm / (2 * focal_mm)))
    if 1 <= fov_deg <= 175:
        lens = camera_from_focal_length(size_px, focal_mm, sensor_mm)
        np.testing.assert_allclose(lens.K, camera_from_fov(size_px, fov_deg).K, rtol=1e-9)


def test_a_ray_at_half_the_field_of_view_hits_the_pictures_edge() -> None:
    K = camera_from_fov((1280, 720), 70).K
    ray = K @ [math.tan(math.radians(35)), 0, 1]
    assert ray[:2] == pytest.approx([1280, 360])


def test_portrait_and_landscape_share_the_focal_length() -> None:
    assert camera_from_fov((720, 1280), 60).K[0, 0] == camera_from_fov((1280, 720), 60).K[0, 0]


def test_the_default_lens_is_reported_as_assumed() -> None:
    camera = default_camera((1920, 1080))
    assert camera.fov_deg == pytest.approx(DEFAULT_FOV_DEG)
    assert "assumed" in camera.source


@pytest.mark.parametrize("fov_deg", [0, -5, 180, math.nan])
def test_an_impossible_field_of_view_is_refused(fov_deg: float) -> None:
    with pytest.raises(RequestError, match="field of view"):
        camera_from_fov((640, 480), fov_deg)


def test_impossible_lenses_are_refused() -> None:
    with pytest.raises(RequestError, match="focal length"):
        camera_from_focal_length((640, 480), 0, 36)
    with pytest.raises(RequestError, match="intrinsics"):
        camera_from_intrinsics((640, 480), np.zeros((3, 3)))
