# SPDX-License-Identifier: GPL-3.0-or-later
"""Residuals of a single frame: landmarks, world landmarks, pose prior, joint limits, the network's estimates.

Each term adds its weighted squared residuals to the normal equations of the unknowns (parameterisation), linearised
at the current state. Robust terms use their current weights (pseudo-Huber: quadratic near zero, linear far out).
Residuals are in units of their own standard deviation.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

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
_POSE_WEIGHT = 1 / torch.tensor(_POSE_DEG).double().deg2rad()
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

    hessian: Tensor
    gradient: Tensor
    cost: Tensor


def frame_cost(seen: Observations, posed: PosedPoints, world_scale: Tensor) -> Tensor:
    """(N,) cost of the posed hands, without derivatives."""
    cost = _pixel_errors(seen, posed).total + _world_errors(seen, posed, world_scale).cost
    for residual in _angle_residuals(posed.parameterisation, seen.side, posed.state):
        cost = cost + 0.5 * residual.square().flatten(1).sum(1)
    if seen.network is not None:
        cost = cost + _network_errors(seen, seen.network, posed)[1]
    return cost


def frame_normal(
    parameterisation: HandParameterisation, seen: Observations, posed: PosedPoints, world_scale: Tensor
) -> NormalEquations:
    """Normal equations of all single-frame terms. world_scale (S,): the model's size over the world's."""
    total = landmark_normal(seen, posed, posed.jacobian(LANDMARKS), world_scale)
    add_pose_terms(total, parameterisation, seen, posed)
    return total


def landmark_normal(
    seen: Observations, posed: PosedPoints, jacobian: Tensor, world_scale: Tensor, by_scale: bool = False
) -> NormalEquations:
    """Normal equations of the landmark terms for any unknowns by which the landmarks have derivatives (N, 3, 21, K).

    by_scale: the logarithm of the world scale is one more unknown, the last one.
    """
    pixel, world = _pixel_errors(seen, posed), _world_errors(seen, posed, world_scale)
    # Two rows a landmark in the picture, three in the world; in single precision, like all derivatives.
    rows = jacobian.new_zeros(*jacobian.shape[:1], 5, *jacobian.shape[2:-1], jacobian.shape[-1] + by_scale)
    _pixel_rows(seen, posed, pixel.weight, jacobian, rows[:, :2, :, : jacobian.shape[-1]])
    _world_rows(seen, world, jacobian, world_scale, rows[:, 2:, :, : jacobian.shape[-1]])
    residual = torch.cat(
        [_factored(pixel.residual, pixel.weight), _factored(world.residual, world.weight)], 1
    )
    if by_scale:
        rows[:, 2:, :, -1] = -_factored(world.residual + seen.world_m / _WORLD_M, world.weight)
    # Where the size error v is eliminated, the squared rows are J' (I - c v v') J. The residual is at its optimum
    # already, so that the gradient stays J' r.
    size = _factored(pixel.size, pixel.weight)
    hidden = (seen.size_sigma.square() / (1 + seen.size_sigma.square() * size.square().sum((1, 2)))).sqrt()
    size = torch.nn.functional.pad(size * hidden[:, None, None], (0, 0, 0, 3))
    flat = rows.flatten(1, 2)
    pulls = (torch.stack([residual, size], 1).flatten(2).float() @ flat).double()
    hessian = (flat.mT @ flat).double()
    hessian.baddbmm_(pulls[:, 1, :, None], pulls[:, 1, None], alpha=-1)
    return NormalEquations(hessian, pulls[:, 0], pixel.total + world.cost)


def add_pose_terms(
    total: NormalEquations, parameterisation: HandParameterisation, seen: Observations, posed: PosedPoints
) -> None:
    """Add what does not depend on the landmarks: pose prior, joint limits, the network's estimates."""
    _add_angles(total, parameterisation, seen.side, posed.state)
    if seen.network is not None:
        _add_network(total, parameterisation, seen, seen.network, posed)


def reprojection_px(seen: Observations, posed: PosedPoints) -> Tensor:
    """(N, 21) distance of the projected from the observed landmarks, pixels."""
    return (project_pinhole(posed.points_m[:, LANDMARKS], seen.K) - seen.pixels).norm(dim=-1)


def pseudo_huber(error: Tensor, delta: float) -> tuple[Tensor, Tensor]:
    """Weight and cost of errors (in standard deviations); an error beyond its delta pulls no harder than one at it."""
    root = (1 + (error / delta).square()).sqrt()
    return 1 / root, delta**2 * (root - 1)


@dataclass(frozen=True)
class _PixelErrors:
    """Landmark residuals (N, 21, 2) without the size error, their weights (N, 21), and what all cost (N,).

    size (N, 21, 2): the residuals' derivative by the size error.
    """

    residual: Tensor
    weight: Tensor
    size: Tensor
    total: Tensor


