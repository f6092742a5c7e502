# SPDX-License-Identifier: GPL-3.0-or-later
"""Residuals of a single frame: landmarks, world landmarks, pose prior, joint limits, the network's estimates.

Each term adds its weighted squared residuals to the normal equations of the unknowns (parameterisation), linearised
at the current state. Robust terms use their current weights (pseudo-Huber: quadratic near zero, linear far out).
Residuals are in units of their own standard deviation.
"""

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


@dataclass(frozen=True)
class Rows:
    """Weighted residuals (N, R), their derivatives by the unknowns (N, R, D), and their cost (N,).

    The first two are in single precision.
    """

    residual: Tensor
    jacobian: Tensor
    cost: Tensor


def frame_cost(seen: Observations, posed: PosedPoints, world_scale: Tensor) -> Tensor:
    """(N,) cost of the posed hands, without derivatives."""
    cost = _pixel_errors(seen, posed).total + _world_errors(seen, posed, world_scale)[1].sum(-1)
    for residual in _angle_residuals(posed.parameterisation, seen.side, posed.state):
        cost = cost + 0.5 * residual.square().sum((1, 2))
    if seen.network is not None:
        cost = cost + _network_errors(seen, seen.network, posed)[1]
    return cost


def frame_normal(
    parameterisation: HandParameterisation, seen: Observations, posed: PosedPoints, world_scale: Tensor
) -> NormalEquations:
    """Normal equations of all single-frame terms. world_scale (S,): the model's size over the world's."""
    jacobian = posed.jacobian(LANDMARKS)
    total = _nothing(parameterisation, len(seen))
    _add_rows(total, _pixel_rows(seen, posed, jacobian))
    _add_rows(total, _world_rows(seen, posed, jacobian, world_scale))
    _add_angles(total, parameterisation, seen.side, posed.state)
    if seen.network is not None:
        _add_network(total, parameterisation, seen, seen.network, posed)
    return total


def _nothing(parameterisation: HandParameterisation, count: int) -> NormalEquations:
    size = parameterisation.size
    hessian, gradient = torch.zeros(count, size, size).double(), torch.zeros(count, size).double()
    return NormalEquations(hessian, gradient, torch.zeros(count).double())


def _add_rows(total: NormalEquations, rows: Rows) -> None:
    total.hessian.add_(rows.jacobian.mT @ rows.jacobian)
    total.gradient.add_((rows.residual[:, None] @ rows.jacobian)[:, 0])
    total.cost.add_(rows.cost)


def landmark_rows(
    seen: Observations, posed: PosedPoints, points_jacobian: Tensor, world_scale: Tensor
) -> Rows:
    """Landmark and world rows for any derivatives (N, 3, 21, K) of the landmarks."""
    pixel = _pixel_rows(seen, posed, points_jacobian)
    world = _world_rows(seen, posed, points_jacobian, world_scale)
    return Rows(
        torch.cat([pixel.residual, world.residual], 1),
        torch.cat([pixel.jacobian, world.jacobian], 1),
        pixel.cost + world.cost,
    )


def world_scale_column(seen: Observations, posed: PosedPoints, world_scale: Tensor) -> Tensor:
    """(N, R, 1) derivatives of landmark_rows' residuals by the logarithm of the world scale."""
    residual, _, weight = _world_errors(seen, posed, world_scale)
    arms = residual + seen.world_m / _WORLD_M
    world = -(arms.transpose(1, 2) * weight.sqrt()[:, None, :]).flatten(1)
    return torch.cat([world.new_zeros(len(seen), 42), world], 1)[..., None]


def reprojection_px(seen: Observations, posed: PosedPoints) -> Tensor:
    """(N, 21) distance of the projected from the observed landmarks, pixels."""
    return (project_pinhole(posed.points_m[:, LANDMARKS], seen.K) - seen.pixels).norm(dim=-1)


def pseudo_huber(error: Tensor, delta: float) -> tuple[Tensor, Tensor]:
    """Weight and cost of errors (in standard deviations); an error beyond its delta pulls no harder than one at it."""
    root = (1 + (error / delta).square()).sqrt()
    return 1 / root, delta**2 * (root - 1)


@dataclass(frozen=True)
class _PixelErrors:
    """Landmark residuals (N, 21, 2) without the size error, their weights and costs (N, 21).

    size (N, 21, 2): the residuals' derivative by the size error; size_cost (N,).
    """

    residual: Tensor
    weight: Tensor
    cost: Tensor
    size: Tensor
    size_cost: Tensor

    @property
    def total(self) -> Tensor:
        """(N,) what they cost."""
        return self.cost.sum(-1) + self.size_cost


def _pixel_errors(seen: Observations, posed: PosedPoints) -> _PixelErrors:
    """The residuals with the size error eliminated, which all landmarks of a hand share:
    it is what obscures the distance.

    It is eliminated at its own optimum in each frame, so the derivatives by the unknowns are unaffected.
    """
    sigma_px = _PIXEL_SHARE * seen.diagonal_px[:, None, None]
    share = seen.score[..., None] / seen.score.sum(-1)[:, None, None].clamp(min=1e-9)
    size = (seen.pixels - (seen.pixels * share).sum(1, keepdim=True)) / sigma_px
    residual = (project_pinhole(posed.points_m[:, LANDMARKS], seen.K) - seen.pixels) / sigma_px
    weight = seen.score
    error = residual
    size_error, expected = seen.size_error, seen.size_error * seen.size_sigma**-2
    for _ in range(_SIZE_STEPS):
        own = (weight[..., None] * size).flatten(1)
        slope, curvature = (own * residual.flatten(1)).sum(1), (own * size.flatten(1)).sum(1)
        size_error = (expected - slope) / (seen.size_sigma**-2 + curvature)
        error = residual + size_error[:, None, None] * size
        weight = pseudo_huber(error.norm(dim=-1), _PIXEL_DELTA)[0] * seen.score
    cost = pseudo_huber(error.norm(dim=-1), _PIXEL_DELTA)[1] * seen.score
    off = (size_error - seen.size_error) / seen.size_sigma
    return _PixelErrors(error, weight, cost, size, 0.5 * off.square())


