# SPDX-License-Identifier: GPL-3.0-or-later
"""Residuals between the two hands of a frame.

Their surfaces do not intersect. Where they touch (contact), they are pulled together until they meet,
and move together in depth. The network predicts the offset between the wrists. A frame's left and right
hand are one block of unknowns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.arrays import Flags, Floats, Indices, lengths
from inference_core.fitting.capsules import Capsules, Nearest, nearest_points
from inference_core.fitting.contact import LEAST_SHARE, Contact
from inference_core.fitting.intersections import Overlaps
from inference_core.fitting.network_offset import OffsetResidual, network_offset
from inference_core.fitting.normal_equations import pseudo_huber
from inference_core.fitting.observations import Observations, pairs
from inference_core.fitting.parameterisation import DEPTH, IMAGE, JOINTS, PosedPoints
from inference_core.fitting.pulls import Pulls

# Skin is soft: this much overlap costs nothing.
_SOFT_M, _OVERLAP_M, _OVERLAP_DELTA = 0.001, 0.0015, 4.0
# What lies deeper in the other hand than skin gives way; its sigma is the fit's, which gets harder (polish).
_GIVES_WAY_M = 0.003
_CONTACT_M, _CONTACT_DELTA = 0.003, 4.0
# At most this many pairs of capsules are pulled together; one farther apart than the nearest by this distance
# counts a third.
_DRAWN, _NEXT_M = 20, 0.006
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
    left: Indices
    right: Indices
    near: Indices
    nearest: Nearest | None


@dataclass(frozen=True)
class PairEquations:
    """Normal equations of P pairs of hand frames.

    left, right (P,): indices in the list. hessian (P, 2, D, 2, D), gradient (P, 2, D) of left, right; cost (P,).
    """

    left: Indices
    right: Indices
    hessian: Floats
    gradient: Floats
    cost: Floats


@dataclass(frozen=True)
class Draws:
    """Pairs of capsules that are pulled together in some pairs of hands, pair (Q,).

    capsules (Q, K), flat indices left * C + right; share (Q, K) 0..1.
    """

    pair: Indices
    capsules: Indices
    share: Floats

    def of_pairs(self, rows: Indices) -> tuple[Indices, Floats]:
        """Capsules and share (n, K) of the pairs of hands of the given indices, increasing; share 0 where none are."""
        capsules = np.zeros((len(rows), self.capsules.shape[1]), np.int64)
        share = np.zeros(capsules.shape)
        _, own, at = np.intersect1d(self.pair, rows, assume_unique=True, return_indices=True)
        capsules[at], share[at] = self.capsules[own], self.share[own]
        return capsules, share


@dataclass(frozen=True)
class DepthTies:
    """Squared changes of the difference of two hands' logarithmic depths between frames.

    pairs (Q,): of `PairEquations`, each with the one that follows. weight (Q,), residual (Q,).
    """

    pair: Indices
    following: Indices
    weight: Floats
    residual: Floats

    @property
    def cost(self) -> Floats:
        """(Q,) what they cost."""
        return 0.5 * self.weight * self.residual**2


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
    near = np.flatnonzero(may_meet)
    return HandPairs(posed, left, right, near, nearest_points(left_m[near], right_m[near], capsules))


@dataclass(frozen=True)
class HardSkin:
    """Places in which skins intersect, and how hard they are: sigma of what lies deeper than skin gives way."""

    overlaps: Overlaps
    sigma_m: float

    def take(self, rows: Indices) -> "HardSkin":
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
    hessian, gradient, cost = _nothing(hands)
    if capsules is not None and hands.nearest is not None:
        meetings = _meetings(hands, hands.nearest, draws)
        cost[hands.near] += meetings.cost
        pulls = _pulls(hands, hands.nearest, meetings, capsules)
        hessian[pulls.pair], gradient[pulls.pair] = pulls.normal
    equations = PairEquations(hands.left, hands.right, hessian, gradient, cost)
    if skin is not None:
        _add_skin(equations, hands, skin)
    if seen.network is not None and len(hands.left):
        _add_offset(equations, network_offset(seen.network, hands.posed, hands.left, hands.right))
    return equations


def skin_equations(hands: HandPairs, skin: HardSkin | None) -> PairEquations:
    """Normal equations of the places in which skins intersect, alone."""
    equations = PairEquations(hands.left, hands.right, *_nothing(hands))
    if skin is not None:
        _add_skin(equations, hands, skin)
    return equations


def pair_cost(
    seen: Observations, hands: HandPairs, draws: Draws | None, skin: HardSkin | None = None
) -> Floats:
    """(P,) what they cost, without derivatives."""
    cost = skin_cost(hands, skin)
    if hands.nearest is not None:
        cost[hands.near] += _meetings(hands, hands.nearest, draws).cost
    if seen.network is not None and len(hands.left):
        cost += network_offset(seen.network, hands.posed, hands.left, hands.right).cost
    return cost


def draws(contact: Contact, hands: HandPairs) -> Draws:
    """The capsules that contact pulls together in the current poses: the nearest of those whose outlines
    meet, and all parts known to touch.
    """
    if hands.nearest is None:
        return Draws(hands.near, np.zeros((0, _DRAWN), np.int64), np.zeros((0, _DRAWN)))
    pair, own, at = np.intersect1d(contact.pair, hands.near, assume_unique=True, return_indices=True)
    share = contact.parts[own].astype(np.float64)
    if contact.outlines is not None:
        outlines, gap_m = contact.outlines[own], np.maximum(hands.nearest.gap_m[at], 0)
        far_m = np.where(outlines > 0.3, gap_m, 1.0).min((1, 2))
        beyond_m = np.maximum(gap_m - far_m[:, None, None], 0)
        share = np.maximum(np.exp(-beyond_m / _NEXT_M) * outlines, share)
    share = _flat(share) * contact.hands[pair][:, None]
    capsule = _largest(share, _DRAWN)
    share = np.take_along_axis(share, capsule, 1)
    return Draws(pair, capsule, np.where(share > LEAST_SHARE, share, 0.0))


def depth_ties(seen: Observations, depth: Floats, contact: Contact | None) -> DepthTies:
    """For hands in contact, the change of their difference in logarithmic depth (N,) between frames."""
    left, right = pairs(seen)
    if contact is None or len(left) < 2:
        return DepthTies(left[:0], left[:0], depth[:0], depth[:0])
    steps = np.diff(seen.time[left])
    probability = np.minimum(contact.hands[1:], contact.hands[:-1])
    pair = np.flatnonzero((np.diff(seen.frame[left]) == 1) & (probability > 0.01) & (steps < 3))
    apart = depth[right] - depth[left]
    weight = probability[pair] / (_SLIP_DEPTH**2 * steps[pair])
    return DepthTies(pair, pair + 1, weight, apart[pair + 1] - apart[pair])


@dataclass(frozen=True)
class _Meetings:
    """R pairs of capsules of each of n near hands that overlap or are to touch.

    index (n, R): left * C + right. residual, its derivative `scale` by their distance, weight (n, R); cost (n,).
    """

    index: Indices
    residual: Floats
    scale: Floats
    weight: Floats
    cost: Floats


def _meetings(hands: HandPairs, nearest: Nearest, draws: Draws | None) -> _Meetings:
    gap_m = nearest.gap_m
    bones = gap_m.shape[1]
    partner = gap_m.argmin(-1)
    index = np.arange(bones) * bones + partner
    least_m = np.take_along_axis(_flat(gap_m), index, 1)
    residual = np.maximum(-least_m - _SOFT_M, 0) / _OVERLAP_M
    scale = np.full_like(residual, -1 / _OVERLAP_M)
    weight, cost = pseudo_huber(residual, _OVERLAP_DELTA)
    weight = weight * (residual > 0)
    if draws is None:
        return _Meetings(index, residual, scale, weight, cost.sum(1))
    drawn, share = draws.of_pairs(hands.near)
    drawn_gap = np.maximum(np.take_along_axis(_flat(gap_m), drawn, 1), 0) / _CONTACT_M
    drawn_weight, drawn_cost = pseudo_huber(drawn_gap, _CONTACT_DELTA)
    return _Meetings(
        np.concatenate([index, drawn], 1),
        np.concatenate([residual, drawn_gap], 1),
        np.concatenate([scale, np.full_like(drawn_gap, 1 / _CONTACT_M)], 1),
        np.concatenate([weight, drawn_weight * share * (drawn_gap > 0)], 1),
        cost.sum(1) + (drawn_cost * share).sum(1),
    )


def _pulls(hands: HandPairs, nearest: Nearest, meetings: _Meetings, capsules: Capsules) -> Pulls:
    """Of the pairs of hands in which something meets."""
    bones = nearest.gap_m.shape[1]
    meets = (meetings.weight > 0).sum(1)
    some, most = np.flatnonzero(meets), int(meets.max(initial=0))
    which = _largest(meetings.weight[some], most)
    weight, residual, scale = (
        np.take_along_axis(values[some], which, 1)
        for values in (meetings.weight, meetings.residual, meetings.scale)
    )
    index = np.take_along_axis(meetings.index[some], which, 1)
    pair = hands.near[some]
    along, across = (
        np.take_along_axis(_flat(shares[some]), index, 1) for shares in (nearest.along, nearest.across)
    )
    blends = capsules.along(index // bones, along), capsules.along(index % bones, across)
    at = hands.left[pair], hands.right[pair]
    own, other = (blend @ hands.posed.points_m[rows, JOINTS] for blend, rows in zip(blends, at, strict=True))
    apart = own - other
    away = apart * (np.sqrt(weight) * scale / np.maximum(lengths(apart), 1e-12))[..., None]
    return Pulls.of(hands.posed, pair, at, blends, away, residual * np.sqrt(weight))


def _add_offset(equations: PairEquations, offset: OffsetResidual) -> None:
    """Add the network's offset between the wrists."""
    root = np.sqrt(offset.weight)
    rows = offset.rows.reshape(len(root), 3, 6) * root[:, None, None]
    equations.hessian[:, :, _WRIST, :, _WRIST] += (np.swapaxes(rows, 1, 2) @ rows).reshape(-1, 2, 3, 2, 3)
    pulled = (offset.residual * root[:, None])[:, None] @ rows
    equations.gradient[..., _WRIST] += pulled.reshape(-1, 2, 3)
    equations.cost[:] += offset.cost


