# SPDX-License-Identifier: GPL-3.0-or-later
"""The temporal prior: motion is smooth where the hand is calm, and fast where it really is fast.

The acceleration of every unknown is random, with a sigma per frame: a floor, which is the landmark noise of a
calm hand, plus the motion's own energy around that frame. Noise is removed, while an accent or a fast wave
keeps its shape, because sigma is large there. Times are in median frame times, so the result does not depend
on the unit of the time stamps.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solveh_banded

from inference_core.fitting.arrays import Flags, Floats, Floats32, Indices
from inference_core.fitting.interaction import DepthTies, PairEquations
from inference_core.fitting.normal_equations import NormalEquations, pseudo_huber
from inference_core.fitting.observations import Observations
from inference_core.fitting.parameterisation import (
    DEPTH,
    FINGERS,
    IMAGE,
    ROOT,
    HandParameterisation,
    HandState,
    image_depth_of,
)
from inference_core.geometry.rotations import log

# Sigma of a calm hand's accelerations per squared frame time: image-depth as a share of the distance (0.001
# is 0.6 mm at 0.6 m), angles in degrees.
_IMAGE_FLOOR, _DEPTH_FLOOR = 0.0005, 0.0004
_ROOT_FLOOR_DEG, _FINGER_FLOOR_DEG = 0.5, 1.0
# The motion's energy is averaged over this many frames to either side.
_ENERGY_REACH = 3
# The energy is measured after smoothing has reduced it, and so is multiplied: with 1 a hand waving at full
# speed lags, with 12 a calm one keeps a third more noise (measured on shots with known truth).
_ENERGY_SHARE = 4.0
# Depth is observed so poorly that errors persist for half a second. A hand rests rather than drifts:
# low speeds in depth (a share of the distance per frame time) cost more than their causes, while
# high speeds cost little more.
_DEPTH_SPEED, _DEPTH_SPEED_DELTA = 0.003, 1.0
# What ties the two hands of a frame fades over the frames beyond those in which they touch, down to denormal numbers,
# which double the time of the factorisation. This faint tie between their unknowns keeps it above those.
_FAINT = 1e-6
# Nothing holds the hand in a gap: speed is penalised too, so that it does not overshoot.
_GAP_SPEED = 0.02


def accelerations(seen: Observations, state: HandState, parameterisation: HandParameterisation) -> Floats:
    """(N, D) second differences of the unknowns at each hand frame; 0 at the ends of a run."""
    return _second_difference(_first_difference(seen, state, parameterisation), _Steps.of(seen))


def sigmas(seen: Observations, state: HandState, parameterisation: HandParameterisation) -> Floats:
    """(N, G) standard deviation of each hand frame's accelerations, for each group of unknowns (`_groups`)."""
    squares = accelerations(seen, state, parameterisation) ** 2
    groups = _groups(parameterisation)
    energy = _averaged((squares @ groups) / groups.sum(0), _Steps.of(seen).inner, _run_numbers(seen))
    image, depth, root = energy[:, :1], energy[:, 1:2], energy[:, 2:3]
    # Motion in depth is assumed similar to that across the picture, which is observed far better.
    depth = np.minimum(depth, 0.5 * image + np.minimum(depth, 9 * _DEPTH_FLOOR**2))
    # So is a rotation beyond a calm hand's: a hand seen edge-on wobbles by as much as hands really turn.
    root = np.minimum(root, image + np.minimum(root, math.radians(_ROOT_FLOOR_DEG) ** 2))
    wide = np.concatenate([image, depth, root, energy[:, 3:]], 1)
    floors = [
        _IMAGE_FLOOR,
        _DEPTH_FLOOR,
        math.radians(_ROOT_FLOOR_DEG),
        *[math.radians(_FINGER_FLOOR_DEG)] * 5,
    ]
    return np.sqrt(np.square(floors) + _ENERGY_SHARE * wide)


def temporal_normal(
    seen: Observations,
    state: HandState,
    parameterisation: HandParameterisation,
    sigma: Floats,
    strength: Floats,
) -> "Banded":
    """Normal equations of the smoothness terms: diagonals between hand frames 0, 1 and 2 apart.

    sigma (N, G): `sigmas`. strength (N,): 1 uses them unchanged.
    """
    steps = _Steps.of(seen)
    first = _first_difference(seen, state, parameterisation)
    weight = (strength * steps.inner * steps.span)[:, None] / (sigma @ _groups(parameterisation).T) ** 2
    residual = _second_difference(first, steps) * weight
    before, here, after = (value[:, None] for value in (steps.before, steps.here, steps.after))
    gradient = here * residual
    gradient[:-1] += (before * residual)[1:]
    gradient[1:] += (after * residual)[:-1]
    diagonal = here**2 * weight
    diagonal[:-1] += (before**2 * weight)[1:]
    diagonal[1:] += (after**2 * weight)[:-1]
    near, far = np.zeros_like(diagonal), np.zeros_like(diagonal)
    near[:-1] += (here * after * weight)[:-1]
    near[:-1] += (before * here * weight)[1:]
    far[:-2] += (before * after * weight)[1:-1]
    speed, speed_cost = _speed_weights(seen, first, strength)
    pull = speed * first
    gradient[:-1] -= pull
    gradient[1:] += pull
    diagonal[:-1] += speed
    diagonal[1:] += speed
    near[:-1] -= speed
    cost = 0.5 * (residual**2 / np.maximum(weight, 1e-30)).sum(1)
    cost[:-1] += speed_cost
    return Banded(diagonal, near, far, gradient, cost)


