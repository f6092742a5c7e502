# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of the shot solve."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ShotSolution:
    """Both hands through T frames; S sides (left, right). Absent hands hold NaN, and their confidence is 0.

    betas (S, 10); world_scale (S,): the model's size over the world landmarks'; root_wxyz (T, S, 4) wrist rotation in
    camera axes; pose_wxyz (T, S, 15, 4) finger rotations relative to the rest pose, MANO's order; wrist_cam_m (T, S,
    3); joints_cam_m (T, S, 21, 3); confidence (T, S) 0..1; present (T, S) absent, seen or filled: a hand whose
    landmarks jumped for a frame counts as filled.
    The raw_ fields hold every frame on its own, before smoothing, contact and the interpolation of gaps; a
    frame without readings is interpolated between its neighbours. pose_confidence, distance_confidence (T, S):
    the probabilities that the joints about the middle knuckle are within 10 mm, and the distance within 5 %.
    contact (T,): the probability that the hands touch. reprojection_px (T, S): mean distance of the landmarks
    from the solved hand's, NaN if unseen.
    """

    betas: NDArray[np.float32]
    world_scale: NDArray[np.float64]
    root_wxyz: NDArray[np.float32]
    pose_wxyz: NDArray[np.float32]
    wrist_cam_m: NDArray[np.float32]
    joints_cam_m: NDArray[np.float32]
    raw_root_wxyz: NDArray[np.float32]
    raw_pose_wxyz: NDArray[np.float32]
    raw_wrist_cam_m: NDArray[np.float32]
    raw_joints_cam_m: NDArray[np.float32]
    confidence: NDArray[np.float32]
    present: NDArray[np.uint8]
    pose_confidence: NDArray[np.float32]
    distance_confidence: NDArray[np.float32]
    contact: NDArray[np.float32]
    reprojection_px: NDArray[np.float32]
