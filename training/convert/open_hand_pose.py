# SPDX-License-Identifier: GPL-3.0-or-later
"""The open hand's pose space: sampled hand poses, their principal components, and pose correctives.

The correctives make linear skinning look like dual-quaternion skinning (no collapsing joints) and raise the
knuckles of a bent finger.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.geometry.rotations import matrix_to_quaternion
from inference_core.hand_model.anatomy import joint_limits_rad
from inference_core.hand_model.arrays import FINGER_JOINTS, POSE_FEATURES
from inference_core.hand_model.hand import HandModel
from inference_core.shared.skeleton import PARENTS_16, RIGHT
from training.convert.open_hand_source import Array

_RELAXED_DEG = {
    0: (18, 28, 14),  # index: flexion of its three joints
    1: (20, 30, 15),
    2: (24, 32, 16),
    3: (22, 31, 16),
}
_RELAXED_THUMB_DEG = ((6.0, 4.0, 0.0), (12.0, 0.0, 0.0), (14.0, 0.0, 0.0))
# How far each long finger (index, middle, pinky, ring) leaves the middle one when the hand is spread.
_FAN = np.array([1.0, 0.2, -1.2, -0.6])
_RIDGE = 2.0
_LARGEST_CORRECTION_M = 0.02
# Height, reach and place of the rise over a bent joint's back, metres: (first, middle, last joints).
_KNUCKLE_RISE_M = (0.0030, 0.0016, 0.0006)
_KNUCKLE_REACH_M = (0.0085, 0.0060, 0.0050)
_BATCH = 50


@dataclass(frozen=True)
class PoseSpace:
    """mean (45,) and components (45, 45), axis-angles of the right hand."""

    mean: Array
    components: Array


def sample_angles(count: int, noise: np.random.Generator) -> Array:
    """(N, 15, 3) flexion, spread, twist, radians, within the joint limits: fists, points, pinches, fans
    and all between.

    A common closing of the hand and closings of the single fingers are mixed, for fingers mostly move together.
    """
    angles = np.zeros((count, FINGER_JOINTS, 3))
    common = noise.beta(0.7, 0.9, count)
    fan = noise.normal(4, 8, count)
    for finger in range(4):
        own = np.where(noise.random(count) < 0.55, common, noise.beta(0.7, 0.9, count))
        closed = np.clip(own + noise.normal(0, 0.08, count), 0, 1)
        first, middle, last = (3 * finger + k for k in range(3))
        angles[:, first, 0] = np.deg2rad(-12 + 98 * np.clip(closed * noise.uniform(0.5, 1.2, count), 0, 1.05))
        angles[:, middle, 0] = np.deg2rad(104 * np.clip(closed * noise.uniform(0.7, 1.3, count), 0, 1.02))
        angles[:, last, 0] = angles[:, middle, 0] * noise.uniform(0.3, 0.8, count)
        sideways = _FAN[finger] * fan + noise.normal(0, 3, count)
        angles[:, first, 1] = np.deg2rad(sideways) * (1 - 0.75 * closed)
        angles[:, first, 2] = np.deg2rad(noise.normal(0, 3, count))
    angles[:, 12] = np.deg2rad(noise.normal((8, 0, 0), (14, 15, 10), (count, 3)))
    angles[:, 13] = np.deg2rad(noise.normal((15, 0, 0), (18, 5, 3), (count, 3)))
    angles[:, 14, 0] = np.deg2rad(noise.normal(20, 25, count))
    limits = joint_limits_rad()
    return np.clip(angles, limits[..., 0], limits[..., 1])


def fit_pose_space(axes: Array, seed: int, count: int = 20000) -> PoseSpace:
    """Principal components of sampled poses about a relaxed hand; axes (15, 3, 3)."""
    noise = np.random.default_rng(seed)
    poses = _axis_angles(axes, sample_angles(count, noise))
    relaxed = np.zeros((1, FINGER_JOINTS, 3))
    for finger, flexions in _RELAXED_DEG.items():
        relaxed[0, 3 * finger : 3 * finger + 3, 0] = np.deg2rad(flexions)
    relaxed[0, 12:] = np.deg2rad(_RELAXED_THUMB_DEG)
    centred = poses - poses.mean(0) + noise.normal(0, 0.003, poses.shape)
    _, _, components = np.linalg.svd(centred, full_matrices=False)
    return PoseSpace(_axis_angles(axes, relaxed)[0], components)


def fit_pose_correctives(model: HandModel, seed: int, count: int = 1400) -> tuple[Array, dict[str, float]]:
    """(V, 3, 135) correctives of the right hand of a model without any (float64), and what they achieve
    on poses of a validation set.

    A ridge regression for each vertex on the rotations of only those joints that move it.
    """
    noise = np.random.default_rng(seed)
    angles = sample_angles(count, noise)
    angles[: count // 5] += noise.normal(0, 0.2, (count // 5, FINGER_JOINTS, 3)) * np.array([1, 0.4, 0.3])
    features, wanted, gap = _training_pairs(model, torch.tensor(angles))
    weights = model.skin_weights[RIGHT].numpy()
    used = count - count // 7
    correctives = np.zeros((len(weights), 3, POSE_FEATURES))
    for joints, vertices in _vertices_by_joints(weights).items():
        columns = np.concatenate([np.arange(9 * (j - 1), 9 * j) for j in joints])
        seen = features[:used, columns]
        system = seen.T @ seen + _RIDGE * np.eye(len(columns))
        found = np.linalg.solve(system, seen.T @ wanted[:used, vertices].reshape(used, -1))
        correctives[np.ix_(vertices, np.arange(3), columns)] = found.reshape(
            len(columns), len(vertices), 3
        ).transpose(1, 2, 0)
    left = wanted[used:] - np.einsum("vck,nk->nvc", correctives, features[used:])
    report = {
        "gap_to_dual_quaternions_mm": float(gap[used:].mean() * 1e3),
        "wanted_mm": float(np.linalg.norm(wanted[used:], axis=2).mean() * 1e3),
        "left_after_fit_mm": float(np.linalg.norm(left, axis=2).mean() * 1e3),
    }
    return correctives, report


def _training_pairs(model: HandModel, angles: Tensor) -> tuple[Array, Array, Array]:
    """Features (N, 135), wanted corrections (N, V, 3), distance linear to dual-quaternion (N, V)."""
    rise = _knuckle_rises(model)
    weights = model.skin_weights[RIGHT]
    features, wanted, gaps = [], [], []
    shaped = model.with_shape(torch.zeros(2, 10, dtype=torch.float64))
    rest_joints, rest = shaped.rest_joints_m[RIGHT], shaped.rest_vertices_m[RIGHT]
    identity = torch.eye(3, dtype=torch.float64)
    for part in angles.split(_BATCH):
        fingers = model.rotations_from_angles(part[:, None].expand(-1, 2, -1, -1))
        rotations = torch.cat([identity.expand(len(part), 2, 1, 3, 3), fingers], 2)
        posed = shaped.with_pose(rotations)
        turns, places = posed.global_rotations[:, RIGHT], posed.joints16_m[:, RIGHT]
        shifts = places - (turns @ rest_joints[..., None])[..., 0]
        blended = torch.einsum("vj,njab->nvab", weights, turns)
        linear = (blended @ rest[..., None])[..., 0] + torch.einsum("vj,nja->nva", weights, shifts)
        gap = dual_quaternion_skinned(turns, shifts, weights, rest) - linear
        correction = torch.linalg.solve(blended + 1e-4 * identity, gap[..., None])[..., 0]
        bend = 1 - torch.cos(part[..., 0].clamp(min=0))
        features.append((rotations[:, RIGHT, 1:] - identity).flatten(1))
        limited = correction.clamp(-_LARGEST_CORRECTION_M, _LARGEST_CORRECTION_M)
        wanted.append(limited + torch.einsum("nj,jvc->nvc", bend, rise))
        gaps.append(gap.norm(dim=-1))
    return tuple(torch.cat(parts).numpy() for parts in (features, wanted, gaps))  # pyright: ignore[reportReturnType]


def _knuckle_rises(model: HandModel) -> Tensor:
    """(15, V, 3) skin raised over each long finger's joint for one unit of 1 - cos(flexion), rest frame."""
    rest = model.template_m[RIGHT]
    joints = model.rest_joints_m[RIGHT]
    rises = torch.zeros(FINGER_JOINTS, len(rest), 3, dtype=torch.float64)
    for joint in range(12):
        level = joint % 3
        dorsal, sideways, along = model.joint_axes[RIGHT, joint, :, [1, 0, 2]].unbind(-1)
        arms = rest - joints[joint + 1]
        near = ((arms @ along) ** 2 + (arms @ sideways) ** 2) / _KNUCKLE_REACH_M[level] ** 2
        above = ((arms @ dorsal) > 0).double()
        rises[joint] = (_KNUCKLE_RISE_M[level] * above * torch.exp(-near))[:, None] * dorsal
    return rises


