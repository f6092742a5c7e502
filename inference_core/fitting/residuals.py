# SPDX-License-Identifier: GPL-3.0-or-later
"""Residuals of a single frame: landmarks, world landmarks, pose prior, joint limits, the network's estimates.

Each term adds its weighted squared residuals to the normal equations of the unknowns (parameterisation), linearised
at the current state. Robust terms use their current weights (pseudo-Huber: quadratic near zero, linear far out).
Residuals are in units of their own standard deviation.
"""

import math
from dataclasses import dataclass

import numpy as np

from inference_core.fitting.arrays import Floats, Floats32, Indices, lengths, means
from inference_core.fitting.observations import NetworkTargets, Observations
from inference_core.fitting.parameterisation import (
    FINGERS,
    ROOT,
    HandParameterisation,
    HandState,
    PosedPoints,
)
from inference_core.geometry.projection import project_pinhole
from inference_core.geometry.rotations import log

LANDMARKS, JOINTS = slice(0, 21), slice(21, 42)

# Standard deviations. Landmarks: as a share of the diagonal of the hand's box (346 px: 3 px). MediaPipe's own
# 2D and world landmarks disagree by 6 px there, hence the wide sigma of the latter.
_PIXEL_SHARE, _PIXEL_DELTA = 0.009, 2.5
# The number of steps that find the size error common to a hand's landmarks.
_SIZE_STEPS = 3
_WORLD_M, _WORLD_DELTA = 0.0068, 2.7
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
# A network has seen the world landmarks: beside a fully confident one, they lose this share of their weight.
_WORLD_READ = 0.8


@dataclass(frozen=True)
class NormalEquations:
    """Normal equations of N hand frames: hessian (N, D, D), gradient (N, D), cost (N,)."""

    hessian: Floats
    gradient: Floats
    cost: Floats


def frame_cost(seen: Observations, posed: PosedPoints, world_scale: Floats) -> Floats:
    """(N,) cost of the posed hands, without derivatives."""
    cost = _pixel_errors(seen, posed).total + _world_errors(seen, posed, world_scale).cost
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


def landmark_normal(
    seen: Observations, posed: PosedPoints, jacobian: Floats32, world_scale: Floats, by_scale: bool = False
) -> NormalEquations:
    """Normal equations of the landmark terms for any unknowns by which the landmarks have derivatives (N, 3, 21, K).

    by_scale: the logarithm of the world scale is one more unknown, the last one. The terms are weights (3, 3) and pulls
    on points first, and only then on the unknowns: that is half the work.
    """
    pixel, world = _pixel_errors(seen, posed), _world_errors(seen, posed, world_scale)
    by_points = _pixels_by_points(seen, posed)
    weighed = by_points * pixel.weight[..., None, None]
    pulls = np.stack([pixel.residual, pixel.size], 2) @ weighed
    # Where the size error v is eliminated, the weights are W - c v v'. The residual is at its optimum already, so that
    # the gradient stays as it is.
    variance = seen.size_sigma**2
    hidden = np.sqrt(variance / (1 + variance * (pixel.weight * _dot(pixel.size, pixel.size)).sum(1)))
    by_log_scale = -(world.residual + seen.world_m / _WORLD_M)
    gradient, size, with_scale = _on_unknowns(
        [
            pulls[:, :, 0] + world.pull(world.residual),
            pulls[:, :, 1] * hidden[:, None, None],
            world.pull(by_log_scale),
        ],
        jacobian,
    )
    hessian = _landmark_hessian(np.swapaxes(weighed, -1, -2) @ by_points, world, size, jacobian)
    cost = pixel.total + world.cost
    if not by_scale:
        return NormalEquations(hessian, gradient, cost)
    weighed = world.weight[..., None] * by_log_scale
    last, scale = (weighed * world.residual).sum((1, 2)), (weighed * by_log_scale).sum((1, 2))
    hessian = np.concatenate([hessian, with_scale[:, None]], 1)
    column = np.concatenate([with_scale, scale[:, None]], 1)
    return NormalEquations(
        np.concatenate([hessian, column[..., None]], 2),
        np.concatenate([gradient, last[:, None]], 1),
        cost,
    )


def _on_unknowns(pulls: list[Floats], jacobian: Floats32) -> Floats:
    """(R, N, K) pulls (N, 21, 3) on points as pulls on the unknowns."""
    flat = _flat(jacobian)
    rows = np.swapaxes(np.stack(pulls, 1), -1, -2).astype(np.float32, order="C")
    return np.swapaxes(rows.reshape(len(flat), len(pulls), flat.shape[1]) @ flat, 0, 1).astype(np.float64)


