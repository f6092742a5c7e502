# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the skin of one hand is inside the other's.

Capsules are cheap enough for every step of a fit, but have no webs between fingers and no flat palms. The deepest
places of the skins themselves become linear residuals for a few more steps: a vertex is pushed out along the normal of
the skin that it went through.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from inference_core.fitting.arrays import Flags, Floats, Floats32, Indices, lengths
from inference_core.fitting.parameterisation import HandParameterisation, HandState
from inference_core.fitting.skin import Skin

# Vertices deeper inside the other hand than this belong to its other side; those shallower than this are left alone.
_REACH_M, _SHALLOW_M = 0.03, 0.002
# Only vertices on capsules this near to one of the other hand are looked at, in the box of the other hand's, and this
# far around it.
_BESIDE_M, _AT_M = 0.01, 0.003
# A vertex lies inside if the way to the nearest one of the other hand runs against its normal, by this cosine.
_INSIDE = 0.7
# Pairs of hands whose skins are in memory together.
_AT_ONCE = 100
# Vertices this much shallower than a place's deepest count a third.
_ALIKE_M = 0.001
# Joints that have moved less than this leave the skins where they were.
_MOVED_M = 0.0002
# A place's normal is averaged over this many frames to either side, weighted by how near to the skin they are.
_AROUND, _SURE_M = 3, 0.003

# More than there are left and right capsules to be between.
_MOST_BETWEEN = 1 << 12


@dataclass(frozen=True)
class Places:
    """n places in which skins intersect: one for each left and right capsule of a pair of hands at most.

    pair (n,): index of the pair of hands; between (n,): left capsule * C + right; sorted by pair, then by capsules.
    left, right (n, 21): a point on the bone of each, as a blend of the joints. normal (n, 3): of the right skin, or the
    left one's reversed. depth_m (n,) when they were found; reach_m (n,): how far the points must then be apart along
    the normal for the skins to touch.
    """

    pair: Indices
    between: Indices
    left: Floats
    right: Floats
    normal: Floats
    depth_m: Floats
    reach_m: Floats

    def __len__(self) -> int:
        return len(self.pair)

    @staticmethod
    def none() -> "Places":
        """No places."""
        index = np.zeros(0, np.int64)
        blends, normals, depths = np.zeros((0, 21)), np.zeros((0, 3)), np.zeros(0)
        return Places(index, index, blends, blends, normals, depths, depths)

    @property
    def key(self) -> Indices:
        """(n,) increasing: one number for each pair of hands and its capsules."""
        return self.pair * _MOST_BETWEEN + self.between

    def take(self, rows: Indices | Flags) -> "Places":
        """The places of the given indices, or where the mask says so."""
        return Places(*(values[rows] for values in vars(self).values()))

    def renewed(self, found: "Places") -> "Places":
        """These places and the ones found; where both have one, the one found."""
        old = self.take(~np.isin(self.key, found.key))
        both = Places(
            *(np.concatenate(values) for values in zip(vars(old).values(), vars(found).values(), strict=True))
        )
        return both.take(np.argsort(both.key, kind="stable"))

    def of_pairs(self, rows: Indices) -> "Places":
        """The places of the given pairs of hands, increasing, which are counted anew."""
        own = self.take(np.isin(self.pair, rows))
        return replace(own, pair=np.searchsorted(rows, own.pair))

    def deepest_m(self, count: int) -> Floats:
        """(count,) depth of the deepest place of each pair of hands, 0 without one."""
        out = np.zeros(count)
        np.maximum.at(out, self.pair, self.depth_m)
        return out


@dataclass(frozen=True)
class Overlaps:
    """R places of each of P pairs of hands as linear functions of their joints.

    left, right (P, R, 21): the bones' points as blends of the joints; normal (P, R, 3), 0 for unused places;
    reach_m (P, R).
    """

    left: Floats
    right: Floats
    normal: Floats
    reach_m: Floats

    def take(self, rows: Indices) -> "Overlaps":
        """Those of the pairs of the given indices."""
        return Overlaps(self.left[rows], self.right[rows], self.normal[rows], self.reach_m[rows])

    @staticmethod
    def of(places: Places, count: int) -> "Overlaps":
        """The overlaps of `count` pairs of hands."""
        at = np.arange(len(places)) - np.searchsorted(places.pair, places.pair)
        most = int(at.max()) + 1 if len(at) else 0

        def spread(values: Floats) -> Floats:
            out = np.zeros((count, most, *values.shape[1:]))
            out[places.pair, at] = values
            return out

        return Overlaps(
            spread(places.left), spread(places.right), spread(places.normal), spread(places.reach_m)
        )


