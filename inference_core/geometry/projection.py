# SPDX-License-Identifier: GPL-3.0-or-later
"""Projection of camera points to the picture and back, through a pinhole.

Camera axes x right, y down, z forward; pixel centres at +0.5.
"""

from inference_core.geometry.array_api import Array, array_namespace

_NEAREST_M = 1e-3


def project_pinhole(points_cam_m: Array, K: Array) -> Array:
    """Pixels (..., N, 2) of points (..., N, 3) through K (3, 3) or (..., 3, 3).

    Depths below 1 mm count as 1 mm, so that a solver's poor estimate stays finite and keeps its gradient in x and y.
    """
    xp = array_namespace(points_cam_m)
    depth_m = points_cam_m[..., 2:].clip(min=_NEAREST_M)
    turned = (points_cam_m[..., :2] / depth_m) @ xp.matrix_transpose(K[..., :2, :2])
    return turned + K[..., None, :2, 2]


def pixel_rays(points_px: Array, K: Array) -> Array:
    """Directions (..., N, 3) with z = 1 through pixels (..., N, 2)."""
    xp = array_namespace(points_px)
    centred = points_px - K[..., None, :2, 2]
    xy = xp.matrix_transpose(xp.linalg.solve(K[..., :2, :2], xp.matrix_transpose(centred)))
    return xp.concat([xy, xp.ones_like(xy[..., :1])], axis=-1)
