# SPDX-License-Identifier: GPL-3.0-or-later
"""The hand model's shape from given lengths of its bones or of the whole hand."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from inference_core.exchange.engine_hands import Floats
from inference_core.hand_model.hand import HandModel
from inference_core.shared.skeleton import PARENTS_21

# How far bones of another hand model may differ in length from ours before the shape gives in; and the hand's length.
_BONE_M, _LENGTH_M = 2e-3, 2e-4
_MIDDLE_TIP = 12
_STEPS = 8

Lengths = Callable[[Tensor], Tensor]


def betas_of_bones(model: HandModel, lengths_m: Floats) -> Floats:
    """betas (2, 10) whose bones are as long as lengths_m (2, 20), each joint's but the wrist's from its parent; a side
    of NaN takes after the other, and both are the mean hand without any.
    """
    known = np.isfinite(lengths_m).all(1)
    if not known.any():
        return np.zeros((2, 10))
    wanted = np.where(known[:, None], lengths_m, lengths_m[int(np.argmax(known))])
    return _fitted(lambda betas: _bones_m(model, betas), wanted, _BONE_M)


def betas_of_length(model: HandModel, length_mm: float) -> Floats:
    """betas (2, 10) of the most likely hands that measure length_mm from the wrist to the middle fingertip."""
    return _fitted(lambda betas: _length_m(model, betas), np.full((2, 1), length_mm / 1000), _LENGTH_M)


def _fitted(lengths: Lengths, wanted_m: Floats, spread_m: float) -> Floats:
    """Gauss-Newton from the mean hand, betas of standard deviation 1."""
    target, betas = torch.as_tensor(wanted_m), torch.zeros(2, 10).double()
    for _ in range(_STEPS):
        slopes = torch.autograd.functional.jacobian(lengths, betas)
        for side in (0, 1):
            J = slopes[side, :, side] / spread_m  # pyright: ignore[reportCallIssue, reportArgumentType]
            error = (lengths(betas)[side] - target[side]) / spread_m
            step = torch.linalg.solve(J.mT @ J + torch.eye(10).double(), J.mT @ error + betas[side])
            betas[side] = betas[side] - step
    return betas.numpy()


def _bones_m(model: HandModel, betas: Tensor) -> Tensor:
    joints_m = _flat_joints_m(model, betas)
    return (joints_m[:, 1:] - joints_m[:, PARENTS_21[1:].tolist()]).norm(dim=-1)


def _length_m(model: HandModel, betas: Tensor) -> Tensor:
    joints_m = _flat_joints_m(model, betas)
    return (joints_m[:, _MIDDLE_TIP] - joints_m[:, 0]).norm(dim=-1, keepdim=True)


def _flat_joints_m(model: HandModel, betas: Tensor) -> Tensor:
    flat = torch.eye(3).double().expand(2, 16, 3, 3)
    return model.with_shape(betas).with_pose(flat).joints21_m
