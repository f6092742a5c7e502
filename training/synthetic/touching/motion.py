# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands that move while they touch: they rub, knead and fold, solved step by step so that contact is kept."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.geometry.rotations import exp, slerp
from inference_core.hand_model.hand import HandModel
from inference_core.shared.skeleton import LEFT, RIGHT
from training.synthetic.poses import within
from training.synthetic.randomness import Randomness
from training.synthetic.spheres import Spheres, sphere_centres
from training.synthetic.touching.pairs import TouchingPairs, touching_pairs
from training.synthetic.touching.solve import (
    Meeting,
    Together,
    bring_together,
    depths_m,
    padded,
    posed_together,
)

_MOMENT_S = 0.1
_STEPS = 5
_SLIDE_M, _TURN_RAD, _BEND_RAD = 0.012, 0.12, 0.10


def touching_motion(
    random: Randomness,
    model: HandModel,
    spheres: Spheres,
    betas: Tensor,
    time_s: Tensor,
    way: Tensor | None = None,
) -> TouchingPairs:
    """A pair of `random` (of one picture) at times (T,), rising from 0: the fields of TouchingPairs, T of each.

    betas (1, S, 10); way (1,). The left hand slides around on the right one, as when rubbing hands, fingers bend and
    stretch a little, and the pair sways in front of the camera.
    """
    first = touching_pairs(random, model, spheres, betas, way)
    moments = max(2, math.ceil(float(time_s[-1]) / _MOMENT_S) + 1)
    moment_s = torch.linspace(0, float(time_s[-1]), moments)
    states, gap_m = _moved(random, model, padded(spheres), betas, first, moment_s)
    place = time_s / moment_s[1]
    number = place.long().clamp(max=moments - 2)
    share = (place - number).to(betas)

    def between(values: Tensor) -> Tensor:
        return torch.lerp(values[number], values[number + 1], share.view(-1, *[1] * (values.dim() - 1)))

    sway = exp(_waves(random, "sway", time_s, 3).to(betas) * 0.15)
    right = sway @ first.turns[:, RIGHT]
    left = right @ slerp(states.turn[number], states.turn[number + 1], share)
    left_m = (right @ between(states.wrist_m)[..., None])[..., 0]
    count = len(time_s)
    return TouchingPairs(
        way=first.way.expand(count),
        view=first.view.expand(count),
        angles_rad=between(states.angles_rad),
        turns=torch.stack([left, right], 1),
        wrist_m=torch.stack([left_m, torch.zeros_like(left_m)], 1),
        bend=first.bend.expand(count, -1, -1, -1),
        gap_m=between(gap_m),
    )


def _moved(
    random: Randomness,
    model: HandModel,
    spheres: Spheres,
    betas: Tensor,
    first: TouchingPairs,
    moment_s: Tensor,
) -> tuple[Together, Tensor]:
    """The pair at K times, each solved from the previous one, in the right hand's frame, and its gaps (K,)."""
    device, shaped = betas.device, model.with_shape(betas)
    frame = first.turns[:, RIGHT].mT
    rest = Together(
        first.angles_rad,
        frame @ first.turns[:, LEFT],
        (frame @ (first.wrist_m[:, LEFT] - first.wrist_m[:, RIGHT])[..., None])[..., 0],
    )
    nothing = torch.zeros(1, 1, 2, dtype=torch.long, device=device)
    no_arms = torch.zeros(1, dtype=torch.bool, device=device)
    free = Meeting(nothing, betas.new_zeros(1, 1), betas.new_zeros(1, 1, 3), no_arms)
    across = _waves(random, "rub", moment_s, 3).to(device) * _SLIDE_M
    normal = _normal(sphere_centres(spheres, posed_together(shaped, rest)), spheres, free)
    across = across - (across @ normal)[:, None] * normal
    turns = exp(_waves(random, "rub turn", moment_s, 3).to(device) * _TURN_RAD)
    bends = _waves(random, "rub bend", moment_s, 30).to(device).unflatten(1, (2, 15)) * _BEND_RAD
    state, states, gaps_m = rest, [], []
    for slide_m, turn, bend in zip(across, turns, bends, strict=True):
        angles = rest.angles_rad + F.pad(bend[..., None], (0, 2))
        wanted = Together(within(angles, model.joint_limits_rad), turn @ rest.turn, rest.wrist_m + slide_m)
        state = bring_together(shaped, spheres, spheres, wanted, state, free, _STEPS)
        states.append(state)
        depth_m = depths_m(sphere_centres(spheres, posed_together(shaped, state)), spheres, free.arms)
        gaps_m.append(-depth_m.amax())
    together = {name: torch.cat([getattr(state, name) for state in states]) for name in vars(rest)}
    return Together(**together), torch.stack(gaps_m)


def _normal(centres_m: Tensor, spheres: Spheres, free: Meeting) -> Tensor:
    """(3,) direction from the right hand to the left one where they touch."""
    number = int(depths_m(centres_m, spheres, free.arms).argmax())
    left, right = number // len(spheres.bone), number % len(spheres.bone)
    return F.normalize(centres_m[0, LEFT, left] - centres_m[0, RIGHT, right], dim=0)


def _waves(random: Randomness, name: str, time_s: Tensor, count: int) -> Tensor:
    """(T, count) smooth curves about 0 of size 1, each with its own frequency, half to one and a half per second."""
    rate = 2 * math.pi * random.uniform(f"{name} rate", count, low=0.5, high=1.5)
    start = 2 * math.pi * random.uniform(f"{name} start", count)
    size = random.uniform(f"{name} size", count, low=0.3)
    return size * torch.sin(time_s[:, None] * rate + start)
