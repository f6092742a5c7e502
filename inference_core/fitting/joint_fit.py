# SPDX-License-Identifier: GPL-3.0-or-later
"""All hand frames of a shot together: damped Gauss-Newton, with one banded Cholesky factorisation per step and window.

Each step is taken for the whole shot before the next, and what is decided from it (whether it helped, whether the fit
has converged) is decided for the whole shot.

The temporal prior's sigmas (temporal.sigmas) depend on the motion itself and are updated in every step. They converge
more slowly than everything else, so each step extrapolates their last change.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.anchor import Anchor, Terms
from inference_core.fitting.arrays import Flags, Floats, Indices, lengths
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
    skin_cost,
    skin_equations,
)
from inference_core.fitting.normal_equations import NormalEquations
from inference_core.fitting.observations import Observations, pairs
from inference_core.fitting.parameterisation import (
    JOINTS,
    HandParameterisation,
    HandState,
    PosedPoints,
    pose_points,
)
from inference_core.fitting.residuals import frame_cost, frame_normal
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.single_frame import ShotShape, limited
from inference_core.fitting.temporal import (
    Banded,
    add_pairs,
    sigmas,
    solve_banded,
    temporal_normal,
)
from inference_core.fitting.windows import Window, gathered, windows_of

# The damping is a share of each hand frame's diagonal. It increases for a frame that oscillates, for example
# across a finger's limit, and for all after a step that did not help.
_DAMPED_LESS, _IF_BACK, _IF_REFUSED = 0.3, 4.0, 10.0
# Damping of a hand frame that is held.
_HELD = 1e9
# How much more the motion holds a hand, per share by which its landmarks are less sure than usual.
_HELD_IN_DOUBT = 4.0
# Done when most hand frames move by less than this in a step; the remaining change is about as much again.
_SETTLED_M = 2e-4
# How far to extrapolate the last change of the sigmas' logarithms, and the largest change.
_AHEAD, _LARGEST_CHANGE = 0.5, 0.7


@dataclass(frozen=True)
class Pace:
    """How fit_shot proceeds: at most so many steps, with a first and a least damping; done when this share of the hand
    frames hardly moves.
    """

    steps: int
    first_damping: float
    least_damping: float
    settled_share: float = 0.9


FROM_AFAR = Pace(20, 1e-3, 1e-4)


def fit_shot(
    shape: ShotShape,
    seen: Observations,
    state: HandState,
    capsules: Capsules | None,
    contact: Contact | None,
    settings: SolveSettings,
    skin: HardSkin | None = None,
    held: Flags | None = None,
    pace: Pace = FROM_AFAR,
    after_step: Callable[[int, int], None] | None = None,
    anchor: Anchor | None = None,
) -> HandState:
    """All hand frames solved together from the given states.

    skin: places that may not intersect further. held (N,) bool: hand frames that stay as they are. after_step is told
    how many of how many steps are done. anchor: adds its force.
    """
    moves = np.ones(len(seen), bool) if held is None else ~held
    if not moves.any():
        return state
    whole = _Problem(shape, seen, capsules, contact, _strength(seen, settings.smooth), skin, anchor)
    windows = windows_of(seen.frame, settings)
    fits = [_WindowFit(whole, window, keeps=len(windows) == 1) for window in windows]
    sigma = ahead = sigmas(seen, state, shape.parameterisation)
    damping, before = np.full(len(seen), pace.first_damping), np.zeros((1, shape.parameterisation.size))
    for number in range(pace.steps):
        tried = _attempt(fits, shape.parameterisation, state, ahead, np.where(moves, damping, _HELD))
        if after_step is not None:
            after_step(number + 1, pace.steps)
        if not tried.helps:
            damping = damping * _IF_REFUSED
            continue
        state = tried.state
        if np.quantile(tried.moved_m[moves], pace.settled_share) < _SETTLED_M:
            break
        back = (tried.step * before).sum(-1) < 0
        damping = np.maximum(damping * np.where(back, _IF_BACK, _DAMPED_LESS), pace.least_damping)
        before, last = tried.step, sigma
        sigma = sigmas(seen, state, shape.parameterisation)
        change = np.clip(np.log(sigma / last), -_LARGEST_CHANGE, _LARGEST_CHANGE)
        ahead = sigma * np.exp(_AHEAD * change)
    return state


def terms_at(
    shape: ShotShape,
    seen: Observations,
    state: HandState,
    capsules: Capsules | None,
    contact: Contact | None,
    settings: SolveSettings,
) -> Terms:
    """The terms of fit_shot at a state."""
    whole = _Problem(shape, seen, capsules, contact, _strength(seen, settings.smooth), None, None)
    sigma, windows = sigmas(seen, state, shape.parameterisation), windows_of(seen.frame, settings)
    found = [_WindowFit(whole, window, keeps=False).terms(state, sigma) for window in windows]
    own, inner, motion = (
        gathered(windows, [getattr(each, name) for each in found]) for name in ("own", "inner", "motion")
    )
    return Terms(own, np.concatenate([each.of_pairs for each in found]), inner, motion)


@dataclass(frozen=True)
class _Attempt:
    """A shot's state after a step (N, D), how far each hand's joints moved on average (N,), and whether it helps."""

    state: HandState
    step: Floats
    moved_m: Floats
    helps: bool


def _attempt(
    fits: "Sequence[_WindowFit]",
    parameterisation: HandParameterisation,
    state: HandState,
    sigma: Floats,
    damping: Floats,
) -> _Attempt:
    """A step of all windows from the shot's state, for sigma (N, G) and damping (N,)."""
    windows, step = [fit.window for fit in fits], np.empty((len(damping), parameterisation.size))
    found = list[_Before]()
    for fit in fits:
        step[fit.window.own_rows], before = fit.step(state, sigma, damping)
        found.append(before)
    moved = state.moved(step, parameterisation)
    tried = [fit.trial(moved, sigma, before) for fit, before in zip(fits, found, strict=True)]
    helps = sum(each.cost for each in tried) <= sum(each.cost for each in found)
    return _Attempt(moved, step, gathered(windows, [each.moved_m for each in tried]), helps)