def _nothing(hands: HandPairs) -> tuple[Floats, Floats, Floats]:
    """Hessian, gradient and cost of no terms."""
    size, count = hands.posed.parameterisation.size, len(hands.left)
    return np.zeros((count, 2, size, 2, size)), np.zeros((count, 2, size)), np.zeros(count)


def _add_skin(equations: PairEquations, hands: HandPairs, skin: HardSkin) -> None:
    residual = _skin_residual(hands, skin)
    equations.cost[:] += _skin_cost(residual)
    pulls = _skin_pulls(hands, skin, residual)
    hessian, gradient = pulls.normal
    equations.hessian[pulls.pair] += hessian
    equations.gradient[pulls.pair] += gradient


def skin_cost(hands: HandPairs, skin: HardSkin | None) -> Floats:
    """(P,) what the places in which skins intersect cost."""
    return np.zeros(len(hands.left)) if skin is None else _skin_cost(_skin_residual(hands, skin))


def _skin_residual(hands: HandPairs, skin: HardSkin) -> Floats:
    """(P, R) overlaps beyond what skin gives way, in units of their sigma."""
    places, points_m = skin.overlaps, hands.posed.points_m[:, JOINTS]
    apart_m = places.left @ points_m[hands.left] - places.right @ points_m[hands.right]
    depth_m = places.reach_m - np.einsum("pri,pri->pr", places.normal, apart_m)
    return np.maximum(depth_m - _GIVES_WAY_M, 0) / skin.sigma_m


