# SPDX-License-Identifier: GPL-3.0-or-later
"""Projection of camera points to the picture and back, through a pinhole.

Camera axes x right, y down, z forward; pixel centres at +0.5.
"""

import torch
from torch import Tensor

_NEAREST_M = 1e-3


def project_pinhole(points_cam_m: Tensor, K: Tensor) -> Tensor:
    """Pixels (..., N, 2) of points (..., N, 3) through K (3, 3) or (..., 3, 3).

    Depths below 1 mm count as 1 mm, so that a solver's poor estimate stays finite and keeps its gradient in x and y.
    """
    depth_m = points_cam_m[..., 2:].clamp(min=_NEAREST_M)
    return (points_cam_m[..., :2] / depth_m) @ K[..., :2, :2].mT + K[..., None, :2, 2]


def pixel_rays(points_px: Tensor, K: Tensor) -> Tensor:
    """Directions (..., N, 3) with z = 1 through pixels (..., N, 2)."""
    centred = points_px - K[..., None, :2, 2]
    xy = torch.linalg.solve(K[..., :2, :2], centred.mT).mT
    return torch.cat([xy, torch.ones_like(xy[..., :1])], -1)