@dataclass(frozen=True)
class Banded:
    """A quadratic form over the list: (N, D) diagonals to the same hand frame, the next two; cost (N,)."""

    diagonal: Floats
    near: Floats
    far: Floats
    gradient: Floats
    cost: Floats


def solve_banded(
    seen: Observations,
    frames: NormalEquations,
    temporal: Banded,
    pairs: PairEquations,
    ties: DepthTies,
    damping: Floats,
) -> Floats:
    """The increment (N, D) that minimises all terms, by one banded Cholesky factorisation over all frames.

    damping (N,): a share of the diagonal. The two hands of a frame are one block, if any frame has
    both; the bandwidth is two frames.
    """
    rows = _Rows.of(seen, len(pairs.left) > 0)
    sides, size = rows.sides, frames.gradient.shape[1]
    width = sides * size
    # Single precision suffices for a step: the damping keeps its matrix far from singular. An unknown's diagonals lie
    # together, as LAPACK takes them.
    bands: Floats32 = np.zeros((rows.count, sides, size, 2 * width + 1), np.float32)
    bands[..., 0] = 1.0
    at = (rows.frame, rows.side)
    own = frames.hessian.copy()
    diagonal = np.einsum("nii->ni", own)
    diagonal += temporal.diagonal
    for place, hands in enumerate((pairs.left, pairs.right)):
        own[hands] += pairs.hessian[:, place, :, place]
        for chosen in (ties.pair, ties.following):
            diagonal[hands[chosen], DEPTH.start] += ties.weight
    for column in range(size):
        bands[*at, column, : size - column] = own[:, column:, column]
    bands[*at, :, 0] = bands[*at, :, 0] * (1 + damping[:, None]) + 1e-9
    bands[*at, :, width] = temporal.near
    bands[*at, :, 2 * width] = temporal.far
    if sides == 2:
        cross, frame = pairs.hessian[:, 1, :, 0], rows.frame[pairs.left]
        for column in range(size):
            # One of left's unknowns (`column`) against all of right's, which follow left's own.
            bands[frame, 0, column, size - column : 2 * size - column] = cross[:, :, column]
        bands[frame, 0, :, size] += _FAINT
        depth, tied, weight = DEPTH.start, frame[ties.pair], ties.weight
        bands[tied, :, depth, width] -= weight[:, None]
        bands[tied, 0, depth, width + size] += weight
        bands[tied, 1, depth, width - size] += weight
        bands[tied, 0, depth, size] -= weight
        bands[frame[ties.following], 0, depth, size] -= weight
    right: Floats32 = np.zeros((rows.count, sides, size), np.float32)
    gradient = frames.gradient + temporal.gradient
    add_pairs(gradient, pairs)
    pull = ties.weight * ties.residual
    for hands, sign in ((pairs.left, -1.0), (pairs.right, 1.0)):
        for chosen, way in ((ties.pair, -1.0), (ties.following, 1.0)):
            gradient[hands[chosen], DEPTH.start] += sign * way * pull
    right[at] = -gradient
    step = solveh_banded(
        bands.reshape(-1, 2 * width + 1).T,
        right.reshape(-1),
        lower=True,
        overwrite_ab=True,
        overwrite_b=True,
        check_finite=False,
    )
    return step.reshape(rows.count, sides, size)[at].astype(np.float64)


def add_pairs(total: Floats, pairs: PairEquations) -> None:
    """Add the pairs' gradient to that of all hand frames (N, D)."""
    for place, hands in enumerate((pairs.left, pairs.right)):
        total[hands] += pairs.gradient[:, place]


@dataclass(frozen=True)
class _Rows:
    """The rows of each hand frame's unknowns: frame, side (N,) of `count` blocks of one or two sides."""

    frame: Indices
    side: Indices
    count: int
    sides: int

    @staticmethod
    def of(seen: Observations, paired: bool) -> "_Rows":
        if not paired:
            index = np.arange(len(seen))
            return _Rows(index, np.zeros_like(index), len(seen), 1)
        frames, rank = np.unique(seen.frame, return_inverse=True)
        return _Rows(rank, seen.side, len(frames), 2)


