# SPDX-License-Identifier: GPL-3.0-or-later
"""The skin of a take's hands in camera space, from the take alone (docs/take_format.md, "The mesh").

Standard library and numpy only: Blender's side shares this file.
"""

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.quaternions import to_matrix
from inference_core.shared.take import Take


def posed_vertices(take: Take, frame: int) -> NDArray[np.float64]:
    """Vertices (S, V, 3) of row `frame` of the take, camera axes, metres; NaN where the hand is absent."""
    wxyz = np.concatenate([take.root_wxyz[frame, :, None], take.pose_wxyz[frame]], 1).astype(np.float64)
    return np.stack([_posed(take, side, wxyz[side], take.wrist_cam_m[frame, side]) for side in (0, 1)])


def _posed(
    take: Take, side: int, wxyz: NDArray[np.float64], wrist_cam_m: NDArray[np.float32]
) -> NDArray[np.float64]:
    if np.isnan(wxyz).any():
        return np.full(take.rest_vertices_m[side].shape, np.nan)
    rotations = to_matrix(wxyz)
    vertices = take.rest_vertices_m[side].astype(np.float64)
    if take.pose_dirs is not None:
        vertices = vertices + take.pose_dirs[side] @ (rotations[1:] - np.eye(3)).reshape(-1)
    turns, joints = _chained(rotations, take.rest_joints_m[side], take.parents)
    # One blended affine map a vertex: v -> sum_j w_j (turn_j (v - rest_j) + joint_j).
    offsets = joints - (turns @ take.rest_joints_m[side][..., None])[..., 0]
    weights = take.skin_weights[side].astype(np.float64)
    blended = (weights @ turns.reshape(16, 9)).reshape(-1, 3, 3)
    return (blended @ vertices[..., None])[..., 0] + weights @ offsets + wrist_cam_m


def _chained(
    rotations: NDArray[np.float64], rest_joints_m: NDArray[np.float32], parents: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turns (16, 3, 3) and places (16, 3) of the joints, the wrist at the origin."""
    turns, joints = rotations.copy(), np.zeros((16, 3))
    for joint in range(1, 16):
        parent = parents[joint]
        turns[joint] = turns[parent] @ rotations[joint]
        joints[joint] = joints[parent] + turns[parent] @ (rest_joints_m[joint] - rest_joints_m[parent])
    return turns, joints
