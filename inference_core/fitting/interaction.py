# SPDX-License-Identifier: GPL-3.0-or-later
"""What the two hands of a frame say about each other: their surfaces do not pass through one another, and the
network knows how far apart their wrists are.

A term that ties two hands would double the bandwidth of the shot's equations. So each hand is moved with the
other held where it is, by its share of the correction, under a bound that is never below the true cost:
(x + y)^2 <= x^2 / a + y^2 / (1 - a).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from inference_core.fitting.observations import Observations
from inference_core.fitting.parameterisation import HandParameterisation, HandState, PosedPoints, pose_points
from inference_core.fitting.residuals import JOINTS, NormalEquations, pseudo_huber
from inference_core.hand_model.hand import HandModel
from inference_core.shared.skeleton import PARENTS_21, TIPS_21

# Skin gives way: this much of an overlap costs nothing.
_SOFT_M, _CONTACT_M, _CONTACT_DELTA = 0.002, 0.003, 3.0
# A sphere is as wide as its nearest vertices are far on average, and no wider than a palm is thick.
_NEAREST_VERTICES, _WIDEST_M = 24, 0.014
_NEAR_M = 0.40
_OFFSET_M, _OFFSET_DELTA = 0.015, 3.0
# Of a correction, what a hand that only the network sees takes from one that landmarks hold.
_UNSEEN_SHARE = 0.9


@dataclass(frozen=True)
class Spheres:
    """Spheres along the bones: centres as blends (M, 42) of the parameterisation's points, radii_m (S, M)."""

    blend: Tensor
    radii_m: Tensor


def hand_spheres(model: HandModel, parameterisation: HandParameterisation) -> Spheres:
    """Spheres at the joints and half-way between them, as wide as the rest hand's skin lets them be."""
    joints = torch.eye(21).double()
    parents = torch.as_tensor(PARENTS_21[1:])
    palm = torch.tensor([5, 9, 13, 17])
    tips = torch.as_tensor(TIPS_21)
    inside = joints.clone()
    inside[tips] = 0.7 * joints[tips] + 0.3 * joints[tips - 1]
    blend = torch.cat([inside, (joints[1:] + joints[parents]) / 2, 0.75 * joints[palm] + 0.25 * joints[:1]])
    rest = model.to("cpu", torch.float64).with_shape(parameterisation.betas)
    vertices_m = rest.rest_vertices_m - rest.rest_joints_m[:, :1]
    centres_m = blend @ parameterisation.points_m[:, JOINTS]
    nearest_m = torch.cdist(centres_m, vertices_m).topk(_NEAREST_VERTICES, largest=False).values
    radii_m = nearest_m.mean(-1).clamp(max=_WIDEST_M)
    return Spheres(torch.cat([torch.zeros_like(blend), blend], 1), radii_m)


def between_normal(
    parameterisation: HandParameterisation, seen: Observations, posed: PosedPoints, spheres: Spheres | None
) -> NormalEquations:
    """NormalEquations equations (N) of contact and offset; spheres None leaves contact out."""
    count, size = len(seen), parameterisation.size
    out = NormalEquations(
        torch.zeros(count, size, size).double(),
        torch.zeros(count, size).double(),
        torch.zeros(count).double(),
    )
    left, right = _pairs(seen)
    if spheres is not None:
        _add_contact(out, posed, spheres, left, right)
    if seen.network is not None:
        _add_offset(out, seen, posed, left, right)
    return out


def between_cost(
    parameterisation: HandParameterisation, seen: Observations, state: HandState, spheres: Spheres | None
) -> Tensor:
    """Cost of contact and offset over all hand frames, without derivatives."""
    left, right = _pairs(seen)
    posed = pose_points(parameterisation, seen.side, state)
    cost = torch.zeros(()).double()
    if spheres is not None and len(left):
        near = _near(posed, left, right)
        overlap = _overlaps(posed, spheres, left[near], right[near])[0]
        cost = cost + pseudo_huber(overlap, _CONTACT_DELTA)[1].sum()
    if seen.network is not None:
        cost = cost + _offset(seen, posed, left, right)[2].sum()
    return cost


def _pairs(seen: Observations) -> tuple[Tensor, Tensor]:
    """Indices of the left hand frames that have a right one in the same frame, and of that one."""
    left = ((seen.side == 0) & (seen.other >= 0)).nonzero()[:, 0]
    return left, seen.other[left]