def beside(gap_m: Floats) -> Flags:
    """(n, S, C) bool: which capsules of each hand are near the other hand; gap_m (n, C, C) of left and right ones."""
    close = gap_m < _BESIDE_M
    return np.stack([close.any(2), close.any(1)], 1)


@dataclass(frozen=True)
class NearPairs:
    """n pairs of hands that may intersect: pair (n,), their indices among all pairs, increasing.

    joints_m (n, S, 21, 3). beside (n, S, C): which capsules of each hand are near the other one (`beside`).
    """

    pair: Indices
    joints_m: Floats
    beside: Flags

    @staticmethod
    def joined(some: Sequence["NearPairs"]) -> "NearPairs":
        """Those of each, one after the other."""
        return NearPairs(
            np.concatenate([one.pair for one in some]),
            np.concatenate([one.joints_m for one in some]),
            np.concatenate([one.beside for one in some]),
        )

    @property
    def about_wrist_m(self) -> Floats:
        """(n, 126) all joints, about the left wrist."""
        return (self.joints_m - self.joints_m[:, :1, :1]).reshape(len(self.pair), 2 * 21 * 3)


class PlaceFinder:
    """Finds the places in which skins intersect, again only where hands have moved.

    run (P,): a number for each unbroken run of frames of the pairs of hands.
    """

    def __init__(self, skin: Skin, parameterisation: HandParameterisation, run: Indices) -> None:
        self._skin, self._parameterisation, self._run = skin, parameterisation, run
        self._seen = Places.none()
        self._looked_at, self._looked_at_m = run[:0], np.zeros((0, 2 * 21 * 3))

    def find(self, state: HandState, hands: tuple[Indices, Indices], near: NearPairs) -> Places:
        """Of pairs of hands (P,) in a state of hand frames, left and right; only `near` ones may intersect."""
        now_m = near.about_wrist_m
        before_m = np.full_like(now_m, np.inf)
        _, known, at = np.intersect1d(self._looked_at, near.pair, assume_unique=True, return_indices=True)
        before_m[at] = self._looked_at_m[known]
        has_moved = np.abs(now_m - before_m).max(1) > _MOVED_M
        moved = np.flatnonzero(has_moved)
        self._seen = self._seen.take(np.isin(self._seen.pair, near.pair[~has_moved]))
        for first in range(0, len(moved), _AT_ONCE):
            part = moved[first : first + _AT_ONCE]
            left, right = (state.take(rows[near.pair[part]]) for rows in hands)
            vertices_m, normals = self._skin.vertices_m(self._parameterisation, left, right)
            inside = _inside(self._skin, vertices_m, normals, near.beside[part])
            self._seen = self._seen.renewed(_places(self._skin, inside, near.pair[part]))
        self._looked_at, self._looked_at_m = near.pair, np.where(has_moved[:, None], now_m, before_m)
        return _with_reach(replace(self._seen, normal=_the_way_they_came(self._seen, self._run)), near)


@dataclass(frozen=True)
class _Inside:
    """n vertices of one hand inside the other, with the nearest of its own: row (n,) of the frame; left, right (n,)
    vertices; depth_m (n,), normal (n, 3) of the right skin.
    """

    row: Indices
    left: Indices
    right: Indices
    depth_m: Floats
    normal: Floats


def _inside(skin: Skin, points_m: Floats32, outward: Floats32, meets: Flags) -> _Inside:
    """The vertices that lie inside the other hand, of n frames with vertices and normals (n, S, V, 3).

    meets (n, S, C): which capsules of each hand are near the other.
    """
    common = _close(skin, points_m, meets)
    nearest = [_nearest(row, points_m[row], common[row]) for row in range(len(points_m))]
    own, row, vertex, other = np.concatenate(nearest, 1) if nearest else np.zeros((4, 0), np.int64)
    apart_m = (points_m[row, own, vertex] - points_m[row, 1 - own, other]).astype(np.float64)
    normal = outward[row, 1 - own, other].astype(np.float64)
    depth_m = -(apart_m * normal).sum(-1)
    distance_m = lengths(apart_m)
    inside = (depth_m > _SHALLOW_M) & (depth_m > _INSIDE * distance_m) & (distance_m < _REACH_M)
    own, vertex, other, normal = own[inside], vertex[inside], other[inside], normal[inside]
    left, right = np.where(own == 0, vertex, other), np.where(own == 0, other, vertex)
    return _Inside(row[inside], left, right, depth_m[inside], np.where(own == 0, 1, -1)[:, None] * normal)