def dual_quaternion_skinned(turns: Tensor, shifts: Tensor, weights: Tensor, rest: Tensor) -> Tensor:
    """(N, V, 3) dual-quaternion skinning (Kavan 2007); signs aligned along the joint chain."""
    real = matrix_to_quaternion(turns)
    aligned = [real[:, 0]]
    for joint in range(1, 16):
        current, parent = real[:, joint], aligned[PARENTS_16[joint]]
        aligned.append(torch.where((current * parent).sum(-1, keepdim=True) < 0, -current, current))
    real = torch.stack(aligned, 1)
    dual = 0.5 * _product(torch.cat([torch.zeros_like(shifts[..., :1]), shifts], -1), real)
    real, dual = (torch.einsum("vj,njq->nvq", weights, part) for part in (real, dual))
    length = real.norm(dim=-1, keepdim=True)
    real, dual = real / length, dual / length
    w, xyz = real[..., :1], real[..., 1:]
    rest = rest.expand_as(xyz)
    turned = rest + 2 * torch.linalg.cross(xyz, torch.linalg.cross(xyz, rest, dim=-1) + w * rest, dim=-1)
    conjugate = real * torch.tensor([1.0, -1, -1, -1], dtype=real.dtype)
    return turned + 2 * _product(dual, conjugate)[..., 1:]


def _product(first: Tensor, second: Tensor) -> Tensor:
    w, x = first[..., :1], first[..., 1:]
    a, y = second[..., :1], second[..., 1:]
    return torch.cat(
        [w * a - (x * y).sum(-1, keepdim=True), w * y + a * x + torch.linalg.cross(x, y, dim=-1)], -1
    )


def _vertices_by_joints(weights: Array) -> dict[tuple[int, ...], NDArray[np.int64]]:
    """Vertices grouped by the finger joints that move them by more than 1 %."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for vertex, row in enumerate(weights[:, 1:]):
        groups.setdefault(tuple((np.flatnonzero(row > 0.01) + 1).tolist()), []).append(vertex)
    return {joints: np.array(vertices) for joints, vertices in groups.items() if joints}


def _axis_angles(axes: Array, angles: Array) -> Array:
    return np.einsum("jab,njb->nja", axes, angles).reshape(len(angles), -1)
