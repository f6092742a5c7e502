# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the skin of one hand is inside the other's.

Capsules are cheap enough for every step of a fit, but have no webs between fingers and no flat palms. The deepest
places of the skins themselves become linear residuals for a few more steps: a vertex is pushed out along the normal of
the skin that it went through.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from inference_core.fitting.capsules import Capsules, owners
from inference_core.fitting.parameterisation import HandParameterisation, HandState
from inference_core.hand_model.hand import HandModel, ShapedHands

# Vertices deeper inside the other hand than this belong to its other side; those shallower than this are left alone.
_REACH_M, _SHALLOW_M = 0.03, 0.002
# Only vertices on capsules this near to one of the other hand are looked at, in the box of the other hand's, and this
# far around it.
_BESIDE_M, _AT_M = 0.01, 0.003
# A vertex lies inside if the way to the nearest one of the other hand runs against its normal, by this cosine.
_INSIDE = 0.7
# Pairs of hands whose skins are in memory together.
_AT_ONCE = 300
# Vertices this much shallower than a place's deepest count a third.
_ALIKE_M = 0.001
# Joints that have moved less than this leave the skins where they were.
_MOVED_M = 0.0002
# A place's normal is averaged over this many frames to either side, weighted by how near to the skin they are.
_AROUND, _SURE_M = 3, 0.003

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Skin:
    """Skins of both hands. capsule (S, V): that each vertex lies on; blends (S, V, 21): the point of its bone."""

    shaped: ShapedHands
    capsule: Tensor
    blends: Tensor

    def vertices_m(
        self, parameterisation: HandParameterisation, left: HandState, right: HandState
    ) -> tuple[Tensor, Tensor]:
        """Vertices and their normals, each (n, S, V, 3), float32, of n frames of left and right hands."""
        angles = torch.stack([left.angles_rad, right.angles_rad], 1)
        root = torch.stack([left.root, right.root], 1)[:, :, None]
        turns = torch.cat([root, parameterisation.finger_rotations(torch.arange(2), angles)], 2)
        wrists_m = torch.stack([left.wrist_m, right.wrist_m], 1)
        vertices_m = self.shaped.with_pose(turns.float(), wrists_m.float()).vertices_m
        faces = self.shaped.model.faces
        normals = torch.stack([_normals(vertices_m[:, side], faces[side]) for side in (0, 1)], 1)
        return vertices_m, normals


@dataclass(frozen=True)
class Place:
    """Where skins intersect, between a left and a right capsule.

    left, right (21,): a point on the bone of each, as a blend of the joints. normal (3,): of the right skin, or the
    left one's reversed. depth_m when it was found; reach_m: how far the points must then be apart along the normal for
    the skins to touch.
    """

    left: Floats
    right: Floats
    normal: Floats
    depth_m: float
    reach_m: float = 0.0


# Of each pair of hands (by its index): the places by left and right capsule.
Places = dict[int, dict[tuple[int, int], Place]]


@dataclass(frozen=True)
class Overlaps:
    """R places of each of P pairs of hands as linear functions of their joints.

    left, right (P, R, 21): the bones' points as blends of the joints; normal (P, R, 3), 0 for unused places;
    reach_m (P, R).
    """

    left: Tensor
    right: Tensor
    normal: Tensor
    reach_m: Tensor

    def take(self, rows: Tensor) -> "Overlaps":
        """Those of the pairs of the given indices."""
        return Overlaps(self.left[rows], self.right[rows], self.normal[rows], self.reach_m[rows])

    @staticmethod
    def of(skin: Skin, places: Places, count: int) -> "Overlaps":
        """The overlaps of `count` pairs of hands."""
        most, joints = max((len(found) for found in places.values()), default=0), skin.blends.shape[-1]
        left, right, normal = (torch.zeros(count, most, size).double() for size in (joints, joints, 3))
        out = Overlaps(left, right, normal, torch.zeros(count, most).double())
        for row, found in places.items():
            for at, place in enumerate(found.values()):
                out.left[row, at] = torch.as_tensor(place.left)
                out.right[row, at] = torch.as_tensor(place.right)
                out.normal[row, at] = torch.as_tensor(place.normal)
                out.reach_m[row, at] = place.reach_m
        return out


