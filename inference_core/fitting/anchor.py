# SPDX-License-Identifier: GPL-3.0-or-later
"""A force that makes a known motion the solution of a fit, so that only what is new in the fit moves it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from inference_core.fitting.parameterisation import DEPTH, IMAGE, ROOT, HandParameterisation, HandState

# How far the force reaches: across the picture and in depth as shares of the distance, and in degrees.
_IMAGE_REACH, _DEPTH_REACH, _ROOT_REACH_DEG, _FINGER_REACH_DEG = 0.02, 0.02, 10.0, 15.0
# A hand that gives way to the force by half of that is held back, as strongly as it was pushed.
_HELD = 2.0


@dataclass(frozen=True)
class Anchor:
    """Hand frames' known state, and a force (N, D) on their unknowns that makes it a solution.

    The force fades as a hand moves away, as what it stands for, skins taken apart above all, then holds no longer. And
    it does not push a hand far: what it balances may give way, such as landmarks that count less the farther they are.
    """

    state: HandState
    force: Tensor

    def take(self, rows: Tensor) -> "Anchor":
        """Of the hand frames of the given indices."""
        return Anchor(self.state.take(rows), self.force[rows])

    def pull(self, state: HandState, parameterisation: HandParameterisation) -> tuple[Tensor, Tensor]:
        """The gradient (N, D) that it adds in a state, and the cost (N,)."""
        reach = torch.full((parameterisation.size,), math.radians(_FINGER_REACH_DEG)).double()
        reach[IMAGE], reach[DEPTH], reach[ROOT] = _IMAGE_REACH, _DEPTH_REACH, math.radians(_ROOT_REACH_DEG)
        way = (state.since(self.state, parameterisation) / reach).tanh()
        along = (-way * self.force.sign()).clamp(min=0)
        gradient = self.force * (1 - way.square()) * (1 - _HELD * along)
        cost = self.force * way + _HELD / 2 * self.force.abs() * along.square()
        return gradient, (reach * cost).sum(-1)
