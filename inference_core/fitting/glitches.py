# SPDX-License-Identifier: GPL-3.0-or-later
"""Single frames in which the landmarks were on something other than the hand."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from inference_core.fitting.observations import Observations
from inference_core.fitting.parameterisation import DEPTH, IMAGE, ROOT, HandParameterisation, HandState
from inference_core.fitting.temporal import accelerations

# A hand that jumps away and back within one frame accelerates by a, -2a, a. So does no waving hand: its
# accelerations about a turning point all point the same way.
_JUMP_SHARE = 0.6
# The smallest jumps: across the picture and in depth, of the distance (18 and 60 mm at 0.6 m), and of the wrist's
# rotation.
_SMALLEST_IMAGE, _SMALLEST_DEPTH, _SMALLEST_ROTATION_DEG = 0.03, 0.10, 35.0
_TRUST = 0.02


def glitches(parameterisation: HandParameterisation, seen: Observations, state: HandState) -> Tensor:
    """(N,) bool: hand frames whose own solved `state` jumps away from both its neighbours' and back."""
    second = accelerations(seen, state, parameterisation)
    smallest = (
        (IMAGE, _SMALLEST_IMAGE),
        (DEPTH, _SMALLEST_DEPTH),
        (ROOT, math.radians(_SMALLEST_ROTATION_DEG)),
    )
    return torch.stack([_jumps(second[:, part], least) for part, least in smallest]).any(0)


def _jumps(second: Tensor, smallest: float) -> Tensor:
    around = torch.roll(second, 1, 0) + torch.roll(second, -1, 0)
    own = second.square().sum(-1)
    back = -(around * second).sum(-1) / own.clamp(min=1e-12)
    return (back > _JUMP_SHARE) & (own.sqrt() / 2 > smallest)


def distrusted(seen: Observations, jumped: Tensor) -> Observations:
    """The observations, with the landmarks of the hand frames that jumped (N,) almost ignored."""
    return replace(seen, score=torch.where(jumped[:, None], _TRUST * seen.score, seen.score))