def _pixel_errors(seen: Observations, posed: PosedPoints) -> _PixelErrors:
    """The residuals with the size error eliminated, which all landmarks of a hand share:
    it is what obscures the distance.

    It is eliminated at its own optimum in each frame, so the derivatives by the unknowns are unaffected.
    """
    sigma_px = _PIXEL_SHARE * seen.diagonal_px[:, None, None]
    share = seen.score[..., None] / seen.score.sum(-1)[:, None, None].clamp(min=1e-9)
    size = (seen.pixels - (seen.pixels * share).sum(1, keepdim=True)) / sigma_px
    residual = (project_pinhole(posed.points_m[:, LANDMARKS], seen.K) - seen.pixels) / sigma_px
    # Of each landmark's squared error: without a size error, and what this one adds.
    square, mixed, square_size = _dot(residual, residual), _dot(residual, size), _dot(size, size)
    precision = seen.size_sigma**-2
    expected, common, root = seen.size_error * precision, seen.size_error, torch.ones_like(seen.score)
    for _ in range(_SIZE_STEPS):
        weight = seen.score / root
        common = (expected - (weight * mixed).sum(1)) / (precision + (weight * square_size).sum(1))
        square_error = square + common[:, None] * (2 * mixed + common[:, None] * square_size)
        root = (1 + square_error.clamp(min=0) / _PIXEL_DELTA**2).sqrt()
    cost = _PIXEL_DELTA**2 * ((root - 1) * seen.score).sum(-1)
    off = (common - seen.size_error) / seen.size_sigma
    residual = residual + common[:, None, None] * size
    return _PixelErrors(residual, seen.score / root, size, cost + 0.5 * off.square())


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return first[..., 0] * second[..., 0] + first[..., 1] * second[..., 1]


def _factored(values: Tensor, weight: Tensor) -> Tensor:
    """(N, C, 21) values (N, 21, C) by the roots of their weights (N, 21)."""
    return values.transpose(1, 2) * weight.sqrt()[:, None]


def _pixel_rows(
    seen: Observations, posed: PosedPoints, weight: Tensor, jacobian: Tensor, out: Tensor
) -> None:
    """Derivatives (N, 2, 21, K) of the weighted residuals."""
    points = posed.points_m[:, LANDMARKS]
    depth = points[..., 2].clamp(min=1e-3)
    slope = (points[..., :2] / depth[..., None]).transpose(1, 2)
    focal_px = seen.K.diagonal(dim1=1, dim2=2)[:, :2, None]
    gain = focal_px * (weight.sqrt() / depth / (_PIXEL_SHARE * seen.diagonal_px[:, None]))[:, None]
    torch.mul(jacobian[:, :2], gain.float()[..., None], out=out)
    out.addcmul_((slope * gain).float()[..., None], jacobian[:, 2:], value=-1)


@dataclass(frozen=True)
class _WorldErrors:
    """World landmarks' residuals (N, 21, 3), their weights (N, 21), and what they cost (N,)."""

    residual: Tensor
    weight: Tensor
    cost: Tensor


def _world_errors(seen: Observations, posed: PosedPoints, scale: Tensor) -> _WorldErrors:
    points = posed.points_m[:, LANDMARKS]
    # In the world landmarks' own metres: in the model's, a smaller hand would always have a smaller error.
    arms = (points - points.mean(1, keepdim=True)) / scale[seen.side][:, None, None]
    residual = (arms - seen.world_m) / _WORLD_M
    weight, cost = pseudo_huber(residual.norm(dim=-1), _WORLD_DELTA)
    share = seen.score
    if seen.network is not None:
        share = share * (1 - _WORLD_READ * seen.network.confidence[:, None].clamp(max=1))
    return _WorldErrors(residual, weight * share, (cost * share).sum(-1))


def _world_rows(
    seen: Observations, errors: _WorldErrors, jacobian: Tensor, scale: Tensor, out: Tensor
) -> None:
    """Derivatives (N, 3, 21, K) of the weighted residuals."""
    gain = (errors.weight.sqrt() / (_WORLD_M * scale[seen.side][:, None])).float()
    torch.sub(jacobian, jacobian.mean(2, keepdim=True), out=out)
    out.mul_(gain[:, None, :, None])


def _angle_residuals(
    parameterisation: HandParameterisation, side: Tensor, state: HandState
) -> tuple[Tensor, Tensor, Tensor]:
    """Resting pose (N, 15, 3), tendons (N, 5) and limits (N, 15, 3)."""
    angles, free = state.angles_rad, parameterisation.is_free
    rest = (angles - parameterisation.mean_rad[side]) * (_POSE_WEIGHT * free)
    flexion = angles.unflatten(1, (5, 3))[..., 0]
    tendon = (flexion[:, :, 2] - _TENDON_RATIO * flexion[:, :, 1]) * _TENDON_WEIGHT
    low, high = parameterisation.limits_rad.unbind(-1)
    return rest, tendon, (angles - angles.clamp(low, high)) * (_LIMIT_WEIGHT * free)


