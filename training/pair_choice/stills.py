# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendered stills of touching hands, of one hand of such a pair, and of none, for the choice of both hands."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from training.synthetic.background import cut_backgrounds
from training.synthetic.generate import load_kit
from training.synthetic.lens import draw_lens
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.touching.pairs import touching_pairs
from training.synthetic.touching.stills import HEIGHT_PX, WIDTH_PX, Still, camera_with, extent_m, rendered
from training.synthetic.touching.ways import WAYS, weights_of
from training.synthetic.two_hands import draw_betas

_STILLS_AT_ONCE = 4
_SETTINGS = Settings(motion_blur=0.35)
# How much farther hands move during the exposure than in the pictures of 256 pixels that the settings are made for.
_FARTHER = WIDTH_PX / 256
# Pictures of both hands, of the left one, of the right one, and of none.
_SHOWN = (0.62, 0.14, 0.14, 0.10)
# Pictures in which hands may lie across the border, by up to this share of their extent.
_CUT_OFF, _BEYOND = 0.3, 0.3
# Ways in which the hands hide each other, and how many of the pictures show one of them; the others show any way.
_HIDDEN, _HIDING = (
    (
        "hand in palm",
        "fist wrapped",
        "fingers laced",
        "back laced",
        "palms rubbed",
        "fist in palm",
        "clasp",
        "prayer",
    ),
    0.65,
)
_FOV_DEG, _FILL, _NEAREST_M = (38.0, 75.0), (0.3, 0.95), 0.12
# Even backgrounds: how many, and how bright.
_EVEN, _DARK = 0.3, (0.01, 0.25)


def stills(seed: int, start: int, count: int) -> Iterator[Still]:
    """Numbers start .. start + count - 1 of the stream `seed`, the same ones in every run."""
    for number in range(start, start + count, _STILLS_AT_ONCE):
        numbers = torch.arange(number, min(number + _STILLS_AT_ONCE, start + count))
        with torch.no_grad():
            yield from _drawn(Randomness(seed, numbers))


def _drawn(random: Randomness) -> Iterator[Still]:
    kit, betas = load_kit(torch.device("cpu")), draw_betas(random)
    pair = touching_pairs(random, kit.model, kit.spheres, betas, _drawn_ways(random))
    number = random.choice("shown", _SHOWN)
    shown = torch.stack([(number == 0) | (number == 1), (number == 0) | (number == 2)], 1)
    K = camera_with(random.uniform("fov", low=_FOV_DEG[0], high=_FOV_DEG[1]))
    low_m, high_m = extent_m(kit, pair, betas, shown | ~shown.any(1, keepdim=True))
    shift_m = _shift_m(random, low_m, high_m, K[:, 0, 0])
    lens = draw_lens(random, _SETTINGS)
    lens = replace(lens, motion_px=_FARTHER * lens.motion_px)
    return rendered(random, kit, pair, betas, shift_m, shown, K, lens, _backgrounds(random), _SETTINGS)


def _drawn_ways(random: Randomness) -> Tensor:
    """(B,) numbers in WAYS."""
    names = [way.name for way in WAYS]
    hidden = torch.tensor([names.index(name) for name in _HIDDEN])
    hiding = hidden[random.integers("hiding way", len(hidden))]
    return torch.where(random.chance("hides", _HIDING), hiding, random.choice("any way", weights_of(())))


def _shift_m(random: Randomness, low_m: Tensor, high_m: Tensor, focal_px: Tensor) -> Tensor:
    """(B, 3) by which hands are moved in front of the camera, anywhere in the picture; low_m, high_m (B, 3): theirs."""
    fill = random.uniform("fill", low=_FILL[0], high=_FILL[1])
    depth_m = (focal_px * (high_m - low_m)[:, :2].amax(1) / (fill * HEIGHT_PX)).clamp(min=_NEAREST_M)
    extent_px = fill[:, None] * HEIGHT_PX
    beyond = torch.where(random.chance("cut off", _CUT_OFF), _BEYOND, -0.9)
    free_px = torch.tensor([WIDTH_PX, HEIGHT_PX]) + beyond[:, None] * extent_px
    aside = random.uniform("aside", 2, low=-0.5, high=0.5) * free_px.clamp(min=0)
    middle_m = torch.cat([aside * depth_m[:, None] / focal_px[:, None], depth_m[:, None]], 1)
    return middle_m - (low_m + high_m) / 2


def _backgrounds(random: Randomness) -> Tensor:
    """(B, 3, H, W) display values 0..1."""
    size_px = (WIDTH_PX, HEIGHT_PX)
    varied = cut_backgrounds(random, _SETTINGS, torch.device("cpu"), size_px)
    dark = random.uniform("even background", 3, 1, 1, low=_DARK[0], high=_DARK[1]).expand_as(varied)
    return torch.where(random.chance("even", _EVEN)[:, None, None, None], dark, varied)
