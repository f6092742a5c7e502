# SPDX-License-Identifier: GPL-3.0-or-later
"""Residuals between the two hands of a frame.

Their surfaces do not intersect. Where they touch (contact), they are pulled together until they meet,
and move together in depth. The network predicts the offset between the wrists. A frame's left and right
hand are one block of unknowns.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from inference_core.fitting.capsules import Capsules, Nearest, nearest_points
from inference_core.fitting.contact import Contact
from inference_core.fitting.network_offset import network_offset
from inference_core.fitting.observations import Observations, pairs
from inference_core.fitting.parameterisation import DEPTH, IMAGE, PosedPoints
from inference_core.fitting.residuals import JOINTS, pseudo_huber
from inference_core.fitting.skin import Overlaps

# Skin is soft: this much overlap costs nothing.
_SOFT_M, _OVERLAP_M, _OVERLAP_DELTA = 0.001, 0.0015, 4.0
# What lies deeper in the other hand than skin gives way; its sigma is the fit's, which gets harder (polish).
_GIVES_WAY_M = 0.003
_CONTACT_M, _CONTACT_DELTA = 0.003, 4.0
# At most this many pairs of capsules are pulled together; one farther apart than the nearest by this distance
# counts a third.
_DRAWN, _NEXT_M, _LEAST_SHARE = 20, 0.006, 0.01
# For hands in contact: how far their depths may diverge within a frame time, as a share of the distance.
_SLIP_DEPTH = 0.003
_WRIST = slice(IMAGE.start, DEPTH.stop)
# Hands whose probability of touching is lower are not pulled together.
_LEAST_CONTACT = 1e-3


@dataclass(frozen=True)
class HandPairs:
    """The P pairs of hands of one frame in their current poses.

    left, right (P,): hand frames. near (n,): the pairs whose surfaces may meet or are pulled together, with their
    capsules' closest points; None ignores surfaces.
    """

    posed: PosedPoints
    left: Tensor
    right: Tensor
    near: Tensor
    nearest: Nearest | None


@dataclass(frozen=True)
class PairEquations:
    """Normal equations of P pairs of hand frames.

    left, right (P,): indices in the list. hessian (P, 2, D, 2, D), gradient (P, 2, D) of left, right; cost (P,).
    """

    left: Tensor
    right: Tensor
    hessian: Tensor
    gradient: Tensor
    cost: Tensor


@dataclass(frozen=True)
class Draws:
    """Pairs of capsules that are pulled together: capsules (P, K), flat indices left * C + right; share (P, K) 0..1."""

    capsules: Tensor
    share: Tensor


@dataclass(frozen=True)
class DepthTies:
    """Squared changes of the difference of two hands' logarithmic depths between frames.

    pairs (Q,): of `PairEquations`, each with the one that follows. weight (Q,), residual (Q,).
    """

    pair: Tensor
    following: Tensor
    weight: Tensor
    residual: Tensor

    @property
    def cost(self) -> Tensor:
        """(Q,) what they cost."""
        return 0.5 * self.weight * self.residual.square()


def hand_pairs(
    seen: Observations, posed: PosedPoints, capsules: Capsules | None, contact: Contact | None
) -> HandPairs:
    """The posed hands in pairs; capsules None ignores surfaces."""
    left, right = pairs(seen)
    if capsules is None or not len(left):
        return HandPairs(posed, left, right, left[:0], None)
    left_m, right_m = (capsules.ends_m(posed.points_m[at, JOINTS]) for at in (left, right))
    may_meet = _boxes_meet(left_m, right_m, 2 * float(capsules.radii_m.max()))
    if contact is not None:
        may_meet = may_meet | (contact.hands > _LEAST_CONTACT)
    near = may_meet.nonzero()[:, 0]
    return HandPairs(posed, left, right, near, nearest_points(left_m[near], right_m[near], capsules))


@dataclass(frozen=True)
class HardSkin:
    """Places in which skins intersect, and how hard they are: sigma of what lies deeper than skin gives way."""

    overlaps: Overlaps
    sigma_m: float

    def take(self, rows: Tensor) -> "HardSkin":
        """Those of the pairs of the given indices."""
        return HardSkin(self.overlaps.take(rows), self.sigma_m)


def pair_equations(
    seen: Observations,
    hands: HandPairs,
    capsules: Capsules | None,
    draws: Draws | None,
    skin: HardSkin | None = None,
) -> PairEquations:
    """Normal equations of everything that ties the two hands of each frame."""
    size, (hessian, gradient, cost) = hands.posed.parameterisation.size, _nothing(hands)
    if capsules is not None and hands.nearest is not None:
        meetings = _meetings(hands, hands.nearest, draws)
        cost[hands.near] += meetings.cost
        pair, rows, residual = _pulls(hands, hands.nearest, meetings, capsules)
        flat = rows.flatten(2)
        hessian[pair] = (flat.mT @ flat).unflatten(1, (2, size)).unflatten(3, (2, size)).double()
        gradient[pair] = (residual[:, None] @ flat)[:, 0].unflatten(1, (2, size)).double()
    if skin is not None:
        _add_skin(PairEquations(hands.left, hands.right, hessian, gradient, cost), hands, skin)
    if seen.network is not None and len(hands.left):
        offset = network_offset(seen.network, hands.posed, hands.left, hands.right)
        flat = offset.rows.flatten(2) * offset.weight.sqrt()[:, None, None]
        hessian[:, :, _WRIST, :, _WRIST] += (flat.mT @ flat).reshape(-1, 2, 3, 2, 3)
        pulled = flat.mT @ (offset.residual * offset.weight.sqrt()[:, None])[..., None]
        gradient[..., _WRIST] += pulled[..., 0].unflatten(1, (2, 3))
        cost += offset.cost
    return PairEquations(hands.left, hands.right, hessian, gradient, cost)


def skin_equations(hands: HandPairs, skin: HardSkin | None) -> PairEquations:
    """Normal equations of the places in which skins intersect, alone."""
    equations = PairEquations(hands.left, hands.right, *_nothing(hands))
    if skin is not None:
        _add_skin(equations, hands, skin)
    return equations


def pair_cost(
    seen: Observations, hands: HandPairs, draws: Draws | None, skin: HardSkin | None = None
) -> Tensor:
    """(P,) what they cost, without derivatives."""
    cost = torch.zeros(len(hands.left)).double()
    if skin is not None:
        cost += _skin_cost(_skin_residual(hands, skin))
    if hands.nearest is not None:
        cost[hands.near] += _meetings(hands, hands.nearest, draws).cost
    if seen.network is not None and len(hands.left):
        cost += network_offset(seen.network, hands.posed, hands.left, hands.right).cost
    return cost


def draws(contact: Contact, hands: HandPairs) -> Draws:
    """The capsules that contact pulls together in the current poses: the nearest of those whose outlines
    meet, and all parts known to touch.
    """
    capsules = torch.zeros(len(hands.left), _DRAWN, dtype=torch.int64)
    shares = torch.zeros(len(hands.left), _DRAWN).double()
    if hands.nearest is None:
        return Draws(capsules, shares)
    near, gap_m = hands.near, hands.nearest.gap_m.clamp(min=0)
    outlines = contact.outlines[near]
    far_m = torch.where(outlines > 0.3, gap_m, 1.0).flatten(1).amin(1)
    share = torch.exp(-(gap_m - far_m[:, None, None]).clamp(min=0) / _NEXT_M) * outlines
    share = torch.maximum(share, contact.parts[near])
    share, capsule = (share.flatten(1) * contact.hands[near][:, None]).topk(_DRAWN, dim=1)
    capsules[near], shares[near] = capsule, torch.where(share > _LEAST_SHARE, share, 0.0)
    return Draws(capsules, shares)


def depth_ties(seen: Observations, depth: Tensor, contact: Contact | None) -> DepthTies:
    """For hands in contact, the change of their difference in logarithmic depth (N,) between frames."""
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


@dataclass(frozen=True)
class _Meetings:
    """R pairs of capsules of each of n near hands that overlap or are to touch.

    index (n, R): left * C + right. residual, its derivative `scale` by their distance, weight (n, R); cost (n,).
    """

    index: Tensor
    residual: Tensor
    scale: Tensor
    weight: Tensor
    cost: Tensor


def _meetings(hands: HandPairs, nearest: Nearest, draws: Draws | None) -> _Meetings:
    gap_m = nearest.gap_m
    bones = gap_m.shape[1]
    least_m, partner = gap_m.min(-1)
    index = torch.arange(bones) * bones + partner
    residual = (-least_m - _SOFT_M).clamp(min=0) / _OVERLAP_M
    scale = torch.full_like(residual, -1 / _OVERLAP_M)
    weight, cost = pseudo_huber(residual, _OVERLAP_DELTA)
    weight = weight * (residual > 0)
    if draws is None:
        return _Meetings(index, residual, scale, weight, cost.sum(1))
    drawn, share = draws.capsules[hands.near], draws.share[hands.near]
    drawn_gap = gap_m.flatten(1).gather(1, drawn).clamp(min=0) / _CONTACT_M
    drawn_weight, drawn_cost = pseudo_huber(drawn_gap, _CONTACT_DELTA)
    return _Meetings(
        torch.cat([index, drawn], 1),
        torch.cat([residual, drawn_gap], 1),
        torch.cat([scale, torch.full_like(drawn_gap, 1 / _CONTACT_M)], 1),
        torch.cat([weight, drawn_weight * share * (drawn_gap > 0)], 1),
        cost.sum(1) + (drawn_cost * share).sum(1),
    )


def _pulls(
    hands: HandPairs, nearest: Nearest, meetings: _Meetings, capsules: Capsules
) -> tuple[Tensor, Tensor, Tensor]:
    """The m pairs (m,) of hands in which something meets, the derivatives (m, K, 2, D) of left and right by the
    unknowns, and the residuals (m, K).
    """
    posed, bones = hands.posed, nearest.gap_m.shape[1]
    meets = (meetings.weight > 0).sum(1)
    some, most = meets.nonzero()[:, 0], int(meets.max()) if len(meets) else 0
    weight, which = meetings.weight[some].topk(most, dim=1)
    index, residual, scale = (
        values[some].gather(1, which) for values in (meetings.index, meetings.residual, meetings.scale)
    )
    pair = hands.near[some]
    left, right = hands.left[pair], hands.right[pair]
    along, across = (shares[some].flatten(1).gather(1, index) for shares in (nearest.along, nearest.across))
    blends = _blended(capsules, index // bones, along), _blended(capsules, index % bones, across)
    own, other = (blend @ posed.points_m[at, JOINTS] for blend, at in zip(blends, (left, right), strict=True))
    away = torch.nn.functional.normalize(own - other, dim=-1) * (weight.sqrt() * scale)[..., None]
    jacobian = posed.joints_jacobian.flatten(1, 2)
    rows = [
        (sign * away[..., None] * blend[..., None, :]).flatten(2).float() @ jacobian[at]
        for sign, blend, at in zip((1, -1), blends, (left, right), strict=True)
    ]
    return pair, torch.stack(rows, 2), (residual * weight.sqrt()).float()


def _nothing(hands: HandPairs) -> tuple[Tensor, Tensor, Tensor]:
    """Hessian, gradient and cost of no terms."""
    size, count = hands.posed.parameterisation.size, len(hands.left)
    return (
        torch.zeros(count, 2, size, 2, size).double(),
        torch.zeros(count, 2, size).double(),
        torch.zeros(count).double(),
    )


def _add_skin(equations: PairEquations, hands: HandPairs, skin: HardSkin) -> None:
    residual, size = _skin_residual(hands, skin), hands.posed.parameterisation.size
    equations.cost.add_(_skin_cost(residual))
    pair, rows, residual = _skin_rows(hands, skin, residual)
    flat = rows.flatten(2)
    equations.hessian[pair] += (flat.mT @ flat).unflatten(1, (2, size)).unflatten(3, (2, size)).double()
    equations.gradient[pair] += (residual[:, None] @ flat)[:, 0].unflatten(1, (2, size)).double()


def skin_cost(hands: HandPairs, skin: HardSkin | None) -> Tensor:
    """(P,) what the places in which skins intersect cost."""
    return torch.zeros(len(hands.left)).double() if skin is None else _skin_cost(_skin_residual(hands, skin))


def _skin_residual(hands: HandPairs, skin: HardSkin) -> Tensor:
    """(P, R) overlaps beyond what skin gives way, in units of their sigma."""
    places, points_m = skin.overlaps, hands.posed.points_m[:, JOINTS]
    apart_m = places.left @ points_m[hands.left] - places.right @ points_m[hands.right]
    depth_m = places.reach_m - (places.normal * apart_m).sum(-1)
    return (depth_m - _GIVES_WAY_M).clamp(min=0) / skin.sigma_m


def _skin_cost(residual: Tensor) -> Tensor:
    return 0.5 * residual.square().sum(1)


def _skin_rows(hands: HandPairs, skin: HardSkin, residual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As _pulls, of the places in which skins intersect; residual (P, R): `_skin_residual`'s."""
    pair = (residual > 0).any(1).nonzero()[:, 0]
    places, residual = skin.overlaps, residual[pair]
    jacobian = hands.posed.joints_jacobian.flatten(1, 2)
    away = -(places.normal[pair] / skin.sigma_m) * (residual > 0)[..., None]
    rows = [
        (sign * away[..., None] * blend[pair][..., None, :]).flatten(2).float() @ jacobian[at[pair]]
        for sign, blend, at in ((1, places.left, hands.left), (-1, places.right, hands.right))
    ]
    return pair, torch.stack(rows, 2), residual.float()


def _boxes_meet(first_m: Tensor, second_m: Tensor, reach_m: float) -> Tensor:
    """(P,) bool: the bounding boxes of points (P, ..., 3) come this near to each other."""
    low, high = ([hand.flatten(1, -2).amin(1), hand.flatten(1, -2).amax(1)] for hand in (first_m, second_m))
    return ((low[0] < high[1] + reach_m) & (high[0] < low[1] + reach_m)).all(-1)


def _blended(capsules: Capsules, bone: Tensor, share: Tensor) -> Tensor:
    ends = capsules.ends[bone]
    return torch.lerp(ends[..., 0, :], ends[..., 1, :], share[..., None])
