# SPDX-License-Identifier: GPL-3.0-or-later
"""Camera points to the picture and back: a real pinhole, and the weak perspective that crop networks speak.

Camera axes x right, y down, z forward; pixel centres at +0.5.
"""

import torch
from torch import Tensor

_NEAREST_M = 1e-3


def project_pinhole(points_cam_m: Tensor, K: Tensor) -> Tensor:
    """Pixels (..., N, 2) of points (..., N, 3) through K (3, 3) or (..., 3, 3).

    Depths under 1 mm are taken as 1 mm: a solver's wild guess stays finite and keeps its gradient in x and y.
    """
    depth_m = points_cam_m[..., 2:].clamp(min=_NEAREST_M)
    return (points_cam_m[..., :2] / depth_m) @ K[..., :2, :2].mT + K[..., None, :2, 2]


def pixel_rays(points_px: Tensor, K: Tensor) -> Tensor:
    """Directions (..., N, 3) with z = 1 through pixels (..., N, 2)."""
    centred = points_px - K[..., None, :2, 2]
    xy = torch.linalg.solve(K[..., :2, :2], centred.mT).mT
    return torch.cat([xy, torch.ones_like(xy[..., :1])], -1)


def unproject_pinhole(points_px: Tensor, depth_m: Tensor, K: Tensor) -> Tensor:
    """Camera points (..., N, 3), metres, at depths (..., N) behind pixels (..., N, 2)."""
    return pixel_rays(points_px, K) * depth_m[..., None]


def project_weak(points_m: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """uv (..., N, 2) in -1..1 over the crop: scale (...,) times x and y, plus shift (..., 2)."""
    return scale[..., None, None] * points_m[..., :2] + shift[..., None, :]


def weak_to_translation(scale: Tensor, shift: Tensor, crop_px: Tensor, K: Tensor) -> Tensor:
    """Camera translation (..., 3), metres, that puts a hand where a weak-perspective estimate saw it.

    scale (...,) and shift (..., 2) are project_weak's over the square crop (..., 3): centre x, centre y, side, in
    pixels of the picture of K. Exact for the hand's origin; the depth is the one at which its size agrees.
    """
    half_px = crop_px[..., 2] / 2
    focal_px = (K[..., 0, 0] + K[..., 1, 1]) / 2
    depth_m = focal_px / (scale * half_px)
    centre_px = crop_px[..., :2] + shift * half_px[..., None]
    return unproject_pinhole(centre_px[..., None, :], depth_m[..., None], K)[..., 0, :]