def _pixel_rows(seen: Observations, posed: PosedPoints, jacobian: Tensor) -> Rows:
    points = posed.points_m[:, LANDMARKS]
    errors = _pixel_errors(seen, posed)
    factor = errors.weight.sqrt()[:, None, :]
    depth = points[..., 2].clamp(min=1e-3)
    slope = (points[..., :2] / depth[..., None]).transpose(1, 2)
    focal_px = seen.K.diagonal(dim1=1, dim2=2)[:, :2, None]
    gain = focal_px * factor / depth[:, None] / (_PIXEL_SHARE * seen.diagonal_px[:, None, None])
    rows = jacobian[:, :2] * gain.float()[..., None]
    rows = rows.addcmul_((slope * gain).float()[..., None], jacobian[:, 2:], value=-1).flatten(1, 2)
    residual, size = ((value.transpose(1, 2) * factor).flatten(1) for value in (errors.residual, errors.size))
    # With the size error eliminated, the squared rows are J' (I - c v v') J: rows (I - k v v') J, with the
    # residual chosen so that the gradient remains J' r.
    length = size.square().sum(1).clamp(min=1e-12)
    kept = (1 / (1 + seen.size_sigma.square() * length)).sqrt()
    k = (1 - kept) / length
    back = residual + ((k / kept) * (size * residual).sum(1))[:, None] * size
    along = size.float()[:, None] @ rows
    rows = torch.baddbmm(rows, (-k[:, None] * size).float()[..., None], along)
    return Rows(back.float(), rows, errors.total)


def _world_errors(seen: Observations, posed: PosedPoints, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    points = posed.points_m[:, LANDMARKS]
    # In the world landmarks' own metres: in the model's, a smaller hand would always have a smaller error.
    arms = (points - points.mean(1, keepdim=True)) / scale[seen.side][:, None, None]
    residual = (arms - seen.world_m) / _WORLD_M
    weight, cost = pseudo_huber(residual.norm(dim=-1), _WORLD_DELTA)
    share = seen.score
    if seen.network is not None:
        share = share * (1 - _WORLD_READ * seen.network.confidence[:, None].clamp(max=1))
    return residual, cost * share, weight * share


def _world_rows(seen: Observations, posed: PosedPoints, jacobian: Tensor, scale: Tensor) -> Rows:
    residual, cost, weight = _world_errors(seen, posed, scale)
    factor = weight.sqrt()[:, None, :]
    gain = (factor / (_WORLD_M * scale[seen.side][:, None, None])).float()
    arms = (jacobian - jacobian.mean(2, keepdim=True)) * gain[..., None]
    return Rows((residual.transpose(1, 2) * factor).flatten(1).float(), arms.flatten(1, 2), cost.sum(-1))


def _pose_weight() -> Tensor:
    return 1 / torch.tensor(_POSE_DEG).double().deg2rad()


def _angle_residuals(
    parameterisation: HandParameterisation, side: Tensor, state: HandState
) -> tuple[Tensor, Tensor, Tensor]:
    """Resting pose (N, 15, 3), tendons (N, 5, 1) and limits (N, 15, 3)."""
    angles = state.angles_rad
    rest = (angles - parameterisation.mean_rad[side]) * _pose_weight()
    flexion = angles.unflatten(1, (5, 3))[..., 0]
    tendon = (flexion[:, :, 2:] - _TENDON_RATIO * flexion[:, :, 1:2]) / torch.tensor(_TENDON_DEG).deg2rad()
    low, high = parameterisation.limits_rad.unbind(-1)
    beyond = (angles - high).clamp(min=0) - (low - angles).clamp(min=0)
    free = torch.zeros(45).double().index_fill(0, parameterisation.free, 1.0).unflatten(0, (15, 3))
    return rest * free, tendon, beyond / torch.tensor(_LIMIT_DEG).deg2rad() * free


def _add_angles(
    total: NormalEquations, parameterisation: HandParameterisation, side: Tensor, state: HandState
) -> None:
    rest, tendon, beyond = _angle_residuals(parameterisation, side, state)
    free, limit_weight = parameterisation.free, 1 / torch.tensor(_LIMIT_DEG).double().deg2rad()
    diagonal = _pose_weight().square() + limit_weight.square() * (beyond != 0)
    ties = torch.zeros(5, 45).double()
    ties[torch.arange(5), torch.arange(5) * 9 + 6] = 1.0
    ties[torch.arange(5), torch.arange(5) * 9 + 3] = -_TENDON_RATIO
    ties = ties[:, free] / torch.tensor(_TENDON_DEG).double().deg2rad()
    total.hessian[:, FINGERS:, FINGERS:] += ties.mT @ ties
    total.hessian.diagonal(dim1=1, dim2=2)[:, FINGERS:] += diagonal.flatten(1)[:, free]
    pulled = (rest * _pose_weight() + beyond * limit_weight).flatten(1)[:, free]
    total.gradient[:, FINGERS:] += pulled + tendon[..., 0] @ ties
    for residual in (rest, tendon, beyond):
        total.cost.add_(residual.square().sum((1, 2)), alpha=0.5)


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
    _add_rows(total, Rows(residual.float(), rows.flatten(1, 2), cost))
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
