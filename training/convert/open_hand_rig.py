# SPDX-License-Identifier: GPL-3.0-or-later
"""MakeHuman's bones made into MANO's rig: anatomical knuckles, soft weights, a flat rest pose."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.spatial.transform import Rotation

from inference_core.shared.skeleton import FINGERS, MANO_FINGERS, PARENTS_16
from training.convert.open_hand_source import Array, SourceHands

LONG_FINGERS = MANO_FINGERS[:4]

# Length of the proximal phalanx on the mean hand (184 mm long), metres: MakeHuman puts finger roots at the
# webs, some 15 mm beyond the knuckles, and fists made with them look like mittens.
_PROXIMAL_M = {"index": 0.0385, "middle": 0.0425, "ring": 0.0390, "pinky": 0.0310}
# Depth of the joints' centres below the back of the finger, as a share of its thickness: first, middle, last
# joints. MakeHuman's are just under the skin, so that bending crushes the palm side and leaves no knuckle.
_DEPTH_SHARE = (0.36, 0.42, 0.42)
_THUMB_BACK = np.array([-0.25, 0.55, 0.80])
_THUMB_ROOT_TO_WRIST, _THUMB_ROOT_DOWN_M = 0.22, 0.004
# Directions of the flat fingers relative to the middle one, degrees, positive to the thumb; and
# how far the last phalanx bends.
_REST_SPREAD_DEG = {"index": 6.0, "middle": 0.0, "ring": -7.0, "pinky": -15.0}
_TIP_DIP = 0.06
_KNUCKLE_FALLOFF_M = (0.011, 0.024)
_THUMB_FALLOFF_M = (0.004, 0.030)
_SMOOTHING_ROUNDS = 4
_REGRESSOR_SAMPLES = 60


@dataclass(frozen=True)
class RiggedHands:
    """N hands with their forearms in one flat rest pose, metres; the hand's own vertices first.

    vertices_m (N, V, 3), joints_m (N, 16, 3), weights (V, 16), faces (F, 3) of the hand alone, tips (5,).
    """

    vertices_m: Array
    joints_m: Array
    weights: Array
    faces: NDArray[np.int64]
    tips: NDArray[np.int64]
    hand_count: int

    @property
    def mean_vertices_m(self) -> Array:
        return self.vertices_m.mean(0)

    @property
    def mean_joints_m(self) -> Array:
        return self.joints_m.mean(0)


def rig_hands(source: SourceHands) -> RiggedHands:
    """The sampled hands with MANO's sixteen joints, flat."""
    faces = source.faces[(source.faces < source.hand_count).all(1)]
    mean_m = source.vertices_m[:, : source.hand_count].mean(0)
    joints_m = _sunk(_anatomical_joints(source.bone_heads_m), mean_m, faces)
    forearm = np.eye(1, 16).repeat(len(source.forearm_weights) - source.hand_count, 0)
    weights = np.concatenate([_repainted(source, mean_m, joints_m.mean(0), faces), forearm])
    rigged = RiggedHands(
        source.vertices_m, joints_m, weights, faces, np.zeros(5, np.int64), source.hand_count
    )
    rigged = replace(rigged, tips=_fingertips(rigged))
    return _flattened(rigged)


def neighbours(faces: NDArray[np.int64], count: int) -> Array:
    """(V, V) row-normalised adjacency of the mesh."""
    adjacency = np.zeros((count, count))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        adjacency[faces[:, a], faces[:, b]] = adjacency[faces[:, b], faces[:, a]] = 1
    return adjacency / np.maximum(adjacency.sum(1, keepdims=True), 1)


