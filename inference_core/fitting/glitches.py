# SPDX-License-Identifier: GPL-3.0-or-later
"""Single frames in which the landmarks lay on something else than the hand."""

from dataclasses import replace

import torch
from torch import Tensor

from inference_core.fitting.observations import Observations
from inference_core.fitting.parameterisation import IMAGE, HandParameterisation, HandState
from inference_core.fitting.temporal import accelerations

# A hand that jumps away and back within one frame accelerates by a, -2a, a. So does no waving hand: its
# accelerations about a turning point all point the same way.
_JUMP_SHARE = 0.6
_SMALLEST_JUMP = 0.03  # of the distance, in the picture's plane: 18 mm at 0.6 m
_TRUST = 0.02


def glitches(parameterisation: HandParameterisation, seen: Observations, state: HandState) -> Tensor:
    """(N,) bool: hand frames whose own solved `state` jumps away from both its neighbours' and back."""
    second = accelerations(seen, state, parameterisation)[:, IMAGE]
    around = torch.roll(second, 1, 0) + torch.roll(second, -1, 0)
    own = second.square().sum(-1)
    back = -(around * second).sum(-1) / own.clamp(min=1e-12)
    return (back > _JUMP_SHARE) & (own.sqrt() / 2 > _SMALLEST_JUMP)


def distrusted(seen: Observations, jumped: Tensor) -> Observations:
    """The observations, the landmarks of the hand frames that jumped (N,) next to nothing worth."""
    return replace(seen, score=torch.where(jumped[:, None], _TRUST * seen.score, seen.score))