def _skin_cost(residual: Floats) -> Floats:
    return 0.5 * (residual**2).sum(1)


def _skin_pulls(hands: HandPairs, skin: HardSkin, residual: Floats) -> Pulls:
    """Of the places in which skins intersect; residual (P, R): `_skin_residual`'s."""
    pair = np.flatnonzero((residual > 0).any(1))
    places, residual = skin.overlaps, residual[pair]
    away = -(places.normal[pair] / skin.sigma_m) * (residual > 0)[..., None]
    at, blends = (hands.left[pair], hands.right[pair]), (places.left[pair], places.right[pair])
    return Pulls.of(hands.posed, pair, at, blends, away, residual)


def _boxes_meet(first_m: Floats, second_m: Floats, reach_m: float) -> Flags:
    """(P,) bool: the bounding boxes of points (P, C, 2, 3) come this near to each other."""
    low, high = ([hand.min((1, 2)), hand.max((1, 2))] for hand in (first_m, second_m))
    return ((low[0] < high[1] + reach_m) & (high[0] < low[1] + reach_m)).all(-1)


def _largest(values: Floats, count: int) -> Indices:
    """(n, count) places of the largest of values (n, R), in any order."""
    return np.argpartition(-values, min(count, values.shape[1] - 1), 1)[:, :count]


def _flat(values: NDArray[np.floating]) -> Floats:
    """(P, C * C) of values (P, C, C)."""
    return values.reshape(len(values), values.shape[1] * values.shape[2])
