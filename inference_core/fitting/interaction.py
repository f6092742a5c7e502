# SPDX-License-Identifier: GPL-3.0-or-later
"""What the two hands of a frame say about each other.

Their surfaces do not pass through one another; where they touch (contact) they are drawn together until they meet
and no further, and move in depth as one; the network knows how far apart the wrists are. Left and right of a frame
are one block of unknowns.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from inference_core.fitting.capsules import Capsules, closest_points
from inference_core.fitting.contact import Contact
from inference_core.fitting.observations import Observations
from inference_core.fitting.parameterisation import DEPTH, PosedPoints
from inference_core.fitting.residuals import JOINTS, pseudo_huber

# Skin gives way: this much of an overlap costs nothing.
_SOFT_M, _OVERLAP_M, _OVERLAP_DELTA = 0.001, 0.0015, 4.0
_CONTACT_M, _CONTACT_DELTA = 0.003, 4.0
_NEAR_M = 0.40
# Of the capsules whose outlines meet, so many are drawn together; one that is farther away by this counts a third.
_DRAWN, _NEXT_M, _LEAST_SHARE = 10, 0.006, 0.02
# The network's offset between the wrists, across the line of sight and along it.
_OFFSET_ACROSS_M, _OFFSET_ALONG_M, _OFFSET_DELTA = 0.015, 0.015, 3.0
# Of hands in contact: how far one may leave the other in depth within a frame time, as a share of the distance.
_SLIP_DEPTH = 0.003


@dataclass(frozen=True)
class PairEquations:
    """Normal equations of P pairs of hand frames: left, right (P,) into the list; hessian (P, 2, D, 2, D),
    gradient (P, 2, D) of left, right; cost ()."""

    left: Tensor
    right: Tensor
    hessian: Tensor
    gradient: Tensor
    cost: Tensor


@dataclass(frozen=True)
class Draws:
    """Pairs of capsules that are drawn together: capsules (P, K) flat indices left * C + right, share (P, K) 0..1."""

    capsules: Tensor
    share: Tensor

    def take(self, pair: Tensor) -> "Draws":
        """Those of the given pairs of hands."""
        return Draws(self.capsules[pair], self.share[pair])


@dataclass(frozen=True)
class DepthTies:
    """Squared differences of two hands' logarithmic depths from one frame to the next: pairs (Q,) of `PairEquations`,
    each with the one that follows, weight (Q,), residual (Q,)."""

    pair: Tensor
    following: Tensor
    weight: Tensor
    residual: Tensor

    @property
    def cost(self) -> Tensor:
        """What they cost together."""
        return 0.5 * (self.weight * self.residual.square()).sum()


def pair_equations(
    seen: Observations, posed: PosedPoints, capsules: Capsules | None, draws: Draws | None
) -> PairEquations:
    """Normal equations of what ties the two hands of each frame; capsules None leaves surfaces out."""
    left, right = pairs(seen)
    size = posed.parameterisation.size
    hessian = torch.zeros(len(left), 2, size, 2, size).double()
    gradient, cost = torch.zeros(len(left), 2, size).double(), torch.zeros(()).double()
    if capsules is not None and len(left):
        meetings = _meetings(posed, capsules, draws, left, right)
        rows = meetings.rows(posed)
        flat = rows.flatten(2)
        hessian.index_add_(0, meetings.pair, (flat.mT @ flat).reshape(-1, 2, size, 2, size))
        pulled = (flat.mT @ (meetings.residual * meetings.weight.sqrt())[..., None])[..., 0]
        gradient.index_add_(0, meetings.pair, pulled.unflatten(1, (2, size)))
        cost = cost + meetings.cost
    if seen.network is not None and len(left):
        residual, weight, sigma_inverse, offset_cost = _offset(seen, posed, left, right)
        rows = torch.stack([-_wrist_rows(posed, left), _wrist_rows(posed, right)], 2)
        rows = (sigma_inverse @ rows.flatten(2)).unflatten(2, (2, size)) * weight.sqrt()[:, None, None, None]
        flat = rows.flatten(2)
        hessian += (flat.mT @ flat).reshape(-1, 2, size, 2, size)
        pulled = flat.mT @ (residual * weight.sqrt()[:, None])[..., None]
        gradient += pulled[..., 0].unflatten(1, (2, size))
        cost = cost + offset_cost.sum()
    return PairEquations(left, right, hessian, gradient, cost)


def pair_cost(
    seen: Observations, posed: PosedPoints, capsules: Capsules | None, draws: Draws | None
) -> Tensor:
    """Cost of the same, without derivatives."""
    left, right = pairs(seen)
    cost = torch.zeros(()).double()
    if capsules is not None and len(left):
        cost = cost + _meetings(posed, capsules, draws, left, right).cost
    if seen.network is not None and len(left):
        cost = cost + _offset(seen, posed, left, right)[3].sum()
    return cost


def draws(contact: Contact, seen: Observations, posed: PosedPoints, capsules: Capsules) -> Draws:
    """What contact draws together as the hands stand now: of the capsules whose outlines meet, the nearest ones,
    and all fingertips that meet."""
    left, right = pairs(seen)
    first, second = (capsules.ends_m(posed.points_m[at, JOINTS]) for at in (left, right))
    along, across = closest_points(first[:, :, None], second[:, None])
    gap_m = _gap_m(first, second, along, across, capsules).clamp(min=0)
    far_m = torch.where(contact.outlines > 0.3, gap_m, 1.0).flatten(1).amin(1)
    share = torch.exp(-(gap_m - far_m[:, None, None]).clamp(min=0) / _NEXT_M) * contact.outlines
    share = torch.maximum(share, contact.tips)
    share, capsule = (share.flatten(1) * contact.hands[:, None]).topk(_DRAWN, dim=1)
    return Draws(capsule, torch.where(share > _LEAST_SHARE, share, 0.0))


def depth_ties(seen: Observations, depth: Tensor, contact: Contact | None) -> DepthTies:
    """Of hands in contact, how one leaves the other in logarithmic depth (N,) from frame to frame."""
    left, right = pairs(seen)
    if contact is None or len(left) < 2:
        nothing = torch.zeros(0)
        return DepthTies(nothing.long(), nothing.long(), nothing.double(), nothing.double())
    pair = torch.arange(len(left) - 1)
    steps = seen.time[left][1:] - seen.time[left][:-1]
    probability = torch.minimum(contact.hands[1:], contact.hands[:-1])
    follows = (torch.diff(seen.frame[left]) == 1) & (probability > 0.01) & (steps < 3)
    pair = pair[follows]
    apart = depth[right] - depth[left]
    weight = probability[follows] / (_SLIP_DEPTH**2 * steps[follows])
    return DepthTies(pair, pair + 1, weight, apart[pair + 1] - apart[pair])


def pairs(seen: Observations) -> tuple[Tensor, Tensor]:
    """Indices of the left hand frames that have a right one in the same frame, and of that one."""
    left = ((seen.side == 0) & (seen.other >= 0)).nonzero()[:, 0]
    return left, seen.other[left]


@dataclass(frozen=True)
class _Meetings:
    """Capsules that overlap or are to touch: pair (n,) of the pairs of hands; left, right (n,) hand frames; blends
    (n, R, 21) of the two points of each meeting; away (n, R, 3) unit vectors from the right point to the left;
    residual, weight (n, R); cost ()."""

    pair: Tensor
    left: Tensor
    right: Tensor
    left_blend: Tensor
    right_blend: Tensor
    away: Tensor
    scale: Tensor
    residual: Tensor
    weight: Tensor
    cost: Tensor

    def rows(self, posed: PosedPoints) -> Tensor:
        """(n, R, 2, D) weighted derivatives of the residuals."""
        gain = (self.weight.sqrt() * self.scale)[..., None]
        hands = [(self.left, self.left_blend, 1.0), (self.right, self.right_blend, -1.0)]
        return torch.stack(
            [sign * gain * _moved_along(posed.take(at), blend, self.away) for at, blend, sign in hands], 2
        )


def _moved_along(posed: PosedPoints, blend: Tensor, direction: Tensor) -> Tensor:
    """(n, R, D) how points that blend the joints move along a direction."""
    jacobian = posed.jacobian(JOINTS)
    count, _, joints, size = jacobian.shape
    along = (direction @ jacobian.flatten(2)).reshape(count, -1, joints, size)
    return (blend[:, :, None] @ along)[:, :, 0]


def _meetings(
    posed: PosedPoints, capsules: Capsules, draws: Draws | None, left: Tensor, right: Tensor
) -> _Meetings:
    pair = _near(posed, left, right, draws).nonzero()[:, 0]
    left, right = left[pair], right[pair]
    draws = None if draws is None else draws.take(pair)
    first, second = (capsules.ends_m(posed.points_m[at, JOINTS]) for at in (left, right))
    along, across = closest_points(first[:, :, None], second[:, None])
    gap_m = _gap_m(first, second, along, across, capsules)
    bones = first.shape[1]
    depth_m, partner = (-gap_m - _SOFT_M).max(-1)
    index = torch.arange(bones).expand(len(pair), -1) * bones + partner
    residual, scale = depth_m.clamp(min=0) / _OVERLAP_M, torch.full_like(depth_m, -1 / _OVERLAP_M)
    weight, cost = pseudo_huber(residual, _OVERLAP_DELTA)
    weight = weight * (residual > 0)
    if draws is not None:
        drawn, share = draws.capsules, draws.share
        drawn_gap = gap_m.flatten(1).gather(1, drawn).clamp(min=0) / _CONTACT_M
        drawn_weight, drawn_cost = pseudo_huber(drawn_gap, _CONTACT_DELTA)
        index, residual = torch.cat([index, drawn], 1), torch.cat([residual, drawn_gap], 1)
        scale = torch.cat([scale, torch.full_like(drawn_gap, 1 / _CONTACT_M)], 1)
        weight = torch.cat([weight, drawn_weight * share * (drawn_gap > 0)], 1)
        cost = torch.cat([cost, drawn_cost * share], 1)
    chosen_along, chosen_across = (share.flatten(1).gather(1, index) for share in (along, across))
    left_blend = _blended(capsules, index // bones, chosen_along)
    right_blend = _blended(capsules, index % bones, chosen_across)
    apart = left_blend @ posed.points_m[left, JOINTS] - right_blend @ posed.points_m[right, JOINTS]
    away = torch.nn.functional.normalize(apart, dim=-1)
    return _Meetings(pair, left, right, left_blend, right_blend, away, scale, residual, weight, cost.sum())


def _near(posed: PosedPoints, left: Tensor, right: Tensor, draws: Draws | None) -> Tensor:
    middles = posed.joints_m[:, 4]
    near = (middles[left] - middles[right]).norm(dim=-1) < _NEAR_M
    return near if draws is None else near | (draws.share > 0).any(-1)


def _gap_m(first: Tensor, second: Tensor, along: Tensor, across: Tensor, capsules: Capsules) -> Tensor:
    """(n, C, C) distance between the surfaces of the capsules."""
    own = torch.lerp(first[:, :, None, 0], first[:, :, None, 1], along[..., None])
    other = torch.lerp(second[:, None, :, 0], second[:, None, :, 1], across[..., None])
    return (own - other).norm(dim=-1) - capsules.radii_m[0][:, None] - capsules.radii_m[1]


def _blended(capsules: Capsules, bone: Tensor, share: Tensor) -> Tensor:
    ends = capsules.ends[bone]
    return torch.lerp(ends[..., 0, :], ends[..., 1, :], share[..., None])


def _offset(
    seen: Observations, posed: PosedPoints, left: Tensor, right: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Right wrist minus left wrist, less the network's (P, 3), in units of sigma; weight (P,); the inverse square
    root of the covariance (P, 3, 3); cost (P,)."""
    assert seen.network is not None
    wrist_m = posed.state.wrist_m
    theirs_m = seen.network.wrist_m
    ray = torch.nn.functional.normalize(theirs_m[left] + theirs_m[right], dim=-1)
    along = ray[:, :, None] * ray[:, None]
    sigma_inverse = (torch.eye(3).double() - along) / _OFFSET_ACROSS_M + along / _OFFSET_ALONG_M
    error_m = wrist_m[right] - wrist_m[left] - seen.network.from_other_m[right]
    residual = (sigma_inverse @ error_m[..., None])[..., 0]
    weight, cost = pseudo_huber(residual.norm(dim=-1), _OFFSET_DELTA)
    trust = torch.minimum(seen.network.confidence[left], seen.network.confidence[right])
    return residual, weight * trust, sigma_inverse, cost * trust


def _wrist_rows(posed: PosedPoints, own: Tensor) -> Tensor:
    """(P, 3, D) derivatives of the wrists."""
    wrist_m = posed.state.wrist_m[own]
    rows = torch.zeros(len(own), 3, posed.parameterisation.size).double()
    rows[:, 0, 0] = rows[:, 1, 1] = wrist_m[:, 2]
    rows[:, :, DEPTH.start] = wrist_m
    return rows
