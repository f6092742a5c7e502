# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulates single-frame fits: true hands with errors of the size and kind that fits have on rendered clips.

Measured on 407 pairs of hands in twelve captured clips: finger angles are off by 11 degrees where landmarks are
certain (mean score 0.78) and by 23 where they are not (0.3), with common errors within a finger and within a hand;
the wrist's rotation is off by 5 and 20 degrees about each axis; the distance is off by 5 and 15 %. The fit is nearer
to the truth in the picture: part of the error is undone there.
"""

import math

import torch
from torch import Tensor

from inference_core.fitting.contact_network import FittedPairs
from inference_core.geometry.rotations import exp
from training.contact_network.pairs import Pairs, Skeletons

_SURE = 0.80
_FLEXION_DEG, _FLEXION_OF_DOUBT_DEG, _SPREAD = 10.0, 30.0, 0.45
_TURN_DEG, _TURN_OF_DOUBT = 5.0, 2.6
_DEPTH, _DEPTH_OF_DOUBT, _NETWORK_DEPTH = 0.04, 0.20, 1.5
# Shares of the pairs without an estimate of the two-hand network.
_NO_NETWORK = 0.15


def fitted(pairs: Pairs, skeletons: Skeletons, generator: torch.Generator) -> FittedPairs:
    """Simulated fits of the pairs (N of them)."""
    draw = _Draw(generator, len(pairs.root))
    score = (0.62 + 0.13 * (0.6 * draw.normal(1) + 0.8 * draw.normal(2))).clamp(0.25, 0.88)
    doubt = _SURE - score
    true_m = skeletons.joints_m(pairs)
    posed_m = skeletons.joints_m(_posed_wrong(pairs, skeletons, doubt, draw))
    rays = _near_in_picture(posed_m, true_m, doubt, draw)
    sigma = _DEPTH + _DEPTH_OF_DOUBT * doubt
    shared = 0.75 * draw.normal(2) + 0.5 * draw.normal(1)
    own, network = sigma * (shared + 0.6 * draw.normal(2)), sigma * (shared + 0.66 * draw.normal(2))
    depth_m = posed_m[..., 2:] * own.exp()[..., None, None]
    wrists = true_m[:, :, 0, :2] / true_m[:, :, 0, 2:]
    wrists = wrists + draw.normal(2, 2) * (0.006 + 0.03 * doubt.clamp(min=0))[..., None]
    wrists_m = torch.cat([wrists, torch.ones_like(wrists[..., :1])], -1)
    network_depth = (_NETWORK_DEPTH * network + 0.02 * draw.normal(2)).exp()
    wrists_m = wrists_m * (true_m[:, :, 0, 2] * network_depth)[..., None]
    says = (draw.uniform(1) > _NO_NETWORK).float()
    confidence = says * (score + 0.1 * draw.normal(2)).clamp(0.02, 0.9)
    joints_m = torch.cat([rays, torch.ones_like(depth_m)], -1) * depth_m
    offset_m = wrists_m[:, 1] - wrists_m[:, 0]
    return FittedPairs(*(values.numpy() for values in (joints_m, score, offset_m, confidence)))


class _Draw:
    """Random numbers for N pairs."""

    def __init__(self, generator: torch.Generator, count: int) -> None:
        self._generator, self._count = generator, count

    def normal(self, *form: int) -> Tensor:
        return torch.randn(self._count, *form, generator=self._generator)

    def uniform(self, *form: int) -> Tensor:
        return torch.rand(self._count, *form, generator=self._generator)


def _posed_wrong(pairs: Pairs, skeletons: Skeletons, doubt: Tensor, draw: _Draw) -> Pairs:
    """The pairs with errors in fingers and rotations; uncertain ones are drawn towards a relaxed hand."""
    sigma = (_FLEXION_DEG + _FLEXION_OF_DOUBT_DEG * doubt)[..., None] * math.pi / 180
    flexion = 0.6 * draw.normal(2, 1, 1) + 0.6 * draw.normal(2, 5, 1) + 0.55 * draw.normal(2, 5, 3)
    spread = torch.tensor([1.0, 0.1, 0.1]).repeat(5) * _SPREAD * draw.normal(2, 15)
    relaxed = (1.2 * draw.uniform(2) * doubt.clamp(min=0)).clamp(max=0.6)[..., None, None]
    angles_rad = torch.lerp(pairs.angles_rad, skeletons.mean_rad.expand_as(pairs.angles_rad), relaxed)
    off = torch.stack([flexion.flatten(2), spread, torch.zeros_like(spread)], -1) * sigma[..., None]
    turn_rad = _TURN_DEG * torch.exp(_TURN_OF_DOUBT * doubt.clamp(max=0.4)) * math.pi / 180
    root = exp(draw.normal(2, 3) * turn_rad[..., None]) @ pairs.root
    return Pairs(root, angles_rad + off, pairs.wrist_m, pairs.betas, pairs.touching)


def _near_in_picture(posed_m: Tensor, true_m: Tensor, doubt: Tensor, draw: _Draw) -> Tensor:
    """(N, S, 21, 2) the fit's joints in the picture, X / Z and Y / Z."""
    true, posed = (joints_m[..., :2] / joints_m[..., 2:] for joints_m in (true_m, posed_m))
    left_over = (0.15 + 0.43 * draw.uniform(2))[..., None, None]
    shift = draw.normal(2, 1, 2) * (0.003 + 0.02 * doubt.clamp(min=0))[..., None, None]
    return true + left_over * (posed - true) + shift + 0.003 * draw.normal(2, 21, 2)
