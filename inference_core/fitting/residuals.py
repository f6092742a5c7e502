# SPDX-License-Identifier: GPL-3.0-or-later
"""Residuals of a single frame: landmarks (landmark_terms), pose prior, joint limits, the network's estimates.

Each term adds its weighted squared residuals to the normal equations of the unknowns (parameterisation), linearised
at the current state. Robust terms use their current weights (pseudo-Huber: quadratic near zero, linear far out).
Residuals are in units of their own standard deviation.
"""

import math

import numpy as np

from inference_core.fitting.arrays import Floats, Indices, lengths
from inference_core.fitting.landmark_terms import landmark_cost, landmark_normal
from inference_core.fitting.normal_equations import (
    NormalEquations,
    diagonal,
    flat_rows,
    on_unknowns,
    pseudo_huber,
)
from inference_core.fitting.observations import NetworkTargets, Observations
from inference_core.fitting.parameterisation import (
    FINGERS,
    JOINTS,
    LANDMARKS,
    ROOT,
    HandParameterisation,
    HandState,
    PosedPoints,
    image_depth_of,
)
from inference_core.geometry.rotations import log

# The resting pose: flexion, spread, twist in degrees; and the last joint's flexion relative to about 0.6 of
# the one before, since one tendon moves both.
_POSE_DEG = (28.0, 11.0, 9.0)
_TENDON_DEG, _TENDON_RATIO = 13.0, 0.6
_LIMIT_DEG = 1.5
_POSE_WEIGHT = 1 / np.deg2rad(_POSE_DEG)
_TENDON_WEIGHT, _LIMIT_WEIGHT = 1 / math.radians(_TENDON_DEG), 1 / math.radians(_LIMIT_DEG)
# Standard deviations of a fully confident network.
_NETWORK_ROOT_DEG, _NETWORK_ANGLE_DEG, _NETWORK_DELTA = 10.0, 14.0, 2.5
_NETWORK_JOINT_M, _NETWORK_IMAGE = 0.010, 0.012
# The network has seen the landmarks: beside them its distance counts less; without them it is the only evidence.
_NETWORK_DEPTH_BESIDE, _NETWORK_DEPTH_ALONE = 0.08, 0.03


def frame_cost(seen: Observations, posed: PosedPoints, world_scale: Floats) -> Floats:
    """(N,) cost of the posed hands, without derivatives."""
    cost = landmark_cost(seen, posed, world_scale)
    for residual in _angle_residuals(posed.parameterisation, seen.side, posed.state):
        cost += 0.5 * _squared(residual)
    if seen.network is not None:
        cost += _network_errors(seen, seen.network, posed)[1]
    return cost


def frame_normal(
    parameterisation: HandParameterisation, seen: Observations, posed: PosedPoints, world_scale: Floats
) -> NormalEquations:
    """Normal equations of all single-frame terms. world_scale (S,): the model's size over the world's."""
    total = landmark_normal(seen, posed, posed.jacobian(LANDMARKS), world_scale)
    add_pose_terms(total, parameterisation, seen, posed)
    return total


def add_pose_terms(
    total: NormalEquations, parameterisation: HandParameterisation, seen: Observations, posed: PosedPoints
) -> None:
    """Add what does not depend on the landmarks: pose prior, joint limits, the network's estimates."""
    _add_angles(total, parameterisation, seen.side, posed.state)
    if seen.network is not None:
        _add_network(total, parameterisation, seen, seen.network, posed)


def _angle_residuals(
    parameterisation: HandParameterisation, side: Indices, state: HandState
) -> tuple[Floats, Floats, Floats]:
    """Resting pose (N, 15, 3), tendons (N, 5) and limits (N, 15, 3)."""
    angles, free = state.angles_rad, parameterisation.is_free
    rest = (angles - parameterisation.mean_rad[side]) * (_POSE_WEIGHT * free)
    tendon = (angles[:, 2::3, 0] - _TENDON_RATIO * angles[:, 1::3, 0]) * _TENDON_WEIGHT
    low, high = parameterisation.limits_rad[..., 0], parameterisation.limits_rad[..., 1]
    return rest, tendon, (angles - np.clip(angles, low, high)) * (_LIMIT_WEIGHT * free)


