# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera of a shot: a pinhole with square pixels, and its pose.

Pixel centres lie at +0.5, so the principal point in the middle of the picture is (width / 2, height / 2).
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import RequestError

# For an unknown lens: across the wider side. Between a phone's or webcam's video (65-70) and a
# 35 mm lens on a cinema sensor (39-54). A wrong guess scales depth: 10 % of focal length is 10 % of distance.
DEFAULT_FOV_DEG = 60.0
# A frame of 35 mm film is 36 mm by 24; equivalents are by the diagonal (CIPA DCG-001). No lens is outside
# these limits.
_FILM_DIAGONAL_MM, _LEAST_35MM, _MOST_35MM = 43.267, 8.0, 1200.0


@dataclass(frozen=True)
class Camera:
    """K (3, 3) or (T, 3, 3) in pixels; size_px width, height; T_world_cam (4, 4) or (T, 4, 4) to the world.

    source: how K was determined, in words; assumed: it is not known. Camera axes: x right, y down, z forward, metres.
    """

    K: NDArray[np.float64]
    size_px: tuple[int, int]
    T_world_cam: NDArray[np.float64]
    source: str = ""
    assumed: bool = False

    @property
    def first_K(self) -> NDArray[np.float64]:
        """K (3, 3) of the first frame."""
        return self.K.reshape(-1, 3, 3)[0]

    @property
    def focal_px(self) -> float:
        """Focal length (of the first frame), pixels."""
        return float(self.first_K[0, 0])

    @property
    def fov_deg(self) -> float:
        """Field of view across the wider side (of the first frame), degrees."""
        K = self.first_K
        side = int(np.argmax(self.size_px))
        return math.degrees(2 * math.atan(self.size_px[side] / (2 * K[side, side])))


def camera_from_fov(size_px: tuple[int, int], fov_deg: float, source: str = "field of view given") -> Camera:
    """The camera whose wider side spans fov_deg (above 0, under 180)."""
    if not 1 <= fov_deg <= 175:
        raise RequestError(
            f"A field of view of {fov_deg} degrees is not possible; give 1 to 175, such as 60."
        )
    focal_px = max(size_px) / (2 * math.tan(math.radians(fov_deg) / 2))
    return camera_from_intrinsics(size_px, _pinhole(size_px, focal_px), source=source)


def camera_from_focal_length(size_px: tuple[int, int], focal_mm: float, sensor_mm: float) -> Camera:
    """The camera with a lens of focal_mm before a sensor whose wider side, as filmed, measures sensor_mm."""
    if not (focal_mm > 0 and sensor_mm > 0):
        raise RequestError(
            f"A focal length of {focal_mm} mm on {sensor_mm} mm is not possible; both exceed 0."
        )
    focal_px = max(size_px) * focal_mm / sensor_mm
    source = f"{focal_mm:g} mm lens on a {sensor_mm:g} mm sensor"
    return camera_from_intrinsics(size_px, _pinhole(size_px, focal_px), source=source)


def camera_from_metadata(size_px: tuple[int, int], focal_35mm: float) -> Camera | None:
    """The camera with the diagonal field of view of a focal_35mm lens on 35 mm film; None if no lens is that long."""
    if not _LEAST_35MM <= focal_35mm <= _MOST_35MM:
        return None
    focal_px = math.hypot(*size_px) * focal_35mm / _FILM_DIAGONAL_MM
    source = f"{focal_35mm:g} mm as on 35 mm film, by the footage's metadata"
    return camera_from_intrinsics(size_px, _pinhole(size_px, focal_px), source=source)


def camera_from_intrinsics(
    size_px: tuple[int, int], K: NDArray[np.float64], source: str = "intrinsics given"
) -> Camera:
    """The camera with the matrix K (3, 3) or (T, 3, 3), at the origin."""
    if K.shape[-2:] != (3, 3) or not np.isfinite(K).all() or (K[..., [0, 1], [0, 1]] <= 0).any():
        raise RequestError("The intrinsics are not a pinhole camera: 3x3, finite, focal lengths above 0.")
    return Camera(np.asarray(K, np.float64), size_px, np.eye(4), source)


def default_camera(size_px: tuple[int, int]) -> Camera:
    """The camera assumed for an unknown lens: DEFAULT_FOV_DEG across the wider side."""
    camera = camera_from_fov(size_px, DEFAULT_FOV_DEG, f"not known: {DEFAULT_FOV_DEG:g} degrees assumed")
    return replace(camera, assumed=True)


def _pinhole(size_px: tuple[int, int], focal_px: float) -> NDArray[np.float64]:
    return np.array([[focal_px, 0, size_px[0] / 2], [0, focal_px, size_px[1] / 2], [0, 0, 1]])