def fit_regressor(rigged: RiggedHands, seed: int) -> Array:
    """(16, V) convex weights that locate each joint among the vertices near it, for any shape."""
    picked = np.random.default_rng(seed).permutation(len(rigged.vertices_m))[:_REGRESSOR_SAMPLES]
    mean_v, mean_j = rigged.mean_vertices_m[: rigged.hand_count], rigged.mean_joints_m
    regressor = np.zeros((16, len(mean_v)))
    for joint in range(16):
        near = np.argsort(np.linalg.norm(mean_v - mean_j[joint], axis=1))[: 260 if joint in (0, 13) else 110]
        rows = np.concatenate([mean_v[None, near], rigged.vertices_m[picked][:, near]])
        wanted = np.concatenate([mean_j[None, joint], rigged.joints_m[picked, joint]])
        # In millimetres, with a heavy last row that makes the weights sum to one.
        system = np.concatenate(
            [rows.transpose(0, 2, 1).reshape(-1, len(near)) * 1e3, np.full((1, len(near)), 1e4)]
        )
        found, _ = nnls(system, np.append(wanted.reshape(-1) * 1e3, 1e4), maxiter=20000)
        regressor[joint, near] = found / found.sum()
    return regressor


def turn_hands(rigged: RiggedHands, rotations: Array) -> RiggedHands:
    """All hands linearly skinned with the same sixteen local rotations (16, 3, 3)."""
    joints = rigged.joints_m
    turns = np.zeros((16, 3, 3))
    shifts = np.zeros(joints.shape)
    places = joints.copy()
    for j in range(16):
        parent = PARENTS_16[j]
        turns[j] = rotations[j] if parent < 0 else turns[parent] @ rotations[j]
        if parent >= 0:
            places[:, j] = joints[:, j] @ turns[parent].T + shifts[:, parent]
        shifts[:, j] = places[:, j] - joints[:, j] @ turns[j].T
    blended = np.einsum("vj,jab->vab", rigged.weights, turns)
    moved = np.einsum("vab,nvb->nva", blended, rigged.vertices_m) + np.einsum(
        "vj,njb->nvb", rigged.weights, shifts
    )
    return replace(rigged, vertices_m=moved, joints_m=places)


def _anatomical_joints(heads_m: Array) -> Array:
    joints = heads_m.copy()
    for i, finger in enumerate(LONG_FINGERS):
        root, middle = 1 + 3 * i, 2 + 3 * i
        phalanx = joints[:, root] - joints[:, middle]
        joints[:, root] = (
            joints[:, middle] + phalanx * _PROXIMAL_M[finger] / np.linalg.norm(phalanx, axis=1).mean()
        )
    joints[:, 13] += (joints[:, 0] - joints[:, 13]) * _THUMB_ROOT_TO_WRIST
    joints[:, 13, 1] -= _THUMB_ROOT_DOWN_M
    return joints


def _sunk(joints: Array, vertices: Array, faces: NDArray[np.int64]) -> Array:
    """The joints (N, 16, 3) moved from the back towards the palm to their intended depth in the mean hand."""
    mean, sunk = joints.mean(0), joints.copy()
    for joint in [*range(1, 13), 15]:
        back = _THUMB_BACK if joint == 15 else np.array([0.0, 1, 0])
        bone = mean[joint + 1] - mean[joint] if joint % 3 else mean[joint] - mean[joint - 1]
        back = _unit(back - (back @ _unit(bone)) * _unit(bone))
        above, below = (_distance_to_skin(mean[joint], way, vertices[faces]) for way in (back, -back))
        sunk[:, joint] -= ((above + below) * _DEPTH_SHARE[(joint - 1) % 3] - above) * back
    return sunk