@dataclass(frozen=True)
class _Before:
    """A window's own hand frames (m) before a step: costs and joints (m, 21, 3); and what is drawn together in it."""

    cost: float
    joints_m: NDArray[np.float32]
    drawn: Draws | None


@dataclass(frozen=True)
class _Trial:
    """What a window's own hand frames cost after a step, and how far their joints moved on average (m,)."""

    cost: float
    moved_m: Floats


class _WindowFit:
    """One window's part of a fit. keeps: what it has computed is kept for the next step, rather than the memory."""

    def __init__(self, whole: "_Problem", window: Window, keeps: bool) -> None:
        self.window = window
        self._whole, self._keeps = whole, keeps
        self._problem: _Problem | None = None
        self._posed: list[tuple[HandState, HandPairs]] = []
        self._equations: tuple[HandState, Floats, _Equations] | None = None

    def step(self, state: HandState, sigma: Floats, damping: Floats) -> tuple[Floats, _Before]:
        """The increments (m, D) from the shot's state, for sigma (N, G) and damping (N,)."""
        problem, rows, own = self._of_window(), self.window.rows, self.window.own
        hands, kept = self._hands(problem, state), self._equations
        if kept is not None and kept[0] is state and kept[1] is sigma:
            equations = kept[2]
        else:
            equations = problem.equations(hands, sigma[rows])
        if self._keeps:
            self._equations = state, sigma, equations
        step = limited(solve_banded(problem.seen, *equations.terms, damping[rows]))
        joints_m = hands.posed.points_m[own, JOINTS].astype(np.float32)
        return step[own], _Before(equations.cost(own), joints_m, equations.drawn)

    def terms(self, state: HandState, sigma: Floats) -> Terms:
        """The terms of the window's own hand frames in the shot's state, for sigma (N, G)."""
        problem = self._of_window()
        found, own = problem.equations(self._hands(problem, state), sigma[self.window.rows]), self.window.own
        of_pairs = found.pairs.hessian[own[found.pairs.left]]
        return Terms(
            found.frames.hessian[own], of_pairs, found.own_gradient[own], found.temporal.gradient[own]
        )

    def trial(self, state: HandState, sigma: Floats, before: _Before) -> _Trial:
        """The shot's state after a step, by the terms for which that was found."""
        problem, own = self._of_window(), self.window.own
        hands = self._hands(problem, state)
        cost = problem.cost(hands, sigma[self.window.rows], before.drawn, own)
        moved_m = lengths(hands.posed.points_m[own, JOINTS] - before.joints_m)
        return _Trial(cost, moved_m.mean(-1))

    def _of_window(self) -> "_Problem":
        problem = self._problem or self._whole.within(self.window)
        if self._keeps:
            self._problem = problem
        return problem

    def _hands(self, problem: "_Problem", state: HandState) -> HandPairs:
        for known, hands in self._posed:
            if known is state:
                return hands
        hands = problem.posed(state.take(self.window.rows))
        if self._keeps:
            self._posed = [(state, hands), *self._posed[:1]]
        return hands