def _nearest(row: int, hands_m: Floats32, common: Flags) -> Indices:
    """(4, n) side, row, vertex and the nearest vertex of the other hand, among those in `common` (S, V).

    All distances by one matrix product: faster than a search tree for the few hundred vertices in question.
    """
    chosen = [np.flatnonzero(side) for side in common]
    if min(map(len, chosen)) == 0:
        return np.zeros((4, 0), np.int64)
    middle = hands_m[0, chosen[0][0]]
    ends = [_product_ends(hand[at] - middle) for hand, at in zip(hands_m, chosen, strict=True)]
    nearest = [chosen[1 - own][(ends[own][0] @ ends[1 - own][1].T).argmin(1)] for own in (0, 1)]
    side = np.repeat((0, 1), [len(at) for at in chosen])
    return np.stack([side, np.full_like(side, row), np.concatenate(chosen), np.concatenate(nearest)])


def _product_ends(points_m: Floats32) -> tuple[Floats32, Floats32]:
    """(n, 4) each: the product of one point's first with another's second grows with the square of their distance."""
    halves = 0.5 * (points_m * points_m).sum(1, keepdims=True)
    return np.concatenate([points_m, np.ones_like(halves)], 1), np.concatenate([-points_m, halves], 1)


def _close(skin: Skin, vertices_m: Floats32, meets: Flags) -> Flags:
    """(n, S, V) bool: the vertices (n, S, V, 3) that may intersect the other hand."""
    near = np.stack([meets[:, side, capsule] for side, capsule in enumerate(skin.capsule)], 1)
    coordinates = np.moveaxis(vertices_m, -1, 0)
    low, high = (
        np.stack([least(axis, 2, where=near, initial=-end, keepdims=True) for axis in coordinates])
        for least, end in ((np.min, -np.inf), (np.max, np.inf))
    )
    low, high = low[:, :, ::-1] - _AT_M, high[:, :, ::-1] + _AT_M
    for axis, lowest, highest in zip(coordinates, low, high, strict=True):
        near &= (axis > lowest) & (axis < highest)
    return near


def _places(skin: Skin, inside: _Inside, pair: Indices) -> Places:
    """The place between each left and right capsule whose skins intersect; pair (rows,): of each frame.

    Vertices inside the other hand count the more, the deeper they are, so that a place and its normal move steadily
    with the hands.
    """
    if not len(inside.row):
        return Places.none()
    capsule, blends = skin.capsule, skin.blends
    between = capsule[0, inside.left] * (int(capsule.max()) + 1) + capsule[1, inside.right]
    key = pair[inside.row] * _MOST_BETWEEN + between
    order = np.argsort(key, kind="stable")
    key, left, right = key[order], inside.left[order], inside.right[order]
    depth_m, normal = inside.depth_m[order], inside.normal[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    group = np.repeat(np.arange(len(first)), np.diff(first, append=len(key)))
    deepest_m = np.maximum.reduceat(depth_m, first)
    share = np.exp((depth_m - deepest_m[group]) / _ALIKE_M)[:, None]
    total = np.add.reduceat(share, first)

    def mean(values: Floats) -> Floats:
        return np.add.reduceat(share * values, first) / total

    return Places(
        key[first] // _MOST_BETWEEN,
        key[first] % _MOST_BETWEEN,
        mean(blends[0, left]),
        mean(blends[1, right]),
        _unit(mean(normal)),
        deepest_m,
        np.zeros(len(first)),
    )


def _with_reach(places: Places, near: NearPairs) -> Places:
    """The places with their reach where the joints of the near pairs are."""
    at = np.searchsorted(near.pair, places.pair)
    bones_m = [
        (blend[:, None] @ near.joints_m[at, side])[:, 0]
        for side, blend in enumerate((places.left, places.right))
    ]
    return replace(places, reach_m=places.depth_m + (places.normal * (bones_m[0] - bones_m[1])).sum(-1))


def _the_way_they_came(places: Places, run: Indices) -> Floats:
    """(n, 3) normals, averaged over neighbouring frames: shallow intersections show them best."""
    total = np.zeros_like(places.normal)
    if not len(places):
        return total
    weighted, key = np.exp(-places.depth_m / _SURE_M)[:, None] * places.normal, places.key
    for shift in range(-_AROUND, _AROUND + 1):
        wanted = key + shift * _MOST_BETWEEN
        at = np.searchsorted(key, wanted).clip(max=len(key) - 1)
        same = (key[at] == wanted) & (run[places.pair[at]] == run[places.pair])
        total[same] += weighted[at[same]]
    return _unit(total)


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(lengths(vectors), 1e-9)[:, None]