def _add_angles(
    total: NormalEquations, parameterisation: HandParameterisation, side: Indices, state: HandState
) -> None:
    rest, tendon, beyond = _angle_residuals(parameterisation, side, state)
    free, ties = parameterisation.free, _tendons(parameterisation)
    total.hessian[:, FINGERS:, FINGERS:] += ties.T @ ties + np.diag(np.tile(_POSE_WEIGHT, 15)[free] ** 2)
    diagonal(total.hessian)[:, FINGERS:] += _LIMIT_WEIGHT**2 * (beyond != 0).reshape(-1, 45)[:, free]
    pulled = (rest * _POSE_WEIGHT + beyond * _LIMIT_WEIGHT).reshape(-1, 45)[:, free]
    total.gradient[:, FINGERS:] += pulled + tendon @ ties
    for residual in (rest, tendon, beyond):
        total.cost[:] += 0.5 * _squared(residual)


def _tendons(parameterisation: HandParameterisation) -> Floats:
    """(5, A) derivatives of the tendons' residuals by the angles that can change."""
    ties, finger = np.zeros((5, 5, 9)), np.arange(5)
    ties[finger, finger, 6], ties[finger, finger, 3] = _TENDON_WEIGHT, -_TENDON_RATIO * _TENDON_WEIGHT
    return ties.reshape(5, 45)[:, parameterisation.free]


def _network_errors(
    seen: Observations, network: NetworkTargets, posed: PosedPoints
) -> tuple[list[Floats], Floats, list[Floats]]:
    """Residuals of root (N, 3), angles (N, 45), image-depth (N, 3), joints (N, 21, 3); cost (N,); weights."""
    state, wrist_m = posed.state, posed.state.wrist_m
    residuals = [
        log(state.root @ np.swapaxes(network.root, -1, -2)) / math.radians(_NETWORK_ROOT_DEG),
        (state.angles_rad - network.angles_rad).reshape(-1, 45) / math.radians(_NETWORK_ANGLE_DEG),
        (state.image_depth - image_depth_of(network.wrist_m)) / _image_depth_sigma(seen),
        (posed.points_m[:, JOINTS] - wrist_m[:, None] - network.joints_m) / _NETWORK_JOINT_M,
    ]
    weights, cost = [], np.zeros_like(network.confidence)
    for residual in residuals:
        # One weight per row for directions that err together; joints and angles have a weight each.
        error = np.abs(residual) if residual.shape[-1] == 45 else lengths(residual)[..., None]
        weight, term = pseudo_huber(error, _NETWORK_DELTA)
        trust = network.confidence.reshape(-1, *[1] * (weight.ndim - 1))
        weights.append(weight * trust)
        cost += (term * trust).sum(tuple(range(1, term.ndim)))
    return residuals, cost, weights


def _image_depth_sigma(seen: Observations) -> Floats:
    """(N, 3) sigmas of a fully confident network's image position and logarithmic distance."""
    sigma = np.full((len(seen), 3), _NETWORK_IMAGE)
    sigma[:, 2] = np.where(seen.seen, _NETWORK_DEPTH_BESIDE, _NETWORK_DEPTH_ALONE)
    return sigma


def _add_network(
    total: NormalEquations,
    parameterisation: HandParameterisation,
    seen: Observations,
    network: NetworkTargets,
    posed: PosedPoints,
) -> None:
    (root, angles, image_depth, joints), cost, weights = _network_errors(seen, network, posed)
    # The joints are compared about the wrist, so they say nothing of its place.
    jacobian, place = posed.joints_jacobian[..., ROOT.start :], slice(ROOT.start, None)
    weighed = jacobian * (weights[3] / _NETWORK_JOINT_M**2).astype(np.float32)[:, None]
    total.hessian[:, place, place] += np.swapaxes(flat_rows(jacobian), -1, -2) @ flat_rows(weighed)
    pull = joints * _NETWORK_JOINT_M
    total.gradient[:, place] += on_unknowns([pull], weighed)[0]
    total.cost[:] += cost
    free = parameterisation.free
    gains = [
        (slice(0, 3), image_depth, weights[2], 1 / _image_depth_sigma(seen)),
        (ROOT, root, weights[0], 1 / math.radians(_NETWORK_ROOT_DEG)),
        (
            slice(FINGERS, parameterisation.size),
            angles[:, free],
            weights[1][:, free],
            1 / math.radians(_NETWORK_ANGLE_DEG),
        ),
    ]
    own = diagonal(total.hessian)
    for where, residual, weight, gain in gains:
        own[:, where] += weight * gain**2
        total.gradient[:, where] += weight * gain * residual


def _squared(values: Floats) -> Floats:
    """(N,) sums of squares of values (N, ...)."""
    return (values**2).sum(tuple(range(1, values.ndim)))