def _landmark_hessian(weight: Floats, world: "_WorldErrors", size: Floats, jacobian: Floats32) -> Floats:
    """(N, K, K) from weights (N, 21, 3, 3) of the points in the picture and those in the world; size (N, K): what of
    them the size error hides.
    """
    stiffness = world.weight * world.gain[:, None] ** 2
    _diagonal(weight)[:] += stiffness[..., None]
    weighed = np.empty_like(jacobian)
    np.matmul(weight.astype(np.float32), np.swapaxes(jacobian, 1, 2), out=np.swapaxes(weighed, 1, 2))
    hessian = np.swapaxes(_flat(jacobian), -1, -2) @ _flat(weighed)
    # In the world, points count about their mean m: sum w (J - m)'(J - m) = sum w J'J - s'm - m'(s - sum w m), where s
    # is the sum of w J.
    shares = np.stack([np.full_like(stiffness, 1 / stiffness.shape[1]), stiffness], 1).astype(np.float32)
    mean, total = np.moveaxis(shares[:, None] @ jacobian, 2, 0)
    rest = total - stiffness.sum(1).astype(np.float32)[:, None, None] * mean
    hidden = size.astype(np.float32)[:, None]
    left, right = np.concatenate([total, mean, hidden], 1), np.concatenate([mean, rest, hidden], 1)
    hessian -= np.swapaxes(left, -1, -2) @ right
    return hessian.astype(np.float64)


def add_pose_terms(
    total: NormalEquations, parameterisation: HandParameterisation, seen: Observations, posed: PosedPoints
) -> None:
    """Add what does not depend on the landmarks: pose prior, joint limits, the network's estimates."""
    _add_angles(total, parameterisation, seen.side, posed.state)
    if seen.network is not None:
        _add_network(total, parameterisation, seen, seen.network, posed)


def reprojection_px(seen: Observations, posed: PosedPoints) -> Floats:
    """(N, 21) distance of the projected from the observed landmarks, pixels."""
    return lengths(project_pinhole(posed.points_m[:, LANDMARKS], seen.K) - seen.pixels)


def pseudo_huber(error: Floats, delta: float) -> tuple[Floats, Floats]:
    """Weight and cost of errors (in standard deviations); an error beyond its delta pulls no harder than one at it."""
    root = np.sqrt(1 + (error / delta) ** 2)
    return 1 / root, delta**2 * (root - 1)


@dataclass(frozen=True)
class _PixelErrors:
    """Landmark residuals (N, 21, 2) without the size error, their weights (N, 21), and what all cost (N,).

    size (N, 21, 2): the residuals' derivative by the size error.
    """

    residual: Floats
    weight: Floats
    size: Floats
    total: Floats


def _pixel_errors(seen: Observations, posed: PosedPoints) -> _PixelErrors:
    """The residuals with the size error eliminated, which all landmarks of a hand share:
    it is what obscures the distance.

    It is eliminated at its own optimum in each frame, so the derivatives by the unknowns are unaffected.
    """
    sigma_px = _PIXEL_SHARE * seen.diagonal_px[:, None, None]
    share = seen.score[:, None] / np.maximum(seen.score.sum(-1), 1e-9)[:, None, None]
    size = (seen.pixels - share @ seen.pixels) / sigma_px
    residual = (project_pinhole(posed.points_m[:, LANDMARKS], seen.K) - seen.pixels) / sigma_px
    # Of each landmark's squared error: without a size error, and what this one adds.
    square, mixed, square_size = _dot(residual, residual), _dot(residual, size), _dot(size, size)
    precision = seen.size_sigma**-2
    expected, common, root = seen.size_error * precision, seen.size_error, np.ones_like(seen.score)
    for _ in range(_SIZE_STEPS):
        weight = seen.score / root
        common = (expected - (weight * mixed).sum(1)) / (precision + (weight * square_size).sum(1))
        square_error = square + common[:, None] * (2 * mixed + common[:, None] * square_size)
        root = np.sqrt(1 + np.maximum(square_error, 0) / _PIXEL_DELTA**2)
    cost = _PIXEL_DELTA**2 * ((root - 1) * seen.score).sum(-1)
    off = (common - seen.size_error) / seen.size_sigma
    residual = residual + common[:, None, None] * size
    return _PixelErrors(residual, seen.score / root, size, cost + 0.5 * off**2)


