# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera: the hands' distance, their place in a larger picture, and the square cut from it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.touching.body import OWN_EYES

_NEAREST_M = 0.13


@dataclass(frozen=True)
class View:
    """K (B, 3, 3) of the crop in its pixels; shift_m (B, 3), to be added to every point of the scene."""

    K: Tensor
    shift_m: Tensor


def choose_view(
    random: Randomness, hands_m: Tensor, present: Tensor, view: Tensor, settings: Settings
) -> View:
    """A view of hands (B, S, V, 3) given relative to the pair's own origin; present (B, S); view (B,): whose.

    Own eyes and head-mounted cameras are nearer than others: at 20 to 45 cm, hands that come close look large. The
    crop is a square around the present hands with approximately the predictor's margin. In pictures without hands it
    is around a place where they could be.
    """
    device = hands_m.device
    shown = (present | ~present.any(1, keepdim=True)).to(device)
    far = torch.where(shown[..., None, None], hands_m, torch.inf)
    middle = (far.amin((1, 2)) + torch.where(shown[..., None, None], hands_m, -torch.inf).amax((1, 2))) / 2
    # Log-normal around arm's length. The predictor's crops are taken by a camera rotated to their middle.
    depth_m = (torch.exp(random.normal("depth", std=0.38)) * 0.52).clamp(0.24, 1.6).to(device)
    close_m = random.uniform("own depth", low=0.2, high=0.45).to(device)
    depth_m = torch.where((view == OWN_EYES).to(device), close_m, depth_m)
    depth_m = torch.maximum(depth_m, _NEAREST_M + middle[:, 2] - far[..., 2].amin((1, 2)))
    tangent = random.uniform("place in picture", 2, low=-1, high=1) * settings.off_axis
    tangent = tangent * random.uniform("place spread", 1)
    centre_m = torch.cat([tangent.to(device) * depth_m[:, None], depth_m[:, None]], 1)
    shift_m = centre_m - middle
    return View(_crop(random, hands_m + shift_m[:, None, None], shown, settings), shift_m)


def pinhole(focal_px: Tensor, centre_px: Tensor) -> Tensor:
    """K (..., 3, 3) with square pixels of focal length (...,) and principal point (..., 2)."""
    K = torch.zeros(*focal_px.shape, 3, 3, device=focal_px.device)
    K[..., 0, 0] = K[..., 1, 1] = focal_px
    K[..., :2, 2] = centre_px
    K[..., 2, 2] = 1
    return K


def screen_points(points_m: Tensor, K: Tensor) -> Tensor:
    """(B, V, 3) pixel x, pixel y and inverse depth of points (B, V, 3); inverse depth 0 behind the camera."""
    z = points_m[..., 2:]
    seen = z > 0.02
    inverse = torch.where(seen, 1 / z.clamp(min=0.02), 0)
    xy = points_m[..., :2] * inverse * K[:, None, (0, 1), (0, 1)] + K[:, None, :2, 2]
    return torch.cat([xy, inverse], -1)


def _crop(random: Randomness, hands_m: Tensor, shown: Tensor, settings: Settings) -> Tensor:
    flat = hands_m[..., :2] / hands_m[..., 2:]
    low = torch.where(shown[..., None, None], flat, torch.inf).amin((1, 2))
    high = torch.where(shown[..., None, None], flat, -torch.inf).amax((1, 2))
    fill = random.uniform("crop fill", low=settings.fill[0], high=settings.fill[1]).to(hands_m.device)
    half = (high - low).amax(1) / 2 / fill
    off = random.normal("crop off", 2, std=0.05)
    cut = random.chance("crop truncates", settings.truncated)[:, None]
    off = torch.where(cut, random.uniform("crop far off", 2, low=-0.6, high=0.6), off).to(hands_m.device)
    centre = (low + high) / 2 + off * half[:, None]
    focal_px = settings.size_px / 2 / half
    return pinhole(focal_px, settings.size_px / 2 - centre * focal_px[:, None])
