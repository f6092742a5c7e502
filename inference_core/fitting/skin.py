# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the skin of one hand is inside the other's.

Capsules are cheap enough for every step of a fit, but have no webs between fingers and no flat palms. The deepest
places of the skins themselves become linear residuals for a few more steps: a vertex is pushed out along the normal of
the skin that it went through.
"""

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
# Only vertices in both hands' boxes are looked at, and those this far around.
_BESIDE_M = 0.01
# A vertex lies inside if the way to the nearest one of the other hand runs against its normal, by this cosine.
_INSIDE = 0.7
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
        """Vertices and their normals, each (n, S, V, 3), of n frames of left and right hands."""
        angles = torch.stack([left.angles_rad, right.angles_rad], 1)
        root = torch.stack([left.root, right.root], 1)[:, :, None]
        turns = torch.cat([root, parameterisation.finger_rotations(torch.arange(2), angles)], 2)
        posed = self.shaped.with_pose(turns, torch.stack([left.wrist_m, right.wrist_m], 1))
        vertices_m = posed.vertices_m
        faces = self.shaped.model.faces
        normals = torch.stack([_normals(vertices_m[:, side], faces[side]) for side in (0, 1)], 1)
        return vertices_m, normals


@dataclass(frozen=True)
class Place:
    """Where skins intersect, between a left and a right capsule.

    left, right: a vertex of each. normal (3,): of the right skin, or the left one's reversed. depth_m when it was
    found; reach_m: how far the bones' points must then be apart along the normal for the skins to touch.
    """

    left: int
    right: int
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

    @staticmethod
    def of(skin: Skin, places: Places, count: int) -> "Overlaps":
        """The overlaps of `count` pairs of hands."""
        most, joints = max((len(found) for found in places.values()), default=0), skin.blends.shape[-1]
        left, right, normal = (torch.zeros(count, most, size).double() for size in (joints, joints, 3))
        out = Overlaps(left, right, normal, torch.zeros(count, most).double())
        for row, found in places.items():
            for at, place in enumerate(found.values()):
                out.left[row, at], out.right[row, at] = (
                    skin.blends[0, place.left],
                    skin.blends[1, place.right],
                )
                out.normal[row, at] = torch.as_tensor(place.normal)
                out.reach_m[row, at] = place.reach_m
        return out


def fit_skin(model: HandModel, parameterisation: HandParameterisation, capsules: Capsules) -> Skin:
    """The skins of the parameterisation's shape. model: float64, on the CPU."""
    owner, along = owners(model, parameterisation, capsules)
    ends = capsules.ends[owner]
    blends = torch.lerp(ends[..., 0, :], ends[..., 1, :], along[..., None])
    return Skin(model.with_shape(parameterisation.betas), owner, blends)


def find_places(
    skin: Skin,
    parameterisation: HandParameterisation,
    states: tuple[HandState, HandState],
    joints_m: tuple[Tensor, Tensor],
    near: Tensor,
    run: Tensor,
) -> Places:
    """Of pairs of hands in the given states, with joints (P, 21, 3); only `near` (n,) of them may intersect. run (P,):
    of frames that follow each other.
    """
    vertices_m, normals = skin.vertices_m(parameterisation, *(state.take(near) for state in states))
    every = {
        row: _deepest(skin, hands, outward)
        for row, hands, outward in zip(near.tolist(), vertices_m.numpy(), normals.numpy(), strict=True)
    }
    out: Places = {}
    for row, found in every.items():
        out[row] = {}
        for between, place in found.items():
            normal = _the_way_it_came(every, row, between, run)
            bones_m = [
                skin.blends[side, vertex].numpy() @ joints_m[side][row].numpy()
                for side, vertex in enumerate((place.left, place.right))
            ]
            reach_m = place.depth_m + float(normal @ (bones_m[0] - bones_m[1]))
            out[row][between] = replace(place, normal=normal, reach_m=reach_m)
    return out


def _deepest(skin: Skin, hands_m: Floats, normals: Floats) -> dict[tuple[int, int], Place]:
    """The deepest place between each left and right capsule: vertices, the right skin's normal, depth."""
    found: dict[tuple[int, int], Place] = {}
    low, high = hands_m.min(1).max(0) - _BESIDE_M, hands_m.max(1).min(0) + _BESIDE_M
    common = [np.flatnonzero(((hand > low) & (hand < high)).all(-1)) for hand in hands_m]
    if min(map(len, common)) == 0:
        return found
    for own in (0, 1):
        tree: Any = KDTree(hands_m[1 - own][common[1 - own]])
        distance, index = tree.query(hands_m[own][common[own]], distance_upper_bound=_REACH_M)
        near = np.isfinite(distance)
        distance, vertex, other = distance[near], common[own][near], common[1 - own][index[near]]
        outward = normals[1 - own][other]
        depth_m = -((hands_m[own][vertex] - hands_m[1 - own][other]) * outward).sum(-1)
        inside = (depth_m > _SHALLOW_M) & (depth_m > _INSIDE * distance)
        for k in np.flatnonzero(inside):
            ends = (int(vertex[k]), int(other[k]))
            left, right = ends if own == 0 else ends[::-1]
            key = int(skin.capsule[0, left]), int(skin.capsule[1, right])
            if key not in found or found[key].depth_m < depth_m[k]:
                found[key] = Place(left, right, outward[k] * (1 if own == 0 else -1), float(depth_m[k]))
    return found


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
    a, b, c = (vertices_m[:, faces[:, corner]] for corner in range(3))
    of_face = torch.linalg.cross(b - a, c - a, dim=-1)
    total = torch.zeros_like(vertices_m)
    for corner in range(3):
        total.index_add_(1, faces[:, corner], of_face)
    return torch.nn.functional.normalize(total, dim=-1)
