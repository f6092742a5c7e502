# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a known motion the solution of a fit, so that only what is new in the fit moves it."""

import math
from dataclasses import dataclass, replace

import numpy as np

from inference_core.fitting.arrays import Flags, Floats, Indices
from inference_core.fitting.interaction import DepthTies, PairEquations
from inference_core.fitting.normal_equations import NormalEquations
from inference_core.fitting.parameterisation import DEPTH, IMAGE, ROOT, HandState, PosedPoints
from inference_core.fitting.temporal import Banded

# How far the force reaches: across the picture and in depth as shares of the distance, and in degrees.
_IMAGE_REACH, _DEPTH_REACH, _ROOT_REACH_DEG, _FINGER_REACH_DEG = 0.02, 0.02, 10.0, 15.0
# A hand that gives way to the force by half of that is held back, as strongly as it was pushed.
_HELD = 2.0
# By how much the mean of two hands' logarithmic depths may change.
_TOGETHER = 0.04
# What a correction changes by less than this many standard deviations is as before.
_SAME = 0.01


@dataclass(frozen=True)
class Terms:
    """A fit's terms in one state of N hand frames, of which P pairs are of one frame.

    own (N, D, D), of_pairs (P, 2, D, 2, D): second derivatives of the terms of each hand, and of a frame's two hands.
    inner, motion (N, D): gradients of these, and of the temporal prior.
    """

    own: Floats
    of_pairs: Floats
    inner: Floats
    motion: Floats

    def differ(self, first: Floats, second: Floats) -> Flags:
        """(N,) bool: which of two gradients (N, D) differ."""
        scale = np.maximum(np.sqrt(self.own.diagonal(0, 1, 2)), 1e-9)
        return (np.abs(first - second) > _SAME * scale).any(1)


@dataclass(frozen=True)
class Anchor:
    """Makes a known state of N hand frames, with P pairs, the solution of a fit, but for what is new in it.

    renewed (N,) bool, alike for both hands of a frame: the fit has new terms, and a force (N, D) balances the ones
    before. It fades as a hand moves away, as what it stands for, skins taken apart above all, then holds no longer. And
    it does not push a hand far: what it balances may give way, such as landmarks that count less the farther they are.
    Elsewhere the terms stay as they are about the state: evidence that a take does not fit, or that this fit would read
    in another way, never moves it there. own (N, D, D), of_pairs (P, 2, D, 2, D): second derivatives of terms about the
    state, instead of the fit's or, where these are new, beside them. smooth (N,) bool: what ties frames to each other
    is of the change, not of the motion, which has its own accelerations.
    """

    state: HandState
    renewed: Flags
    smooth: Flags
    force: Floats
    own: Floats
    of_pairs: Floats

    def take(self, rows: Indices, of_pairs: Indices) -> "Anchor":
        """Of the hand frames and pairs of the given indices."""
        return Anchor(
            self.state.take(rows),
            self.renewed[rows],
            self.smooth[rows],
            self.force[rows],
            self.own[rows],
            self.of_pairs[of_pairs],
        )

    def equations(
        self, posed: PosedPoints, frames: NormalEquations, pairs: PairEquations, skins: PairEquations
    ) -> tuple[NormalEquations, PairEquations]:
        """The terms of each hand and of pairs; skins: those that hold everywhere."""
        way = self._way(posed)
        ways = np.stack([way[pairs.left], way[pairs.right]], 1)
        new, both_new = self.renewed[:, None], self.renewed[pairs.left][:, None, None]
        cost, pair_cost = self.cost(posed, frames.cost, pairs.cost, skins.cost, pairs.left, pairs.right)
        own = NormalEquations(
            self.own + np.where(new[..., None], frames.hessian, 0.0),
            _turned(self.own, way) + np.where(new, frames.gradient + self._fading(way)[0], 0.0),
            cost,
        )
        hessian = np.where(both_new[..., None, None], pairs.hessian, skins.hessian)
        gradient = np.where(both_new, pairs.gradient, skins.gradient)
        return own, PairEquations(
            pairs.left,
            pairs.right,
            self.of_pairs + hessian,
            _turned(self.of_pairs, ways) + gradient,
            pair_cost,
        )

    def cost(
        self,
        posed: PosedPoints,
        frames: Floats,
        pairs: Floats,
        skins: Floats,
        left: Indices,
        right: Indices,
    ) -> tuple[Floats, Floats]:
        """(N,) and (P,) what they cost, of the costs of the same terms."""
        way = self._way(posed)
        ways = np.stack([way[left], way[right]], 1)
        own, between = (
            _dot(moved, _turned(terms, moved)) / 2
            for terms, moved in ((self.own, way), (self.of_pairs, ways))
        )
        return (
            own + np.where(self.renewed, frames + self._fading(way)[1], 0.0),
            between + np.where(self.renewed[left], pairs, skins),
        )

    def smoothed(self, posed: PosedPoints, motion: Banded, known: Banded) -> Banded:
        """The temporal prior's terms of the change. motion, known: of the motion, and at the known state."""
        pull = np.where(self.smooth[:, None], -known.gradient, 0.0)
        way = self._way(posed)
        return replace(motion, gradient=motion.gradient + pull, cost=motion.cost + (way * pull).sum(-1))

    def tied(self, ties: DepthTies, known: DepthTies, left: Indices) -> DepthTies:
        """The ties of the change, but where both frames are renewed: corrected hands move together, whatever they did.

        known: at the known state; left (P,): of pairs.
        """
        first, second = left[ties.pair], left[ties.following]
        smooth = self.smooth[first] & self.smooth[second] & ~(self.renewed[first] & self.renewed[second])
        return replace(ties, residual=ties.residual - np.where(smooth, known.residual, 0.0))

    def _way(self, posed: PosedPoints) -> Floats:
        """(N, D) from the known state."""
        return posed.state.since(self.state, posed.parameterisation)

    def _fading(self, way: Floats) -> tuple[Floats, Floats]:
        """The fading force's gradient (N, D) and cost (N,) at the end of a way (N, D)."""
        reach = np.full(way.shape[1:], math.radians(_FINGER_REACH_DEG))
        reach[IMAGE], reach[DEPTH], reach[ROOT] = _IMAGE_REACH, _DEPTH_REACH, math.radians(_ROOT_REACH_DEG)
        way = np.tanh(way / reach)
        along = np.maximum(-way * np.sign(self.force), 0)
        gradient = self.force * (1 - way**2) * (1 - _HELD * along)
        cost = self.force * way + _HELD / 2 * np.abs(self.force) * along**2
        return gradient, (reach * cost).sum(-1)


def together(count: int, size: int) -> Floats:
    """(count, 2, D, 2, D) second derivatives of what keeps the depth that the hands of a pair have in common: evidence
    hardly tells it, and corrections do not concern it.
    """
    terms = np.zeros((count, 2, size, 2, size))
    terms[:, :, DEPTH, :, DEPTH] = 1 / (2 * _TOGETHER) ** 2
    return terms


def _turned(terms: Floats, way: Floats) -> Floats:
    """The gradient, like `way` (n, ...), of terms whose second derivatives are (n, ..., ...)."""
    size = math.prod(way.shape[1:])
    return (terms.reshape(-1, size, size) @ way.reshape(-1, size, 1)).reshape(way.shape)


def _dot(first: Floats, second: Floats) -> Floats:
    """(n,) products of vectors (n, ...)."""
    return (first * second).sum(tuple(range(1, first.ndim)))
