# SPDX-License-Identifier: GPL-3.0-or-later
"""The open hand's shape space: MakeHuman's variety, widened, and its ten principal directions."""

from dataclasses import dataclass, replace

import numpy as np

from inference_core.hand_model.arrays import SHAPES
from training.convert.open_hand_rig import RiggedHands, fit_regressor
from training.convert.open_hand_source import Array

# Standard deviations of extra factors. MakeHuman's sliders move all fingers together and couple thickness to
# length; measured hands vary in these ratios by 3 to 6 %.
_PALM_SPREAD = np.array([0.025, 0.050, 0.035])  # length, thickness, width
_ALL_FINGERS_LENGTH, _EACH_FINGER_LENGTH, _THUMB_LENGTH = 0.035, 0.020, 0.045
_ALL_THICKNESS, _EACH_THICKNESS = 0.060, 0.020


@dataclass(frozen=True)
class ShapeSpace:
    """template_m (V, 3), shape_dirs (V, 3, 10), regressor (16, V), betas (N, 10); forearm_* likewise.

    explained: share of the variance; reconstruction_mm and regressor_mm: mean errors of vertices and joints.
    """

    template_m: Array
    shape_dirs: Array
    regressor: Array
    forearm_template_m: Array
    forearm_dirs: Array
    betas: Array
    explained: float
    reconstruction_mm: float
    regressor_mm: float


def with_more_variety(rigged: RiggedHands, seed: int) -> RiggedHands:
    """The same hands in other proportions: every bone's part stretched along and across its axis."""
    noise = np.random.default_rng(seed)
    count = len(rigged.vertices_m)
    stretches = _stretches(rigged, noise, count)
    old, new = rigged.joints_m, rigged.joints_m.copy()
    for root in range(1, 16, 3):
        new[:, root] = old[:, 0] + _apply(stretches[:, 0], old[:, root] - old[:, 0])
        for joint in (root, root + 1):
            new[:, joint + 1] = new[:, joint] + _apply(stretches[:, joint], old[:, joint + 1] - old[:, joint])
    blended = np.einsum("vj,njab->nvab", rigged.weights, stretches)
    shifts = new - _apply(stretches, old)
    vertices = _apply(blended, rigged.vertices_m) + np.einsum("vj,njb->nvb", rigged.weights, shifts)
    return replace(rigged, vertices_m=vertices, joints_m=new)


def fit_shape_space(rigged: RiggedHands, seed: int) -> ShapeSpace:
    """Ten principal directions; all wrists at one point, the mean hand's middle knuckle at the origin."""
    regressor = fit_regressor(rigged, seed)
    hand = slice(0, rigged.hand_count)
    joints = np.einsum("jv,nvc->njc", regressor, rigged.vertices_m[:, hand])
    missed = np.linalg.norm(joints - rigged.joints_m, axis=2)
    mean_joints = joints.mean(0)
    placed = rigged.vertices_m - joints[:, :1] + mean_joints[0] - mean_joints[4]
    vertices = placed[:, hand]
    mean = vertices.mean(0)
    count = len(vertices)
    arms = (vertices - mean).reshape(count, -1)
    _, singular, directions = np.linalg.svd(arms, full_matrices=False)
    spread = singular[:SHAPES] / np.sqrt(count - 1)
    grows = ((directions[:SHAPES].reshape(SHAPES, -1, 3) * (mean - mean.mean(0))).sum((1, 2)) >= 0) * 2 - 1
    axes = directions[:SHAPES] * grows[:, None]
    betas = arms @ axes.T / spread
    shape_dirs = (axes * spread[:, None]).T.reshape(-1, 3, SHAPES)
    rebuilt = np.einsum("vck,nk->nvc", shape_dirs, betas) + mean
    forearm_template, forearm_dirs = _follow(betas, placed[:, rigged.hand_count :])
    return ShapeSpace(
        template_m=mean,
        shape_dirs=shape_dirs,
        regressor=regressor,
        forearm_template_m=forearm_template,
        forearm_dirs=forearm_dirs,
        betas=betas,
        explained=float((singular[:SHAPES] ** 2).sum() / (singular**2).sum()),
        reconstruction_mm=float(np.linalg.norm(rebuilt - vertices, axis=2).mean() * 1e3),
        regressor_mm=float(missed.mean() * 1e3),
    )


def _follow(betas: Array, vertices_m: Array) -> tuple[Array, Array]:
    """Mean (V, 3) and directions (V, 3, 10) of further vertices (N, V, 3) as functions of the betas (N, 10)."""
    mean = vertices_m.mean(0)
    found = np.linalg.lstsq(betas, (vertices_m - mean).reshape(len(betas), -1), rcond=None)[0]
    return mean, found.T.reshape(-1, 3, betas.shape[1])


def _stretches(rigged: RiggedHands, noise: np.random.Generator, count: int) -> Array:
    """(N, 16, 3, 3) symmetric stretches of the wrist's and the finger joints' parts."""
    joints = rigged.mean_joints_m
    stretches = np.zeros((count, 16, 3, 3))
    stretches[:, 0] = np.eye(3) * (1 + noise.normal(0, _PALM_SPREAD, (count, 3)))[:, None]
    fingers_length = noise.normal(0, _ALL_FINGERS_LENGTH, count)
    thickness = noise.normal(0, _ALL_THICKNESS, count)
    for root in range(1, 16, 3):
        own = noise.normal(0, _THUMB_LENGTH, count) if root == 13 else fingers_length
        length = 1 + own + noise.normal(0, _EACH_FINGER_LENGTH, count)
        across = 1 + thickness + noise.normal(0, _EACH_THICKNESS, count)
        for joint in range(root, root + 3):
            end = joints[joint + 1] if joint < root + 2 else 2 * joints[joint] - joints[joint - 1]
            axis = (end - joints[joint]) / np.linalg.norm(end - joints[joint])
            along = np.outer(axis, axis)
            stretches[:, joint] = length[:, None, None] * along + across[:, None, None] * (np.eye(3) - along)
    return stretches


def _apply(matrices: Array, vectors: Array) -> Array:
    return (matrices @ vectors[..., None])[..., 0]
