# SPDX-License-Identifier: GPL-3.0-or-later
"""The hands' skins: vertices and their normals, and the bone that each vertex lies on."""

from dataclasses import dataclass, fields, replace

import numpy as np

from inference_core.fitting.arrays import Floats, Floats32, Indices
from inference_core.fitting.capsules import Capsules, owners
from inference_core.fitting.parameterisation import HandParameterisation, HandState
from inference_core.hand_model.hand import HandModel, ShapedHands


@dataclass(frozen=True)
class Skin:
    """Skins of both hands.

    capsule (S, V): that each vertex lies on; blends (S, V, 21): the point of its bone; around: of each
    side (V, K), the faces around it, F for none.
    """

    shaped: ShapedHands
    capsule: Indices
    blends: Floats
    around: tuple[Indices, ...]

    def vertices_m(
        self, parameterisation: HandParameterisation, left: HandState, right: HandState
    ) -> tuple[Floats32, Floats32]:
        """Vertices and their normals, each (n, S, V, 3), of n frames of left and right hands."""
        angles = np.stack([left.angles_rad, right.angles_rad], 1)
        root = np.stack([left.root, right.root], 1)[:, :, None]
        turns = np.concatenate([root, parameterisation.finger_rotations(np.arange(2), angles)], 2)
        wrists_m = np.stack([left.wrist_m, right.wrist_m], 1)
        vertices_m = self.shaped.with_pose(turns.astype(np.float32), wrists_m.astype(np.float32)).vertices_m
        faces = self.shaped.model.faces
        normals = [_normals(vertices_m[:, side], faces[side], self.around[side]) for side in (0, 1)]
        return vertices_m, np.stack(normals, 1)


def fit_skin(model: HandModel, parameterisation: HandParameterisation, capsules: Capsules) -> Skin:
    """The skins of the parameterisation's shape."""
    owner, along = owners(model, parameterisation, capsules)
    around = tuple(_faces_around(faces, owner.shape[1]) for faces in model.faces)
    shaped = _in_single(model).with_shape(parameterisation.betas.astype(np.float32))
    return Skin(shaped, owner, capsules.along(owner, along), around)


def _in_single(model: HandModel) -> HandModel:
    """The model with float32 arrays."""
    arrays = {field.name: getattr(model, field.name) for field in fields(model)}
    wide = {name: values for name, values in arrays.items() if getattr(values, "dtype", None) == np.float64}
    return replace(model, **{name: values.astype(np.float32) for name, values in wide.items()})


def _faces_around(faces: Indices, count: int) -> Indices:
    """(V, K) the faces around each of `count` vertices, filled up with the number of faces."""
    order = np.argsort(faces.reshape(-1), kind="stable")
    vertex = faces.reshape(-1)[order]
    place = np.arange(len(vertex)) - np.searchsorted(vertex, vertex)
    around = np.full((count, place.max() + 1), len(faces))
    around[vertex, place] = order // 3
    return around


def _normals(vertices_m: Floats32, faces: Indices, around: Indices) -> Floats32:
    """Unit normals (n, V, 3) of vertices (n, V, 3), faces weighted by their area; around: `Skin`'s of the side."""
    by_vertex = np.ascontiguousarray(vertices_m.transpose(2, 1, 0))  # whole rows are taken and added faster
    a, b, c = (by_vertex[:, faces[:, corner]] for corner in range(3))
    along, across = b - a, c - a
    of_face: Floats32 = np.zeros((3, len(faces) + 1, len(vertices_m)), np.float32)
    for axis, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        of_face[axis, :-1] = along[i] * across[j] - along[j] * across[i]
    total = of_face[:, around[:, 0]]
    for column in around.T[1:]:
        total += of_face[:, column]
    total /= np.maximum(np.sqrt((total * total).sum(0)), 1e-12)
    return total.transpose(2, 1, 0)