@dataclass(frozen=True)
class _Steps:
    """Coefficients (N,) of the second difference at each hand frame: of the previous, this and the next frame.

    inner (N,) bool: has both neighbours. span (N,): the time that the frame represents.
    """

    inner: Flags
    before: Floats
    here: Floats
    after: Floats
    span: Floats

    @staticmethod
    def of(seen: Observations) -> "_Steps":
        step = seen.steps
        past, next_ = np.concatenate([[0.0], step]), np.concatenate([step, [0.0]])
        inner = (past > 0) & (next_ > 0)
        past, next_ = np.where(inner, past, 1.0), np.where(inner, next_, 1.0)
        mean = (past + next_) / 2
        before, after = inner / (past * mean), inner / (next_ * mean)
        return _Steps(inner, before, -(before + after), after, mean * inner)


def _first_difference(seen: Observations, state: HandState, parameterisation: HandParameterisation) -> Floats:
    """(N - 1, D) from each hand frame to the next in the list; the root's is an axis-angle in camera axes."""
    angles = state.angles_rad.reshape(-1, 45)[:, parameterisation.free]
    before, root = _as_seen_next(seen, state)
    turned = log(state.root[1:] @ np.swapaxes(root, 1, 2))
    return np.concatenate([state.image_depth[1:] - before, turned, np.diff(angles, axis=0)], -1)


def _as_seen_next(seen: Observations, state: HandState) -> tuple[Floats, Floats]:
    """Image-depth (N - 1, 3) and root (N - 1, 3, 3) of each hand frame in the camera of the next.

    A hand at rest in the world is then at rest, however the camera moves. Derivatives ignore the camera's motion,
    which is small between two frames.
    """
    steps = seen.camera_steps
    if steps is None:
        return state.image_depth[:-1], state.root[:-1]
    moved_m = (steps[:, :3, :3] @ state.wrist_m[:-1, :, None])[..., 0] + steps[:, :3, 3]
    return image_depth_of(moved_m), steps[:, :3, :3] @ state.root[:-1]


def _second_difference(first: Floats, steps: _Steps) -> Floats:
    second = np.zeros((len(first) + 1, first.shape[1]))
    second[:-1] = steps.after[:-1, None] * first
    second[1:] -= steps.before[1:, None] * first
    return second


def _speed_weights(seen: Observations, first: Floats, strength: Floats) -> tuple[Floats, Floats]:
    """(N - 1, D) weights of squared speeds, and their costs (N - 1,).

    Of all unknowns where either end has no landmarks of its own, and of the depth everywhere.
    """
    held, steps = seen.seen, seen.steps
    gap = ~(held[1:] & held[:-1]) & (steps > 0)
    longer = np.maximum(steps, 1e-3)
    weight = np.broadcast_to((gap / (_GAP_SPEED**2 * longer))[:, None], first.shape).copy()
    cost = 0.5 * (weight * first**2).sum(1)
    own = np.minimum(strength[1:], strength[:-1]) * steps
    share, depth_cost = pseudo_huber(first[:, DEPTH.start] / longer / _DEPTH_SPEED, _DEPTH_SPEED_DELTA)
    weight[:, DEPTH.start] += own * share / (_DEPTH_SPEED * longer) ** 2
    return weight, cost + own * depth_cost


def _groups(parameterisation: HandParameterisation) -> Floats:
    """(D, G = 8): which unknowns share an energy: image, depth, root, five fingers (MANO's order)."""
    groups = np.zeros((parameterisation.size, 8))
    groups[IMAGE, 0] = groups[DEPTH, 1] = groups[ROOT, 2] = 1.0
    groups[np.arange(FINGERS, parameterisation.size), 3 + parameterisation.free // 9] = 1.0
    return groups


def _run_numbers(seen: Observations) -> Indices:
    """(N,) number of the uninterrupted run that each hand frame belongs to."""
    return np.concatenate([[0], np.cumsum(seen.steps == 0)])[: len(seen)]


def _averaged(values: Floats, valid: Flags, run: Indices) -> Floats:
    """(N, G) triangular weighted means over the valid neighbours in the same run."""
    total = np.zeros_like(values)
    weight = np.zeros(len(values))
    count = np.arange(len(values))
    for shift in range(-_ENERGY_REACH, _ENERGY_REACH + 1):
        neighbour = np.clip(count + shift, 0, len(values) - 1)
        there = (neighbour - count == shift) & (run[neighbour] == run) & valid[neighbour]
        share = (_ENERGY_REACH + 1.0 - abs(shift)) * there
        total += values[neighbour] * share[:, None]
        weight += share
    return total / np.maximum(weight, 1e-9)[:, None]
