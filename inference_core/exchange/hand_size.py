# SPDX-License-Identifier: GPL-3.0-or-later
"""The hand model's shape from given lengths of its bones or of the whole hand."""

import numpy as np
from numpy.typing import NDArray

from inference_core.exchange.engine_hands import Floats
from inference_core.hand_model.hand import HandModel
from inference_core.shared.skeleton import JOINTS_21_FROM_16_AND_TIPS, PARENTS_21

# How far bones of another hand model may differ in length from ours before the shape gives in; and the hand's length.
_BONE_M, _LENGTH_M = 2e-3, 2e-4
_WRIST, _MIDDLE_TIP = 0, 12
_STEPS = 8


def betas_of_bones(model: HandModel, lengths_m: Floats) -> Floats:
    """betas (2, 10) whose bones are as long as lengths_m (2, 20), each joint's but the wrist's from its parent; a side
    of NaN takes after the other, and both are the mean hand without any.
    """
    known = np.isfinite(lengths_m).all(1)
    if not known.any():
        return np.zeros((2, 10))
    wanted = np.where(known[:, None], lengths_m, lengths_m[int(np.argmax(known))])
    return _fitted(model, PARENTS_21[1:], np.arange(1, 21), wanted, _BONE_M)


def betas_of_length(model: HandModel, length_mm: float) -> Floats:
    """betas (2, 10) of the most likely hands that measure length_mm from the wrist to the middle fingertip."""
    wanted = np.full((2, 1), length_mm / 1000)
    return _fitted(model, np.array([_WRIST]), np.array([_MIDDLE_TIP]), wanted, _LENGTH_M)


def _fitted(
    model: HandModel, starts: NDArray[np.int64], ends: NDArray[np.int64], wanted_m: Floats, spread_m: float
) -> Floats:
    """betas (2, 10) whose resting joints `starts` and `ends` (N,) of the 21 are wanted_m (2, N) apart.

    Gauss-Newton from the mean hand, betas of standard deviation 1.
    """
    joints_m = _of_21(model.rest_joints_m, model.tip_slices.template_m)
    shape_dirs = _of_21(model.joint_shape_dirs, model.tip_slices.shape_dirs)
    betas = np.zeros((2, 10))
    for side in (0, 1):
        mean_m = joints_m[side, ends] - joints_m[side, starts]
        slopes = shape_dirs[side, ends] - shape_dirs[side, starts]
        for _ in range(_STEPS):
            bones_m = mean_m + slopes @ betas[side]
            lengths_m = np.linalg.norm(bones_m, axis=-1)
            J = ((bones_m / lengths_m[:, None])[:, None] @ slopes)[:, 0] / spread_m
            error = (lengths_m - wanted_m[side]) / spread_m
            betas[side] -= np.linalg.solve(J.T @ J + np.eye(10), J.T @ error + betas[side])
    return betas


def _of_21(of_joints: Floats, of_tips: Floats) -> Floats:
    """(S, 21, ...) of values (S, 16, ...) of the joints and (S, 5, ...) of the fingertips."""
    return np.concatenate([of_joints, of_tips], 1)[:, JOINTS_21_FROM_16_AND_TIPS]