def _dot(first: Floats, second: Floats) -> Floats:
    return first[..., 0] * second[..., 0] + first[..., 1] * second[..., 1]


def _squared(values: Floats) -> Floats:
    """(N,) sums of squares of values (N, ...)."""
    return (values**2).sum(tuple(range(1, values.ndim)))


def _flat(rows: Floats32) -> Floats32:
    """(N, C P, K) of rows (N, C, P, K)."""
    return rows.reshape(len(rows), rows.shape[1] * rows.shape[2], rows.shape[3])


def _pixels_by_points(seen: Observations, posed: PosedPoints) -> Floats:
    """(N, 21, 2, 3) derivatives of the landmarks' residuals in the picture by the points."""
    points = posed.points_m[:, LANDMARKS]
    depth = np.maximum(points[..., 2:], 1e-3)
    focal_px = np.diagonal(seen.K, axis1=1, axis2=2)[:, None, :2]
    gain = focal_px / (_PIXEL_SHARE * seen.diagonal_px)[:, None, None] / depth
    out = np.zeros((*points.shape[:2], 2, 3))
    _diagonal(out[..., :2])[:] = gain
    out[..., 2] = -gain * points[..., :2] / depth
    return out


@dataclass(frozen=True)
class _WorldErrors:
    """World landmarks' residuals (N, 21, 3), their weights (N, 21), and what they cost (N,). gain (N,): a residual's
    derivative by its point, as it moves about the mean of all.
    """

    residual: Floats
    weight: Floats
    gain: Floats
    cost: Floats

    def pull(self, residual: Floats) -> Floats:
        """(N, 21, 3) of residuals on the points."""
        pulls = residual * (self.weight * self.gain[:, None])[..., None]
        return pulls - means(pulls)


def _world_errors(seen: Observations, posed: PosedPoints, scale: Floats) -> _WorldErrors:
    points = posed.points_m[:, LANDMARKS]
    # In the world landmarks' own metres: in the model's, a smaller hand would always have a smaller error.
    gain = 1 / (_WORLD_M * scale[seen.side])
    arms = (points - means(points)) * gain[:, None, None]
    residual = arms - seen.world_m / _WORLD_M
    weight, cost = pseudo_huber(lengths(residual), _WORLD_DELTA)
    share = seen.score
    if seen.network is not None:
        share = share * (1 - _WORLD_READ * np.minimum(seen.network.confidence, 1)[:, None])
    return _WorldErrors(residual, weight * share, gain, (cost * share).sum(-1))


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
    _diagonal(total.hessian)[:, FINGERS:] += _LIMIT_WEIGHT**2 * (beyond != 0).reshape(-1, 45)[:, free]
    pulled = (rest * _POSE_WEIGHT + beyond * _LIMIT_WEIGHT).reshape(-1, 45)[:, free]
    total.gradient[:, FINGERS:] += pulled + tendon @ ties
    for residual in (rest, tendon, beyond):
        total.cost[:] += 0.5 * _squared(residual)


def _diagonal(matrices: Floats) -> Floats:
    """(..., D) the diagonals of matrices (..., D, D), to be changed in place."""
    return np.einsum("...ii->...i", matrices)


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
    target_depth = np.maximum(network.wrist_m[:, 2:], 0.05)
    target_image_depth = np.concatenate([network.wrist_m[:, :2] / target_depth, np.log(target_depth)], -1)
    residuals = [
        log(state.root @ np.swapaxes(network.root, -1, -2)) / math.radians(_NETWORK_ROOT_DEG),
        (state.angles_rad - network.angles_rad).reshape(-1, 45) / math.radians(_NETWORK_ANGLE_DEG),
        (state.image_depth - target_image_depth) / _image_depth_sigma(seen),
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
    jacobian, place = posed.joints_jacobian[..., 3:], slice(3, None)
    weighed = jacobian * (weights[3] / _NETWORK_JOINT_M**2).astype(np.float32)[:, None]
    total.hessian[:, place, place] += np.swapaxes(_flat(jacobian), -1, -2) @ _flat(weighed)
    pull = joints * _NETWORK_JOINT_M
    total.gradient[:, place] += _on_unknowns([pull], weighed)[0]
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
    diagonal = _diagonal(total.hessian)
    for where, residual, weight, gain in gains:
        diagonal[:, where] += weight * gain**2
        total.gradient[:, where] += weight * gain * residual
