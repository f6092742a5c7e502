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


def skinned_vertices(
    take: Take,
    side: int,
    chosen: NDArray[np.int32] | slice,
    fingers: NDArray[np.float64],
    turns: NDArray[np.float64],
    joints_m: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(K, N, 3) the chosen N vertices of one hand in K poses, by linear blend skinning with pose correctives.

    fingers (K, 15, 3, 3): rotations relative to the parents. turns (K, 16, 3, 3), joints_m (K, 16, 3): the joints'
    global rotations and positions, in the axes of the result.
    """
    vertices = take.rest_vertices_m[side, chosen].astype(np.float64)
    if take.pose_dirs is not None:
        features = (fingers - np.eye(3)).reshape(len(fingers), -1)
        vertices = vertices + np.moveaxis(take.pose_dirs[side, chosen] @ features.T, -1, 0)
    # One blended affine map a vertex: v -> sum_j w_j (turn_j (v - rest_j) + joint_j).
    offsets = joints_m - (turns @ take.rest_joints_m[side][..., None])[..., 0]
    weights = take.skin_weights[side, chosen].astype(np.float64)
    weights /= weights.sum(-1, keepdims=True)
    blended = (weights @ turns.reshape(-1, 16, 9)).reshape(len(turns), -1, 3, 3)
    return (blended @ vertices[..., None])[..., 0] + weights @ offsets


def _posed(
    take: Take, side: int, wxyz: NDArray[np.float64], wrist_cam_m: NDArray[np.float32]
) -> NDArray[np.float64]:
    if np.isnan(wxyz).any():
        return np.full(take.rest_vertices_m[side].shape, np.nan)
    rotations = to_matrix(wxyz)
    turns, joints = chained(rotations, take.rest_joints_m[side], take.parents)
    return (
        skinned_vertices(take, side, slice(None), rotations[None, 1:], turns[None], joints[None])[0]
        + wrist_cam_m
    )


def chained(
    rotations: NDArray[np.float64], rest_joints_m: NDArray[np.float32], parents: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Global rotations (16, 3, 3) and positions (16, 3) of the joints, the wrist at the origin."""
    turns, joints = rotations.copy(), np.zeros((16, 3))
    for joint in range(1, 16):
        parent = parents[joint]
        turns[joint] = turns[parent] @ rotations[joint]
        joints[joint] = joints[parent] + turns[parent] @ (rest_joints_m[joint] - rest_joints_m[parent])
    return turns, joints