def _distance_to_skin(origin: Array, direction: Array, corners: Array) -> float:
    """The distance of the skin (F, 3, 3) from a point inside, in a direction (Moeller and Trumbore 1997)."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    across = np.cross(direction, second)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / (first * across).sum(1)
        arms = origin - corners[:, 0]
        u = (arms * across).sum(1) * inverse
        refined = np.cross(arms, first)
        v = refined @ direction * inverse
        distance = (second * refined).sum(1) * inverse
    return float(distance[(u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 0)].min())


def _repainted(source: SourceHands, vertices: Array, joints: Array, faces: NDArray[np.int64]) -> Array:
    """(V, 16) weights for the moved joints; knuckles fade over the metacarpal heads."""
    old = source.bone_weights[: len(vertices)]
    shares = source.finger_shares[: len(vertices)]
    new = np.zeros_like(old)
    new[:, 13:] = old[:, 13:]
    free = 1 - old[:, 13:].sum(1)
    everyone = np.maximum(shares[:, 1:].sum(1), 1e-9)
    for i, finger in enumerate(LONG_FINGERS):
        root = 1 + 3 * i
        new[:, root + 1 : root + 3] = old[:, root + 1 : root + 3]
        along = _unit(_unit(joints[root + 1] - joints[root]) + _unit(joints[root] - joints[0]))
        before, width = _KNUCKLE_FALLOFF_M
        fade = _smooth_step(((vertices - joints[root]) @ along + before) / width)
        own = shares[:, FINGERS.index(finger)] / everyone
        new[:, root] = np.clip(free * own * fade - new[:, root + 1] - new[:, root + 2], 0, None)
    new[:, 13] = np.maximum(new[:, 13], _thumb_ball(vertices, joints, new))
    new[:, 1:] /= np.maximum(new[:, 1:].sum(1, keepdims=True), 1)
    new[:, 0] = 1 - new[:, 1:].sum(1)
    around = neighbours(faces, len(vertices))
    for _ in range(_SMOOTHING_ROUNDS):
        new = (new + around @ new) / 2
    new[new < 0.002] = 0
    return new / new.sum(1, keepdims=True)


def _thumb_ball(vertices: Array, joints: Array, weights: Array) -> Array:
    """(V,) how far the thumb's root moves its ball: MakeHuman's own weight covers only a few vertices."""
    along = _unit(joints[14] - joints[13])
    arms = vertices - joints[13]
    before, width = _THUMB_FALLOFF_M
    fade = _smooth_step((arms @ along + before) / width)
    radius = np.linalg.norm(arms - np.outer(arms @ along, along), axis=1)
    thumb_side = np.clip((vertices[:, 2] - 0.006) / 0.022, 0, 1)
    ball = fade * np.exp(-((radius / 0.022) ** 2)) * thumb_side * np.clip(1 - weights[:, 1:13].sum(1), 0, 1)
    return ball * (1 - weights[:, 14] - weights[:, 15])


def _fingertips(rigged: RiggedHands) -> NDArray[np.int64]:
    """(5,) the vertex at the end of each finger's axis, thumb to pinky."""
    vertices, joints = rigged.mean_vertices_m, rigged.mean_joints_m
    owner = rigged.weights.argmax(1)
    tips: list[int] = []
    for last in (15, 3, 6, 12, 9):
        mine = np.flatnonzero(owner == last)
        along = _unit(joints[last] - joints[last - 1])
        reach = (vertices[mine] - joints[last]) @ along
        centre = vertices[mine][reach > np.quantile(reach, 0.5)].mean(0)
        arms = vertices[mine] - centre
        aside = np.linalg.norm(arms - np.outer(arms @ along, along), axis=1)
        tips.append(int(mine[np.argmax(reach - aside)]))
    return np.array(tips)


def _flattened(rigged: RiggedHands) -> RiggedHands:
    """The long fingers straightened along -x, fanned out a little, as MANO rests; the thumb as it is."""
    joints, vertices = rigged.mean_joints_m, rigged.mean_vertices_m
    tip_of_last: dict[int, int] = dict(zip((15, 3, 6, 12, 9), rigged.tips.tolist(), strict=True))
    rotations = np.tile(np.eye(3), (16, 1, 1))
    for i, finger in enumerate(LONG_FINGERS):
        angle = np.deg2rad(_REST_SPREAD_DEG[finger])
        turned = np.eye(3)
        for joint in range(1 + 3 * i, 4 + 3 * i):
            last = joint == 3 + 3 * i
            end = vertices[tip_of_last[joint]] if last else joints[joint + 1]
            wanted = np.array([-np.cos(angle), -_TIP_DIP if last else 0.0, np.sin(angle)])
            now = turned @ _unit(end - joints[joint])
            step = Rotation.align_vectors([_unit(wanted)], [now])[0].as_matrix()
            rotations[joint] = turned.T @ step @ turned
            turned = step @ turned
    return turn_hands(rigged, rotations)


def _unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)


def _smooth_step(x: Array) -> Array:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