def _near(posed: PosedPoints, left: Tensor, right: Tensor) -> Tensor:
    middles = posed.joints_m[:, 4]
    return ((middles[left] - middles[right]).norm(dim=-1) < _NEAR_M).nonzero()[:, 0]


def _overlaps(
    posed: PosedPoints, spheres: Spheres, left: Tensor, right: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """For each of the left spheres: the deepest overlap (n, M) in units of its sigma, with which right sphere
    (n, M), and the direction (n, M, 3) in which the left one leaves it."""
    first, second = spheres.blend @ posed.points_m[left], spheres.blend @ posed.points_m[right]
    reach_m = spheres.radii_m[0][:, None] + spheres.radii_m[1][None] - _SOFT_M
    depth_m, partner = (reach_m - torch.cdist(first, second)).max(-1)
    apart = first - second.gather(1, partner[..., None].expand(-1, -1, 3))
    away = torch.nn.functional.normalize(apart, dim=-1)
    return depth_m.clamp(min=0) / _CONTACT_M, partner, away


def _add_contact(
    out: NormalEquations, posed: PosedPoints, spheres: Spheres, left: Tensor, right: Tensor
) -> None:
    near = _near(posed, left, right)
    overlap, partner, away = _overlaps(posed, spheres, left[near], right[near])
    touching = (overlap > 0).any(-1).nonzero()[:, 0]
    if not len(touching):
        return
    overlap, partner, away = overlap[touching], partner[touching], away[touching]
    weight, cost = pseudo_huber(overlap, _CONTACT_DELTA)
    pull = (weight * (overlap > 0)).sqrt()
    for own, which, sign in ((left, None, -1.0), (right, partner, 1.0)):
        hands = own[near][touching]
        some = PosedPoints(
            posed.parameterisation,
            posed.state.take(hands),
            posed.points_m[hands],
            posed.rotations[hands],
            posed.joints_m[hands],
            posed.rotation_axes[hands],
        )
        moved = spheres.blend @ some.jacobian(slice(0, spheres.blend.shape[1]))
        if which is not None:
            moved = moved.gather(2, which[:, None, :, None].expand(-1, 3, -1, moved.shape[-1]))
        rows = sign * (away.transpose(1, 2)[..., None] * moved).sum(1) * pull[..., None] / _CONTACT_M
        out.hessian.index_add_(0, hands, 2 * rows.mT @ rows)
        out.gradient.index_add_(0, hands, (rows.mT @ (pull * overlap)[..., None])[..., 0])
        out.cost.index_add_(0, hands, 0.5 * cost.sum(-1))


def _offset(
    seen: Observations, posed: PosedPoints, left: Tensor, right: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Right wrist minus left wrist, less the network's (n, 3), in units of its sigma; weight, cost (n,)."""
    assert seen.network is not None
    wrist_m = posed.state.wrist_m
    residual = (wrist_m[right] - wrist_m[left] - seen.network.from_other_m[right]) / _OFFSET_M
    weight, cost = pseudo_huber(residual.norm(dim=-1), _OFFSET_DELTA)
    trust = torch.minimum(seen.network.confidence[left], seen.network.confidence[right])
    return residual, weight * trust, cost * trust


def _add_offset(
    out: NormalEquations, seen: Observations, posed: PosedPoints, left: Tensor, right: Tensor
) -> None:
    residual, weight, cost = _offset(seen, posed, left, right)
    held = seen.seen.to(weight.dtype)
    right_share = 0.5 + (_UNSEEN_SHARE - 0.5) * (held[left] - held[right])
    for own, sign, share in ((right, 1.0, right_share), (left, -1.0, 1 - right_share)):
        wrist_m = posed.state.wrist_m[own]
        rows = torch.zeros(len(own), 3, posed.parameterisation.size).double()
        rows[:, 0, 0] = rows[:, 1, 1] = wrist_m[:, 2]
        rows[:, :, 2] = wrist_m
        rows = rows * sign / _OFFSET_M
        weighted = rows * weight[:, None, None]
        out.hessian.index_add_(0, own, rows.mT @ weighted / share[:, None, None])
        out.gradient.index_add_(0, own, (weighted.mT @ residual[..., None])[..., 0])
        out.cost.index_add_(0, own, 0.5 * cost)
