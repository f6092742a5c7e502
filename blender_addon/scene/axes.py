# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's axes; the only file that knows them.

The take's world has OpenCV's axes (x right, y down, z forward), Blender's has z up: (x, y, z) -> (x, z, -y), so that
a camera without a pose looks along Blender's +Y with +Z up. Blender's cameras look along their own -Z with +Y up. The
hand at rest has MANO's axes (y the back of the hand, z the thumb's side, the right hand's fingers along -x): (x, y,
z) -> (x, -z, y) places it, palm down, as a character facing -Y holds it in a T-pose.

No bpy here: arrays in, arrays out.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Rotations that multiply from the left.
WORLD_FROM_TAKE: Floats = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
ARMATURE_FROM_REST: Floats = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
CAMERA_FROM_BLENDER_CAMERA: Floats = np.diag([1.0, -1, -1])

Y_UP_FROM_WORLD: Floats = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])

EYE_LEVEL_M = 1.5

# The direction of the resting hand's palm in its armature.
PALM_AT_REST: Floats = np.array([0.0, 0, -1])


def points_from_rest(points_m: NDArray[np.floating], origin_m: NDArray[np.floating], scale: float) -> Floats:
    """Points (..., 3) of the resting hand in its armature's axes and Blender units,
    with `origin_m` (3,) at the origin.
    """
    return (np.asarray(points_m, np.float64) - origin_m) @ ARMATURE_FROM_REST.T * scale


def camera_matrices(T_world_cam: NDArray[np.floating], scale: float) -> Floats:
    """Matrices (..., 4, 4) of Blender cameras with the poses of the take's cameras T_world_cam (..., 4, 4)."""
    pose = np.asarray(T_world_cam, np.float64)
    matrices = np.zeros_like(pose)
    matrices[..., :3, :3] = WORLD_FROM_TAKE @ pose[..., :3, :3] @ CAMERA_FROM_BLENDER_CAMERA
    matrices[..., :3, 3] = pose[..., :3, 3] @ WORLD_FROM_TAKE.T * scale
    matrices[..., 3, 3] = 1
    return matrices


def world_from_cameras(T_world_cam: NDArray[np.floating], scale: float) -> tuple[Floats, Floats]:
    """Rotations (..., 3, 3) and offsets (..., 3) from camera axes in metres to Blender: R @ x * scale + t."""
    pose = np.asarray(T_world_cam, np.float64)
    return WORLD_FROM_TAKE @ pose[..., :3, :3], pose[..., :3, 3] @ WORLD_FROM_TAKE.T * scale


def poses_from_camera_matrices(matrices: NDArray[np.floating], scale: float) -> Floats:
    """T_world_cam (..., 4, 4) of Blender cameras; the inverse of `camera_matrices`."""
    matrices = np.asarray(matrices, np.float64)
    poses = np.zeros_like(matrices)
    poses[..., :3, :3] = WORLD_FROM_TAKE.T @ matrices[..., :3, :3] @ CAMERA_FROM_BLENDER_CAMERA.T
    poses[..., :3, 3] = matrices[..., :3, 3] @ WORLD_FROM_TAKE / scale
    poses[..., 3, 3] = 1
    return poses


def unscaled(frames: Floats) -> Floats:
    """Frames (..., 3, 3) without the scale that an animator may have put on bones or armature."""
    return frames / np.linalg.norm(frames, axis=-2, keepdims=True)


def unscaled_pose(matrices: Floats) -> Floats:
    """Matrices (..., 4, 4) with axes of unit length at right angles, as a camera's pose has them."""
    left, _, right = np.linalg.svd(matrices[..., :3, :3])
    out = matrices.copy()
    out[..., :3, :3] = left @ right
    return out


def eye_level(scale: float) -> Floats:
    """Matrix (4, 4) of a place 1.5 m above the world's origin, where a new file's default objects are not in view."""
    matrix = np.eye(4)
    matrix[2, 3] = EYE_LEVEL_M * scale
    return matrix


def place_under_camera() -> Floats:
    """Matrix (4, 4) of the take's world in the axes of the Blender camera that is the take's camera."""
    matrix = np.eye(4)
    matrix[:3, :3] = CAMERA_FROM_BLENDER_CAMERA.T @ WORLD_FROM_TAKE.T
    return matrix
