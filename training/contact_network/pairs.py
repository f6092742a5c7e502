# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs of hands for the contact network: drawn by the generator and posed in front of a camera, without pictures."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from inference_core.fitting.capsules import Capsules, fit_capsules, nearest_points
from inference_core.fitting.parameterisation import make_parameterisation
from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import HandModel
from inference_core.shared.skeleton import DRIVER_16_OF_21, JOINTS_21_FROM_16_AND_TIPS
from training.synthetic.generate import load_kit
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.two_hands import draw_two_hands

# The share of touching pairs that are separated along the ray: they look the same but do not touch.
_PARTED, _PARTED_LOG_DEPTH = 0.22, (0.03, 0.35)
_SETTINGS = replace(Settings(), touching=0.7, held_thing=0.0)
_AT_ONCE = 128


@dataclass(frozen=True)
class Pairs:
    """N pairs: root (N, S, 3, 3), angles_rad (N, S, 15, 3), wrist_m (N, S, 3), betas (N, S, 10), touching (N,) bool."""

    root: Tensor
    angles_rad: Tensor
    wrist_m: Tensor
    betas: Tensor
    touching: Tensor

    def take(self, chosen: Tensor) -> "Pairs":
        """Those of the given numbers."""
        return Pairs(**{name: value[chosen] for name, value in vars(self).items()})


@dataclass(frozen=True)
class Skeletons:
    """What is needed to compute joints and capsules of hands of any shape: a model of tensors, float32;
    mean_rad (S, 15, 3), the relaxed pose; capsules of arrays.
    """

    model: HandModel
    mean_rad: Tensor
    capsules: Capsules

    @staticmethod
    def of(model: HandModel) -> "Skeletons":
        """The skeletons of a hand model; the capsules are the mean shape's."""
        mean = make_parameterisation(model, np.zeros((2, 10)))
        return Skeletons(model.tensors(), torch.from_numpy(mean.mean_rad).float(), fit_capsules(model, mean))

    def joints_m(self, pairs: Pairs) -> Tensor:
        """(N, S, 21, 3) joints as in the shot solve: a fingertip moves rigidly with its last bone."""
        rotations = torch.cat([pairs.root[:, :, None], self.model.rotations_from_angles(pairs.angles_rad)], 2)
        shaped = self.model.with_shape(pairs.betas)
        posed = shaped.with_pose(rotations, pairs.wrist_m)
        rest_m = torch.cat([shaped.rest_joints_m, shaped.rest_tips_m], 2)[:, :, JOINTS_21_FROM_16_AND_TIPS]
        beyond_m = rest_m - shaped.rest_joints_m[:, :, DRIVER_16_OF_21]
        turned_m = posed.global_rotations[:, :, DRIVER_16_OF_21] @ beyond_m[..., None]
        return posed.joints16_m[:, :, DRIVER_16_OF_21] + turned_m[..., 0]

    def gaps_m(self, joints_m: Tensor) -> Tensor:
        """(N, C, C) distances between the capsules of the left and the right hand."""
        left_m, right_m = (self.capsules.ends_m(joints_m[:, side].double().numpy()) for side in (0, 1))
        return torch.from_numpy(nearest_points(left_m, right_m, self.capsules).gap_m).float()


def draw_pairs(seed: int, count: int) -> Pairs:
    """At least `count` of the generator's pairs, without pictures; 7 ms each."""
    kit, parts = load_kit(torch.device("cpu")), []
    with torch.no_grad():
        for first in range(0, count, _AT_ONCE):
            random = Randomness(seed, torch.arange(first, first + _AT_ONCE))
            there = torch.ones(_AT_ONCE, 2, dtype=torch.bool)
            hands = draw_two_hands(random, kit.model, kit.spheres, there, _SETTINGS, torch.device("cpu"))
            angles_rad = kit.model.angles_from_rotations(hands.rotations[:, :, 1:])
            parts.append(
                Pairs(hands.rotations[:, :, 0], angles_rad, hands.wrist_m, hands.shaped.betas, hands.way >= 0)
            )
    return Pairs(**{name: torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def before_a_camera(pairs: Pairs, generator: torch.Generator) -> Pairs:
    """The pairs rotated slightly, at 0.25 to 1 m; some touching ones are separated along the ray."""
    count = len(pairs.root)

    def normal(*form: int) -> Tensor:
        return torch.randn(count, *form, generator=generator)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    turn = exp(torch.cat([0.15 * normal(2), 0.5 * normal(1)], 1))[:, None]
    wrist_m = (turn @ pairs.wrist_m[..., None])[..., 0]
    depth_m = uniform(math.log(0.25), 0.0).exp()
    at_m = torch.cat([0.2 * normal(2), torch.ones(count, 1)], 1) * depth_m[:, None]
    wrist_m = wrist_m - wrist_m.mean(1, keepdim=True) + at_m[:, None]
    parted = (uniform(0, 1) < _PARTED) & pairs.touching
    way = torch.where(parted, uniform(*_PARTED_LOG_DEPTH) * normal(1)[:, 0].sign(), 0.0).exp()
    wrist_m = torch.stack([wrist_m[:, 0] * way[:, None], wrist_m[:, 1]], 1)
    return replace(pairs, root=turn @ pairs.root, wrist_m=wrist_m)