def fit_skin(model: HandModel, parameterisation: HandParameterisation, capsules: Capsules) -> Skin:
    """The skins of the parameterisation's shape. model: float64, on the CPU."""
    owner, along = owners(model, parameterisation, capsules)
    ends = capsules.ends[owner]
    blends = torch.lerp(ends[..., 0, :], ends[..., 1, :], along[..., None])
    return Skin(model.to(dtype=torch.float32).with_shape(parameterisation.betas.float()), owner, blends)


def beside(gap_m: Tensor) -> Tensor:
    """(n, S, C) bool: which capsules of each hand are near the other hand; gap_m (n, C, C) of left and right ones."""
    close = gap_m < _BESIDE_M
    return torch.stack([close.any(2), close.any(1)], 1)


class PlaceFinder:
    """Finds where the skins of a shot's pairs of hands intersect, and only looks at pairs that have moved since.

    run (P,): of frames that follow each other.
    """

    def __init__(self, skin: Skin, parameterisation: HandParameterisation, run: Tensor) -> None:
        self._skin, self._parameterisation, self._run = skin, parameterisation, run
        self._seen: Places = {}
        self._seen_m = torch.full((len(run), 1), torch.inf).double()

    def find(
        self,
        states: tuple[HandState, HandState],
        joints_m: tuple[Tensor, Tensor],
        near: Tensor,
        beside: Tensor,
    ) -> Places:
        """Of pairs of hands in the given states, with joints (P, 21, 3); only `near` (n,) of them may intersect.

        beside (n, S, C): which capsules of those are near the other hand (`beside`).
        """
        now_m = torch.cat([joints_m[0] - joints_m[0][:, :1], joints_m[1] - joints_m[0][:, :1]], 1).flatten(1)
        moved = near[(now_m - self._seen_m)[near].abs().amax(1) > _MOVED_M]
        self._seen = {row: self._seen.get(row, {}) for row in near.tolist()}
        for rows, meets in zip(
            moved.split(_AT_ONCE), beside[torch.isin(near, moved)].split(_AT_ONCE), strict=True
        ):
            hands = (state.take(rows) for state in states)
            vertices_m, normals = self._skin.vertices_m(self._parameterisation, *hands)
            looked = zip(rows.tolist(), vertices_m.numpy(), normals.numpy(), meets.numpy(), strict=True)
            self._seen |= {
                row: _places(self._skin, hand, outward, meet) for row, hand, outward, meet in looked
            }
        seen_m = torch.full_like(now_m, torch.inf)
        seen_m[near] = self._seen_m.expand_as(now_m)[near]
        seen_m[moved] = now_m[moved]
        self._seen_m = seen_m
        return {
            row: {between: self._place(row, between, joints_m) for between in found}
            for row, found in self._seen.items()
        }

    def _place(self, row: int, between: tuple[int, int], joints_m: tuple[Tensor, Tensor]) -> Place:
        """The place with its normal averaged over neighbouring frames, and its reach."""
        place = self._seen[row][between]
        normal = _the_way_it_came(self._seen, row, between, self._run)
        bones_m = [
            blend @ joints_m[side][row].numpy() for side, blend in enumerate((place.left, place.right))
        ]
        reach_m = place.depth_m + float(normal @ (bones_m[0] - bones_m[1]))
        return replace(place, normal=normal, reach_m=reach_m)


def _places(
    skin: Skin, hands_m: Floats, normals: Floats, meets: NDArray[np.bool_]
) -> dict[tuple[int, int], Place]:
    """The place between each left and right capsule whose skins intersect.

    Vertices inside the other hand count the more, the deeper they are, so that a place and its normal move steadily
    with the hands. meets (2, C): which capsules of each hand are near the other.
    """
    common = _close(skin, hands_m, meets)
    if min(map(len, common)) == 0:
        return {}
    inside = _Inside.joined([_inside(hands_m, normals, common, own) for own in (0, 1)])
    capsule, blends = skin.capsule.numpy(), skin.blends.numpy()
    count = int(capsule.max()) + 1
    between = capsule[0, inside.left] * count + capsule[1, inside.right]
    keys, group = np.unique(between, return_inverse=True)
    deepest_m = np.zeros(len(keys))
    np.maximum.at(deepest_m, group, inside.depth_m)
    share = np.zeros((len(keys), len(group)))
    share[group, np.arange(len(group))] = np.exp((inside.depth_m - deepest_m[group]) / _ALIKE_M)
    share /= share.sum(1, keepdims=True)
    points = share @ blends[0, inside.left], share @ blends[1, inside.right]
    normal = share @ inside.normal
    normal /= np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-9)
    rows = zip(keys.tolist(), *points, normal, deepest_m.tolist(), strict=True)
    return {divmod(key, count): Place(*place) for key, *place in rows}