def _add_angles(
    total: NormalEquations, parameterisation: HandParameterisation, side: Tensor, state: HandState
) -> None:
    rest, tendon, beyond = _angle_residuals(parameterisation, side, state)
    free, ties = parameterisation.free, _tendons(parameterisation)
    always = ties.mT @ ties + torch.diag(_POSE_WEIGHT.repeat(15)[free].square())
    total.hessian[:, FINGERS:, FINGERS:] += always
    diagonal = total.hessian.diagonal(dim1=1, dim2=2)[:, FINGERS:]
    diagonal.add_((beyond != 0).flatten(1)[:, free], alpha=_LIMIT_WEIGHT**2)
    pulled = (rest * _POSE_WEIGHT + beyond * _LIMIT_WEIGHT).flatten(1)[:, free]
    total.gradient[:, FINGERS:] += pulled + tendon @ ties
    for residual in (rest, tendon, beyond):
        total.cost.add_(residual.square().flatten(1).sum(1), alpha=0.5)


def _tendons(parameterisation: HandParameterisation) -> Tensor:
    """(5, A) derivatives of the tendons' residuals by the angles that can change."""
    ties = torch.zeros(5, 5, 9).double()
    ties[range(5), range(5), 6], ties[range(5), range(5), 3] = _TENDON_WEIGHT, -_TENDON_RATIO * _TENDON_WEIGHT
    return ties.flatten(1)[:, parameterisation.free]


def _network_errors(
    seen: Observations, network: NetworkTargets, posed: PosedPoints
) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """Residuals of root (N, 3), angles (N, 45), image-depth (N, 3), joints (N, 21, 3); cost (N,); weights."""
    state, wrist_m = posed.state, posed.state.wrist_m
    target_depth = network.wrist_m[:, 2:].clamp(min=0.05)
    target_image_depth = torch.cat([network.wrist_m[:, :2] / target_depth, target_depth.log()], -1)
    residuals = [
        log(state.root @ network.root.mT) / torch.tensor(_NETWORK_ROOT_DEG).deg2rad(),
        (state.angles_rad - network.angles_rad).flatten(1) / torch.tensor(_NETWORK_ANGLE_DEG).deg2rad(),
        (state.image_depth - target_image_depth) / _image_depth_sigma(seen),
        (posed.points_m[:, JOINTS] - wrist_m[:, None] - network.joints_m) / _NETWORK_JOINT_M,
    ]
    weights, cost = [], torch.zeros_like(network.confidence)
    for residual in residuals:
        # One weight per row for directions that err together; joints and angles have a weight each.
        error = residual.abs() if residual.shape[-1] == 45 else residual.norm(dim=-1, keepdim=True)
        weight, term = pseudo_huber(error, _NETWORK_DELTA)
        trust = network.confidence.reshape(-1, *[1] * (weight.dim() - 1))
        weights.append(weight * trust)
        cost = cost + (term * trust).flatten(1).sum(-1)
    return residuals, cost, weights


def _image_depth_sigma(seen: Observations) -> Tensor:
    """(N, 3) sigmas of a fully confident network's image position and logarithmic distance."""
    depth = torch.where(seen.seen, _NETWORK_DEPTH_BESIDE, _NETWORK_DEPTH_ALONE)[:, None].double()
    return torch.cat([torch.full((len(seen), 2), _NETWORK_IMAGE).double(), depth], -1)


def _add_network(
    total: NormalEquations,
    parameterisation: HandParameterisation,
    seen: Observations,
    network: NetworkTargets,
    posed: PosedPoints,
) -> None:
    (root, angles, image_depth, joints), cost, weights = _network_errors(seen, network, posed)
    factor = weights[3][..., 0].sqrt()
    rows = posed.joints_jacobian * (factor / _NETWORK_JOINT_M).float()[:, None, :, None]
    rows[..., :3] = 0  # the joints are compared about the wrist
    residual = (joints * factor[..., None]).transpose(1, 2).flatten(1)
    flat = rows.flatten(1, 2)
    total.hessian.add_(flat.mT @ flat)
    total.gradient.add_((residual.float()[:, None] @ flat)[:, 0])
    total.cost.add_(cost)
    free = parameterisation.free
    gains = [
        (slice(0, 3), image_depth, weights[2], 1 / _image_depth_sigma(seen)),
        (ROOT, root, weights[0], 1 / torch.tensor(_NETWORK_ROOT_DEG).double().deg2rad()),
        (
            slice(FINGERS, parameterisation.size),
            angles[:, free],
            weights[1][:, free],
            1 / torch.tensor(_NETWORK_ANGLE_DEG).double().deg2rad(),
        ),
    ]
    diagonal = total.hessian.diagonal(dim1=1, dim2=2)
    for where, residual, weight, gain in gains:
        diagonal[:, where] += weight * gain**2
        total.gradient[:, where] += weight * gain * residual
