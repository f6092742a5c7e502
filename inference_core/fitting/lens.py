# SPDX-License-Identifier: GPL-3.0-or-later
"""The field of view by the hands themselves: under which lens the hand model fits their landmarks best.

A hand far from the middle of the picture, or a close one, is drawn out by a wide lens. That says the focal length to
about a third, so it is offered to the user and never used without being asked for.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.arrays import Floats
from inference_core.fitting.observations import Observations, gather
from inference_core.fitting.parameterisation import HandState, pose_points
from inference_core.fitting.residuals import frame_cost
from inference_core.fitting.single_frame import (
    ShotShape,
    estimate_shape,
    fit_frames,
    fit_shape,
    start_state,
    well_seen,
)
from inference_core.geometry.camera import camera_from_fov
from inference_core.geometry.rotations import turn_to_ray
from inference_core.hand_model.hand import HandModel
from inference_core.tracking.hand_tracks import HandTracks

# The fields of view that may be tried, from the first one on towards better fits; well-seen frames used of each hand.
_TRIED_DEG, _FIRST, _FRAMES = (38.0, 50.0, 64.0, 80.0, 98.0, 116.0), 2, 16
# Steps of the shape from its estimate under the lens beside.
_NEXT_STEPS = 6
# Errors of the focal length's logarithm: by how hands are misread, and by how much more than independent landmarks'
# the errors of a shot's landmarks change the best fit. From clips with known lenses (docs/experiments.md).
_MISREAD, _ALIKE = 0.3, 2.0
# Where the error is larger, there is nothing to offer.
_WORTHLESS = 0.45


@dataclass(frozen=True)
class LensEstimate:
    """A field of view across the wider side, degrees, and its limits: one standard deviation to either side."""

    fov_deg: float
    low_deg: float
    high_deg: float


def estimate_lens(tracks: HandTracks, size_px: tuple[int, int], model: HandModel) -> LensEstimate | None:
    """The lens under which the hands fit their landmarks best; None if they do not tell."""
    chosen = well_seen(tracks, _FRAMES)
    if not chosen.any():
        return None
    times = np.arange(len(chosen)) * 1.0

    def under(number: int) -> Observations:
        camera = camera_from_fov(size_px, _TRIED_DEG[number])
        return gather(tracks, None, chosen, camera, times, model.joint_axes, range(len(chosen)))

    fits = {_FIRST: _first_fit(model, under(_FIRST))}
    while (number := _untried(fits)) is not None:
        fits[number] = _next_fit(model, under(number), _nearest(fits, number))
    tried = sorted(fits)
    costs = np.array([fits[number].cost for number in tried])
    found = _lowest(np.array([_log_focal(_TRIED_DEG[number]) for number in tried]), costs)
    if found is None or found[1] > _WORTHLESS:
        return None
    log_focal, sigma = found
    return LensEstimate(_fov_deg(log_focal), _fov_deg(log_focal + sigma), _fov_deg(log_focal - sigma))


@dataclass(frozen=True)
class _Fit:
    """The chosen hand frames, each on its own, with the shape that suits them under one lens; cost: their misfit."""

    seen: Observations
    shape: ShotShape
    state: HandState
    cost: float

    @staticmethod
    def of(seen: Observations, shape: ShotShape, state: HandState) -> "_Fit":
        """The fit with the poses at their optimum."""
        state = fit_frames(shape, seen, state)
        cost = frame_cost(seen, pose_points(shape.parameterisation, seen.side, state), shape.world_scale)
        unusual = 0.5 * (shape.parameterisation.betas**2).sum()
        return _Fit(seen, shape, state, float(cost.sum() + unusual))


def _first_fit(model: HandModel, seen: Observations) -> _Fit:
    shape = estimate_shape(model, seen)
    return _Fit.of(seen, shape, start_state(shape, seen))


def _next_fit(model: HandModel, seen: Observations, near: _Fit) -> _Fit:
    """A fit that starts from the one under another lens."""
    state = _under_other_lens(near.state, near.seen.K, seen.K)
    return _Fit.of(seen, *fit_shape(model, seen, near.shape, state, _NEXT_STEPS))


def _under_other_lens(state: HandState, K: Floats, other_K: Floats) -> HandState:
    """Hands that look the same at the same place in the picture, but under another lens. K, other_K (N, 3, 3)."""
    longer = other_K[:, :1, 0] / K[:, :1, 0]
    tangents, log_depth = state.image_depth[:, :2], state.image_depth[:, 2:]
    moved = np.concatenate([tangents / longer, log_depth + np.log(longer)], -1)
    turn = turn_to_ray(_rays(moved)) @ np.swapaxes(turn_to_ray(_rays(state.image_depth)), -1, -2)
    return HandState(moved, turn @ state.root, state.angles_rad)


def _rays(image_depth: Floats) -> Floats:
    return np.pad(image_depth[:, :2], ((0, 0), (0, 1)), constant_values=1.0)


def _untried(fits: dict[int, _Fit]) -> int | None:
    """A neighbour of the lens that fits best; None if both are tried, or there is none."""
    best = min(fits, key=lambda number: fits[number].cost)
    beside = [number for number in (best + 1, best - 1) if 0 <= number < len(_TRIED_DEG)]
    return next((number for number in beside if number not in fits), None)


def _nearest(fits: dict[int, _Fit], number: int) -> _Fit:
    return fits[min(fits, key=lambda other: abs(other - number))]


def _lowest(log_focal: NDArray[np.float64], costs: NDArray[np.float64]) -> tuple[float, float] | None:
    """Where a parabola through the lowest cost and its neighbours is lowest, and its sigma; None at the ends."""
    k = int(costs.argmin())
    if not 0 < k < len(costs) - 1:
        return None
    near = slice(k - 1, k + 2)
    curvature, slope, _ = np.polyfit(log_focal[near] - log_focal[k], costs[near], 2)
    sigma = math.hypot(_MISREAD, _ALIKE / math.sqrt(2 * curvature))
    return float(log_focal[k] - slope / (2 * curvature)), sigma


def _log_focal(fov_deg: float) -> float:
    return -math.log(math.tan(math.radians(fov_deg) / 2))


def _fov_deg(log_focal: float) -> float:
    return math.degrees(2 * math.atan(math.exp(-log_focal)))
