# SPDX-License-Identifier: GPL-3.0-or-later
"""A small, sound take with hands that move, for tests of whatever reads or writes takes."""

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.skeleton import DRIVER_16_OF_21, PARENTS_16
from inference_core.shared.take import Take

VERTICES, FACES = 48, 80


def sample_take(frame_count: int = 12, present: NDArray[np.uint8] | None = None, seed: int = 0) -> Take:
    """A take of `frame_count` frames at 25 fps, 640 x 360. present (T, 2) defaults to both hands seen.

    Its mesh is no hand, but it is skinned; its joints are no fit, but they are finite and move smoothly.
    """
    rng = np.random.default_rng(seed)
    if present is None:
        present = np.ones((frame_count, 2), np.uint8)
    time_s = np.arange(frame_count) / 25.0
    phase = time_s[:, None, None, None] * 2 + rng.uniform(0, 6, (1, 2, 16, 1))
    axes = rng.normal(size=(1, 2, 16, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    half_angle = 0.4 * np.sin(phase)
    wxyz = np.concatenate([np.cos(half_angle), np.sin(half_angle) * axes], -1).astype(np.float32)
    wrist = np.stack([0.1 * np.sin(time_s), 0.05 * np.cos(time_s), 0.6 + 0.0 * time_s], -1)
    wrist_cam_m = (wrist[:, None] + np.array([[-0.1, 0, 0], [0.1, 0, 0]])).astype(np.float32)
    rest_joints_m = rng.normal(scale=0.04, size=(2, 16, 3)).astype(np.float32)
    offsets = rest_joints_m[:, DRIVER_16_OF_21] - rest_joints_m[:, :1]
    joints_cam_m = wrist_cam_m[:, :, None] + offsets + 0.01 * np.sin(phase[:, :, DRIVER_16_OF_21])
    weights = rng.random((2, VERTICES, 16)).astype(np.float32)
    absent = present == 0
    moving = {
        "root_wxyz": wxyz[:, :, 0],
        "pose_wxyz": wxyz[:, :, 1:],
        "wrist_cam_m": wrist_cam_m,
        "joints_cam_m": joints_cam_m.astype(np.float32),
    }
    moving |= {f"raw_{name}": value.copy() for name, value in moving.items()}
    landmarks_px = rng.uniform(0, 360, (frame_count, 2, 21, 3)).astype(np.float32)
    landmarks_px[..., 2] = 0.9
    for value in (*moving.values(), landmarks_px):
        value[absent] = np.nan
    landmarks_px[absent, :, 2] = 0
    return Take(
        time_s=time_s,
        frame=np.arange(frame_count, dtype=np.int64),
        fps=25.0,
        size_px=np.array([640, 360], np.int64),
        K=np.array([[554.0, 0, 320], [0, 554.0, 180], [0, 0, 1]]),
        T_world_cam=np.tile(np.eye(4), (frame_count, 1, 1)),
        present=present,
        confidence=np.where(absent, 0, 0.9).astype(np.float32),
        landmarks_px=landmarks_px,
        betas=rng.normal(size=(2, 10)).astype(np.float32),
        rest_vertices_m=rng.normal(scale=0.05, size=(2, VERTICES, 3)).astype(np.float32),
        rest_joints_m=rest_joints_m,
        faces=rng.integers(0, VERTICES, (2, FACES, 3)).astype(np.int32),
        skin_weights=weights / weights.sum(-1, keepdims=True),
        parents=PARENTS_16.astype(np.int32),
        tip_vertices=rng.integers(0, VERTICES, (2, 5)).astype(np.int32),
        pose_dirs=rng.normal(scale=1e-4, size=(2, VERTICES, 3, 135)).astype(np.float32),
        meta={"footage": {"path": "clip.mp4"}, "hand_model": {"name": "sample", "licence": "CC0-1.0"}},
        **moving,
    )
