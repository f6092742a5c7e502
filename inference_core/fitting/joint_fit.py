# SPDX-License-Identifier: GPL-3.0-or-later
"""All hand frames of a window together: damped Gauss-Newton, with one banded Cholesky factorisation per step.

The temporal prior's sigmas (temporal.sigmas) depend on the motion itself and are updated in every step. They converge
more slowly than everything else, so each step extrapolates their last change.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from inference_core.fitting.capsules import Capsules
from inference_core.fitting.contact import Contact
from inference_core.fitting.interaction import (
    DepthTies,
    Draws,
    HandPairs,
    HardSkin,
    PairEquations,
    depth_ties,
    draws,
    hand_pairs,
    pair_cost,
    pair_equations,
)
from inference_core.fitting.observations import Observations
from inference_core.fitting.parameterisation import HandState, PosedPoints, pose_points
from inference_core.fitting.residuals import JOINTS, NormalEquations, frame_cost, frame_normal
from inference_core.fitting.single_frame import ShotShape, limited
from inference_core.fitting.temporal import Banded, sigmas, solve_banded, temporal_normal

_STEPS = 20
# The damping is a share of each hand frame's diagonal. It increases for a frame that oscillates, for example
# across a finger's limit, and for all after a step that did not help.
_FIRST_DAMPING, _LEAST_DAMPING, _DAMPED_LESS, _IF_BACK, _IF_REFUSED = 1e-3, 1e-4, 0.3, 4.0, 10.0
# Damping of a hand frame that is held.
_HELD = 1e9
# Done when this share of the hand frames move by less than this in a step; the remaining
# change is about as much again.
_SETTLED_SHARE, _SETTLED_M = 0.9, 2e-4
# How far to extrapolate the last change of the sigmas' logarithms, and the largest change.
_AHEAD, _LARGEST_CHANGE = 0.5, 0.7


def fit_shot(
    shape: ShotShape,
    seen: Observations,
    state: HandState,
    capsules: Capsules | None,
    contact: Contact | None,
    smooth: float,
    skin: HardSkin | None = None,
    held: Tensor | None = None,
    steps: int = _STEPS,
) -> HandState:
    """All hand frames solved together from the given states.

    skin: places that may not intersect further. held (N,) bool: hand frames that stay as they are.
    """
    moves = torch.ones(len(seen)).bool() if held is None else ~held
    problem = _Problem(shape, seen, capsules, contact, _strength(seen, smooth), skin)
    hands, sigma = problem.posed(state), sigmas(seen, state, shape.parameterisation)
    equations, damping = problem.equations(hands, sigma), torch.full((len(seen),), _FIRST_DAMPING).double()
    before = torch.zeros_like(sigma)
    for _ in range(steps):
        step = limited(solve_banded(seen, *equations.terms, torch.where(moves, damping, _HELD)))
        trial = problem.posed(hands.posed.state.moved(step, shape.parameterisation))
        if problem.cost(trial, equations) > equations.cost:
            damping = damping * _IF_REFUSED
            continue
        moved_m = (trial.posed.points_m - hands.posed.points_m)[:, JOINTS].norm(dim=-1).mean(-1)
        if moved_m[moves].quantile(_SETTLED_SHARE) < _SETTLED_M:
            return trial.posed.state
        back = (step * before).sum(-1) < 0
        damping = (damping * torch.where(back, _IF_BACK, _DAMPED_LESS)).clamp(min=_LEAST_DAMPING)
        hands, before, last = trial, step, sigma
        sigma = sigmas(seen, hands.posed.state, shape.parameterisation)
        change = (sigma / last).log().clamp(-_LARGEST_CHANGE, _LARGEST_CHANGE)
        equations = problem.equations(hands, sigma * (_AHEAD * change).exp())
    return hands.posed.state


@dataclass(frozen=True)
class _Equations:
    """All terms at one state, for sigma (N, D) and the parts pulled together there; cost () of all."""

    frames: NormalEquations
    temporal: Banded
    pairs: PairEquations
    ties: DepthTies
    sigma: Tensor
    drawn: Draws | None

    @property
    def terms(self) -> tuple[NormalEquations, Banded, PairEquations, DepthTies]:
        return self.frames, self.temporal, self.pairs, self.ties

    @property
    def cost(self) -> Tensor:
        return self.frames.cost.sum() + self.temporal.cost + self.pairs.cost + self.ties.cost


@dataclass(frozen=True)
class _Problem:
    """The data of one window. strength (N,): weight of the smoothness."""

    shape: ShotShape
    seen: Observations
    capsules: Capsules | None
    contact: Contact | None
    strength: Tensor
    skin: HardSkin | None

    def posed(self, state: HandState) -> HandPairs:
        """The hands in a state."""
        posed = pose_points(self.shape.parameterisation, self.seen.side, state)
        return hand_pairs(self.seen, posed, self.capsules, self.contact)

    def equations(self, hands: HandPairs, sigma: Tensor) -> _Equations:
        """All terms at the hands' current poses."""
        drawn = None if self.contact is None else draws(self.contact, hands)
        return _Equations(
            frame_normal(self.shape.parameterisation, self.seen, hands.posed, self.shape.world_scale),
            self._temporal(hands.posed, sigma),
            pair_equations(self.seen, hands, self.capsules, drawn, self.skin),
            self._ties(hands.posed),
            sigma,
            drawn,
        )

    def cost(self, hands: HandPairs, equations: _Equations) -> Tensor:
        """The cost () of the same terms for hands that have moved."""
        return (
            frame_cost(self.seen, hands.posed, self.shape.world_scale).sum()
            + self._temporal(hands.posed, equations.sigma).cost
            + pair_cost(self.seen, hands, equations.drawn, self.skin)
            + self._ties(hands.posed).cost
        )

    def _temporal(self, posed: PosedPoints, sigma: Tensor) -> Banded:
        return temporal_normal(self.seen, posed.state, self.shape.parameterisation, sigma, self.strength)

    def _ties(self, posed: PosedPoints) -> DepthTies:
        return depth_ties(self.seen, posed.state.image_depth[:, 2], self.contact)


def _strength(seen: Observations, smooth: float) -> Tensor:
    """(N,) weight of the smoothness: 1 at 0.5. Frames without landmarks never get less than 1."""
    strength = (smooth / max(1 - smooth, 0.02)) ** 2
    bare = (~seen.seen).to(torch.float64)
    beside = torch.stack([bare, torch.roll(bare, 1), torch.roll(bare, -1)]).amax(0)
    return torch.maximum(torch.full_like(bare, strength), beside)
