# SPDX-License-Identifier: GPL-3.0-or-later
"""One side of a hand model as arrays in MANO's schema, checked; and its mirror image."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_core.geometry.mirror import mirror
from inference_core.shared.errors import HandModelError
from inference_core.shared.skeleton import PARENTS_16

OPEN_HAND_NAME, MANO_NAME = "open hand", "MANO"
SHAPES, JOINTS, FINGER_JOINTS = 10, 16, 15
POSE_FEATURES = FINGER_JOINTS * 9
_LARGEST = 1e6  # largest magnitude of any number in a hand model: indices and metres


@dataclass(frozen=True)
class HandArrays:
    """One hand, numpy, metres. V vertices, F faces.

    template_m (V, 3); faces (F, 3) wound so that normals point out; shape_dirs (V, 3, 10) metres per beta;
    pose_dirs (V, 3, 135) metres per entry of R - I of the 15 finger joints, row-major; joint_regressor (16,
    V); skin_weights (V, 16); hands_mean (45,) and hands_components (45, 45) axis-angles, one component a
    row; tip_vertices (5,) thumb to pinky; uvs (F, 3, 2) texture coordinates of the face corners, or None.
    """

    template_m: NDArray[np.floating]
    faces: NDArray[np.integer]
    shape_dirs: NDArray[np.floating]
    pose_dirs: NDArray[np.floating]
    joint_regressor: NDArray[np.floating]
    skin_weights: NDArray[np.floating]
    parents: NDArray[np.integer]
    hands_mean: NDArray[np.floating]
    hands_components: NDArray[np.floating]
    tip_vertices: NDArray[np.integer]
    uvs: NDArray[np.floating] | None = None


def checked(arrays: HandArrays, source: str) -> HandArrays:
    """The same arrays, after checking their shapes, values and indices.

    Raises HandModelError naming `source` and the first invalid array.
    """
    vertices = len(arrays.template_m) if np.ndim(arrays.template_m) else 0
    faces = len(arrays.faces) if np.ndim(arrays.faces) else 0
    wanted = {
        "template_m": (vertices, 3),
        "faces": (faces, 3),
        "shape_dirs": (vertices, 3, SHAPES),
        "pose_dirs": (vertices, 3, POSE_FEATURES),
        "joint_regressor": (JOINTS, vertices),
        "skin_weights": (vertices, JOINTS),
        "parents": (JOINTS,),
        "hands_mean": (45,),
        "hands_components": (45, 45),
        "tip_vertices": (5,),
    }
    if arrays.uvs is not None:
        wanted["uvs"] = (faces, 3, 2)
    for name, shape in wanted.items():
        _check_one(name, getattr(arrays, name), shape, source)
    if vertices == 0 or faces == 0:
        raise HandModelError(f"{source}: the mesh is empty. Use the original, complete file.")
    sums = arrays.skin_weights.sum(1)
    if (arrays.skin_weights < -1e-6).any() or (np.abs(sums - 1) > 1e-2).any():
        raise HandModelError(
            f"{source}: skin_weights are below 0 or do not add up to 1. Use the original file."
        )
    _check_indices("faces", arrays.faces, vertices, source)
    _check_indices("tip_vertices", arrays.tip_vertices, vertices, source)
    if not np.array_equal(arrays.parents[1:], PARENTS_16[1:]):
        raise HandModelError(
            f"{source}: its joint tree is not MANO's (wrist, then index, middle, pinky, ring, thumb of three "
            f"joints each): {arrays.parents.tolist()}. Use a model in MANO's schema."
        )
    return arrays


def mirrored(arrays: HandArrays) -> HandArrays:
    """The other side's hand: every point, direction and rotation mirrored, faces wound the other way."""
    pose_dirs = arrays.pose_dirs.reshape(-1, 3, FINGER_JOINTS, 3, 3)
    pose_dirs = mirror(np.moveaxis(mirror(pose_dirs, "matrix"), 1, -1), "point")
    return replace(
        arrays,
        template_m=mirror(arrays.template_m, "point"),
        faces=np.ascontiguousarray(arrays.faces[:, ::-1]),
        shape_dirs=np.moveaxis(mirror(np.moveaxis(arrays.shape_dirs, 1, -1), "point"), -1, 1),
        pose_dirs=np.moveaxis(pose_dirs, -1, 1).reshape(arrays.pose_dirs.shape),
        hands_mean=_mirrored_pose(arrays.hands_mean),
        hands_components=_mirrored_pose(arrays.hands_components),
        uvs=None if arrays.uvs is None else np.ascontiguousarray(arrays.uvs[:, ::-1]),
    )


def _mirrored_pose(pose: NDArray[np.floating]) -> NDArray[np.floating]:
    return mirror(pose.reshape(-1, FINGER_JOINTS, 3), "rotation_vector").reshape(pose.shape)


def _check_one(name: str, value: object, shape: tuple[int, ...], source: str) -> None:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise HandModelError(f"{source}: {name} is not an array of numbers. Use the original, complete file.")
    if value.shape != shape:
        raise HandModelError(
            f"{source}: {name} has shape {value.shape}, not {shape}. Use the original, complete file."
        )
    if not (np.abs(value.astype(np.float64)) < _LARGEST).all():
        raise HandModelError(
            f"{source}: {name} holds impossible values or NaN. Use the original, complete file."
        )


def _check_indices(name: str, value: NDArray[np.integer], vertices: int, source: str) -> None:
    if value.dtype.kind not in "iu" or value.min() < 0 or value.max() >= vertices:
        raise HandModelError(
            f"{source}: {name} points outside the mesh, which has {vertices} vertices. "
            f"Give indices from 0 to {vertices - 1}."
        )