@dataclass(frozen=True)
class _Equations:
    """All terms at one state, and the parts pulled together there."""

    frames: NormalEquations
    temporal: Banded
    pairs: PairEquations
    ties: DepthTies
    drawn: Draws | None

    @property
    def terms(self) -> tuple[NormalEquations, Banded, PairEquations, DepthTies]:
        return self.frames, self.temporal, self.pairs, self.ties

    @property
    def own_gradient(self) -> Floats:
        """(N, D) of the terms of each hand and of pairs."""
        total = self.frames.gradient.copy()
        add_pairs(total, self.pairs)
        return total

    def cost(self, own: Flags) -> float:
        """What the hand frames `own` (N,) cost."""
        return _total(own, self.frames.cost + self.temporal.cost, self.pairs.cost, self.ties, self.pairs.left)


def _total(own: Flags, frames: Floats, pairs: Floats, ties: DepthTies, left: Indices) -> float:
    """The sum of costs of hand frames (N,), pairs (P,) and ties over the hand frames `own` (N,)."""
    of_pairs = own[left]
    return float(frames[own].sum() + pairs[of_pairs].sum() + ties.cost[of_pairs[ties.pair]].sum())


@dataclass(frozen=True)
class _Problem:
    """The data of hand frames that are solved together. strength (N,): weight of the smoothness."""

    shape: ShotShape
    seen: Observations
    capsules: Capsules | None
    contact: Contact | None
    strength: Floats
    skin: HardSkin | None
    anchor: Anchor | None

    def within(self, window: Window) -> "_Problem":
        """The data of a window's hand frames."""
        inside = np.zeros(len(self.seen), bool)
        inside[window.rows] = True
        if inside.all():
            return self
        chosen = np.flatnonzero(inside[pairs(self.seen)[0]])
        return replace(
            self,
            seen=self.seen.of_frames(inside),
            contact=None if self.contact is None else self.contact.take(chosen),
            strength=self.strength[inside],
            skin=None if self.skin is None else self.skin.take(chosen),
            anchor=None if self.anchor is None else self.anchor.take(window.rows, chosen),
        )

    def posed(self, state: HandState) -> HandPairs:
        """The hands in a state."""
        posed = pose_points(self.shape.parameterisation, self.seen.side, state)
        return hand_pairs(self.seen, posed, self.capsules, self.contact)

    def equations(self, hands: HandPairs, sigma: Floats) -> _Equations:
        """All terms at the hands' current poses, for sigma (N, G)."""
        drawn = None if self.contact is None else draws(self.contact, hands)
        frames = frame_normal(self.shape.parameterisation, self.seen, hands.posed, self.shape.world_scale)
        met = pair_equations(self.seen, hands, self.capsules, drawn, self.skin)
        if self.anchor is not None:
            frames, met = self.anchor.equations(hands.posed, frames, met, skin_equations(hands, self.skin))
        return _Equations(frames, self._temporal(hands.posed, sigma), met, self._ties(hands.posed), drawn)

    def cost(self, hands: HandPairs, sigma: Floats, drawn: Draws | None, own: Flags) -> float:
        """What the hand frames `own` (N,) cost by the same terms after they have moved."""
        frames = frame_cost(self.seen, hands.posed, self.shape.world_scale)
        met = pair_cost(self.seen, hands, drawn, self.skin)
        if self.anchor is not None:
            skins = skin_cost(hands, self.skin)
            frames, met = self.anchor.cost(hands.posed, frames, met, skins, hands.left, hands.right)
        frames = frames + self._temporal(hands.posed, sigma).cost
        return _total(own, frames, met, self._ties(hands.posed), hands.left)

    def _temporal(self, posed: PosedPoints, sigma: Floats) -> Banded:
        found = self._smooth(posed.state, sigma)
        if self.anchor is None:
            return found
        return self.anchor.smoothed(posed, found, self._smooth(self.anchor.state, sigma))

    def _smooth(self, state: HandState, sigma: Floats) -> Banded:
        return temporal_normal(self.seen, state, self.shape.parameterisation, sigma, self.strength)

    def _ties(self, posed: PosedPoints) -> DepthTies:
        found = depth_ties(self.seen, posed.state.image_depth[:, 2], self.contact)
        if self.anchor is None:
            return found
        known = depth_ties(self.seen, self.anchor.state.image_depth[:, 2], self.contact)
        return self.anchor.tied(found, known, pairs(self.seen)[0])


def _strength(seen: Observations, smooth: float) -> Floats:
    """(N,) weight of the smoothness: 1 at 0.5, and more where landmarks are less sure than the hand's usually are.

    Frames without landmarks never get less than 1.
    """
    strength = (smooth / max(1 - smooth, 0.02)) ** 2
    bare = ~seen.seen
    beside = bare | np.roll(bare, 1) | np.roll(bare, -1)
    return np.maximum(strength * (1 + _HELD_IN_DOUBT * seen.doubt), beside)