@dataclass(frozen=True)
class _Inside:
    """n vertices of one hand inside the other, with the nearest of its own: left, right, depth_m (n,), normal (n, 3)
    of the right skin.
    """

    left: NDArray[np.intp]
    right: NDArray[np.intp]
    depth_m: Floats
    normal: Floats

    @staticmethod
    def joined(some: Sequence["_Inside"]) -> "_Inside":
        """All of them."""
        return _Inside(
            np.concatenate([each.left for each in some]),
            np.concatenate([each.right for each in some]),
            np.concatenate([each.depth_m for each in some]),
            np.concatenate([each.normal for each in some]),
        )


def _inside(hands_m: Floats, normals: Floats, common: list[NDArray[np.intp]], own: int) -> _Inside:
    """The vertices of the hand `own` that lie inside the other, among those in `common` of each."""
    tree: Any = KDTree(hands_m[1 - own][common[1 - own]])
    distance, index = tree.query(hands_m[own][common[own]], distance_upper_bound=_REACH_M)
    near = np.isfinite(distance)
    distance, vertex, other = distance[near], common[own][near], common[1 - own][index[near]]
    outward = normals[1 - own][other]
    depth_m = -((hands_m[own][vertex] - hands_m[1 - own][other]) * outward).sum(-1)
    inside = (depth_m > _SHALLOW_M) & (depth_m > _INSIDE * distance)
    vertex, other, outward = vertex[inside], other[inside], outward[inside] * (1 if own == 0 else -1)
    left, right = (vertex, other) if own == 0 else (other, vertex)
    return _Inside(left, right, depth_m[inside].astype(np.float64), outward.astype(np.float64))


def _close(skin: Skin, hands_m: Floats, meets: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """The vertices of each hand that may intersect the other."""
    near = [np.flatnonzero(meets[side][skin.capsule[side]]) for side in (0, 1)]
    if min(map(len, near)) == 0:
        return near
    there_m = [hand[at] for hand, at in zip(hands_m, near, strict=True)]
    low, high = (np.stack([edge(own_m, axis=0) for own_m in there_m]) for edge in (np.min, np.max))
    return [
        near[own][((there_m[own] > low[1 - own] - _AT_M) & (there_m[own] < high[1 - own] + _AT_M)).all(-1)]
        for own in (0, 1)
    ]


def _the_way_it_came(places: Places, row: int, between: tuple[int, int], run: Tensor) -> Floats:
    """The normal between two capsules, averaged over neighbouring frames: shallow intersections show it best."""
    total = np.zeros(3)
    for near in range(row - _AROUND, row + _AROUND + 1):
        place = places.get(near, {}).get(between)
        if place is not None and run[near] == run[row]:
            total += np.exp(-place.depth_m / _SURE_M) * place.normal
    return total / max(float(np.linalg.norm(total)), 1e-9)


def _normals(vertices_m: Tensor, faces: Tensor) -> Tensor:
    """Unit normals (n, V, 3) of vertices (n, V, 3), faces weighted by their area."""
    by_vertex = vertices_m.transpose(0, 1).contiguous()  # whole rows are added up several times faster
    a, b, c = (by_vertex[faces[:, corner]] for corner in range(3))
    of_face = torch.linalg.cross(b - a, c - a, dim=-1)
    total = torch.zeros_like(by_vertex)
    for corner in range(3):
        total.index_add_(0, faces[:, corner], of_face)
    return torch.nn.functional.normalize(total, dim=-1).transpose(0, 1)
