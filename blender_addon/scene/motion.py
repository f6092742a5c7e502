# SPDX-License-Identifier: GPL-3.0-or-later
"""A take's motion as bone rotations about the bones' own axes, and back. No bpy here.

In the take, all joint frames at rest are MANO's; a Blender bone rotates in its own frame, so basis = B^T
A R A^T B, where B is the bone's rest frame in its armature and A = axes.ARMATURE_FROM_REST. K keyed
frames, 16 bones in MANO's order.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.shared import quaternions
from inference_core.shared.presence import ABSENT, FILLED
from inference_core.shared.skeleton import JOINTS_21_FROM_16_AND_TIPS, PARENTS_16
from inference_core.shared.take import Take
from inference_core.shared.take_mesh import skinned_vertices

from .axes import ARMATURE_FROM_REST, Floats, unscaled, world_from_cameras

EULER_TOLERANCE_RAD = 0.01  # half a degree, which moves a fingertip by a millimetre
MOST_PARTS = 32  # keys per frame at most
EULER_ORDERS = ("XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX")
_FEW_STRAYS = 10  # spans; fewer are not worth a message


@dataclass(frozen=True)
class BoneMotion:
    """One hand on its bones: rows (K,) of the take, location (K, 3) of the wrist's
    bone, rotations (K, 16, 4) w x y z.

    Locations and rotations are those of Blender's pose bones: relative to rest, in the bone's own axes, Blender
    units. Signs of the quaternions are continuous. filled (K,): interpolated rather than seen. apart_after (K,): the
    hand is absent between this row and the next, or the footage is cut there, and nothing moves.
    """

    rows: NDArray[np.int64]
    location: Floats
    rotations_wxyz: Floats
    filled: NDArray[np.bool_]
    apart_after: NDArray[np.bool_]


@dataclass(frozen=True)
class HandPoses:
    """One hand as in a take, K frames: root_wxyz (K, 4), pose_wxyz (K, 15, 4), wrist_cam_m (K, 3)."""

    root_wxyz: Floats
    pose_wxyz: Floats
    wrist_cam_m: Floats


def solved_motion(take: Take, side: int, rest_frames: Floats, scale: float) -> BoneMotion:
    """The side's motion where it is present; rest_frames (16, 3, 3) are its bones' rest frames."""
    rows = np.flatnonzero(take.present[:, side] != ABSENT)
    poses = HandPoses(take.root_wxyz[rows, side], take.pose_wxyz[rows, side], take.wrist_cam_m[rows, side])
    return _bone_motion(take, side, rows, poses, rest_frames, scale)


def raw_motion(take: Take, side: int, rest_frames: Floats, scale: float) -> BoneMotion:
    """The side's motion before the solve, where there is any."""
    known = np.isfinite(take.raw_root_wxyz[:, side, 0]) & np.isfinite(take.raw_wrist_cam_m[:, side, 0])
    rows = np.flatnonzero(known)
    poses = HandPoses(
        take.raw_root_wxyz[rows, side], take.raw_pose_wxyz[rows, side], take.raw_wrist_cam_m[rows, side]
    )
    return _bone_motion(take, side, rows, poses, rest_frames, scale)


def poses_of(
    motion: BoneMotion, T_world_cam: NDArray[np.floating], rest_frames: Floats, scale: float
) -> HandPoses:
    """A motion on its bones as in a take, for cameras T_world_cam (K, 4, 4); the inverse of solved_motion."""
    world, offset = world_from_cameras(T_world_cam, scale)
    bones, rest_to_bone = _bone_turns(rest_frames)
    turns = motion.rotations_wxyz
    root = quaternions.multiply(
        quaternions.multiply(bones[0], turns[:, 0]), quaternions.conjugate(rest_to_bone[0])
    )
    root = quaternions.multiply(quaternions.conjugate(quaternions.from_matrix(world)), root)
    fingers = quaternions.multiply(
        quaternions.multiply(rest_to_bone[1:], turns[:, 1:]), quaternions.conjugate(rest_to_bone[1:])
    )
    wrist = (motion.location @ rest_frames[0].T - offset) / scale
    wrist_m = np.einsum("kba,kb->ka", world, wrist)
    return HandPoses(quaternions.normalized(root), quaternions.normalized(fingers), wrist_m)


def hand_poses(bones_cam: Floats, rest_frames: Floats) -> HandPoses:
    """Bones seen from the camera, as in a take.

    bones_cam (K, 16, 4, 4): each bone's frame in OpenCV's camera axes and metres. rest_frames (16, 3, 3).
    """
    turned = unscaled(bones_cam[..., :3, :3]) @ rest_frames.transpose(0, 2, 1) @ ARMATURE_FROM_REST
    relative = turned[:, PARENTS_16[1:]].transpose(0, 1, 3, 2) @ turned[:, 1:]
    return HandPoses(
        quaternions.from_matrix(turned[:, 0]), quaternions.from_matrix(relative), bones_cam[:, 0, :3, 3]
    )


def joints_21(take: Take, side: int, bones_cam: Floats, poses: HandPoses) -> Floats:
    """The 21 joints (K, 21, 3) in camera axes; the fingertips are skinned from the take's own hand at rest."""
    joints_m = bones_cam[..., :3, 3]
    turns = _global_turns(poses)
    fingers = quaternions.to_matrix(poses.pose_wxyz)
    tips_m = skinned_vertices(take, side, take.tip_vertices[side], fingers, turns, joints_m)
    return np.concatenate([joints_m, tips_m], 1)[:, JOINTS_21_FROM_16_AND_TIPS]


def eulers_from_quaternions(rotations_wxyz: Floats, order: str) -> Floats:
    """Angles (K, N, 3) about x, y, z of rotations (K, N, 4) in Blender's `order`, continuous in time.

    'XYZ' rotates about x first. Of each rotation's two triples, the one nearer to the previous frame is used.
    """
    first, second = _euler_pair(quaternions.to_matrix(rotations_wxyz), order)
    angles = first.copy()
    for row in range(1, len(angles)):
        one, other = (nearest_turn(option[row], angles[row - 1]) for option in (first, second))
        nearer = np.abs(one - angles[row - 1]).sum(-1) <= np.abs(other - angles[row - 1]).sum(-1)
        angles[row] = np.where(nearer[:, None], one, other)
    return angles


def quaternions_from_eulers(angles: Floats, order: str) -> Floats:
    """Rotations (..., 4) from angles (..., 3) about x, y, z in Blender's `order`: its first letter is applied first."""
    turns = np.broadcast_to([1.0, 0.0, 0.0, 0.0], (*angles.shape[:-1], 4))
    for axis in order:
        index = "XYZ".index(axis)
        turns = quaternions.multiply(quaternions.exp(angles[..., index, None] * np.eye(3)[index]), turns)
    return turns


def strays_between(angles: Floats, rotations_wxyz: Floats, order: str) -> Floats:
    """Error (K - 1, ...) in radians halfway between linearly interpolated keys of angles (K, ..., 3).

    Compared with the rotation halfway between the rotations (K, ..., 4).
    """
    worst = np.zeros(angles.shape[:-1])[1:]
    for part in (0.25, 0.5, 0.75):
        played = quaternions_from_eulers((1 - part) * angles[:-1] + part * angles[1:], order)
        meant = quaternions.slerp(rotations_wxyz[:-1], rotations_wxyz[1:], part)
        worst = np.maximum(worst, quaternions.angle_between(played, meant))
    return worst


def better_order(rotations_wxyz: Floats, order: str) -> tuple[str, int, int] | None:
    """An order in which far fewer spans between rows deviate from the motion (K, N, 4), and
    the counts for it and for `order`.

    None if no order is much better, or hardly any span deviates.
    """
    strays = _straying(rotations_wxyz, order)
    if strays <= _FEW_STRAYS:
        return None
    best, fewest = min(
        ((other, _straying(rotations_wxyz, other)) for other in EULER_ORDERS if other != order),
        key=lambda item: item[1],
    )
    return (best, fewest, strays) if fewest <= strays / 2 else None


def _straying(rotations_wxyz: Floats, order: str) -> int:
    angles = eulers_from_quaternions(rotations_wxyz, order)
    return int((strays_between(angles, rotations_wxyz, order) > EULER_TOLERANCE_RAD).sum())


def refined_eulers(rotations_wxyz: Floats, order: str, moving: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Angles (M, 3) of one bone's rotations (K, 4), and their positions (M,) among the rows: 2.5 is between 2 and 3.

    Near gimbal lock, linear interpolation of angles deviates from the motion; further keys are inserted between rows
    there. moving (K - 1,): which spans are played.
    """
    parts = np.ones(len(rotations_wxyz) - 1, int)
    while True:
        rows = np.repeat(np.arange(len(parts)), parts)
        starts = np.repeat(np.cumsum(parts) - parts, parts)
        fractions = (np.arange(len(rows)) - starts) / parts[rows]
        turns = quaternions.slerp(rotations_wxyz[rows], rotations_wxyz[rows + 1], fractions)
        turns = np.concatenate([turns, rotations_wxyz[-1:]])
        angles = eulers_from_quaternions(turns[:, None], order)[:, 0]
        worst = np.zeros(len(parts))
        np.maximum.at(worst, rows, strays_between(angles, turns, order))
        bad = (worst > EULER_TOLERANCE_RAD) & moving & (parts < MOST_PARTS)
        if not bad.any():
            return angles, np.append(rows + fractions, len(parts))
        parts[bad] *= 2


def nearest_turn(angles: Floats, previous: Floats) -> Floats:
    """The angles plus whole turns such that each is nearest to the previous one."""
    return angles - 2 * np.pi * np.round((angles - previous) / (2 * np.pi))


def _bone_motion(
    take: Take, side: int, rows: NDArray[np.int64], poses: HandPoses, rest_frames: Floats, scale: float
) -> BoneMotion:
    world, offset = world_from_cameras(take.T_world_cam[rows], scale)
    bones, rest_to_bone = _bone_turns(rest_frames)
    root = quaternions.multiply(quaternions.from_matrix(world), poses.root_wxyz.astype(np.float64))
    turns = np.empty((len(rows), 16, 4))
    turns[:, 0] = quaternions.multiply(
        quaternions.multiply(quaternions.conjugate(bones[0]), root), rest_to_bone[0]
    )
    turns[:, 1:] = quaternions.multiply(
        quaternions.multiply(quaternions.conjugate(rest_to_bone[1:]), poses.pose_wxyz.astype(np.float64)),
        rest_to_bone[1:],
    )
    wrist = np.einsum("kab,kb->ka", world, poses.wrist_cam_m.astype(np.float64)) * scale + offset
    piece = take.piece[rows]
    return BoneMotion(
        rows,
        wrist @ rest_frames[0],
        _continuous(quaternions.normalized(turns)),
        take.present[rows, side] == FILLED,
        (np.diff(rows, append=rows[-1:]) > 1) | (np.diff(piece, append=piece[-1:]) > 0),
    )


def _bone_turns(rest_frames: Floats) -> tuple[Floats, Floats]:
    """From the bones' rest frames: rotations (16, 4) into the armature, and into MANO's axes at rest."""
    from_rest, bones = quaternions.from_matrix(ARMATURE_FROM_REST), quaternions.from_matrix(rest_frames)
    return bones, quaternions.multiply(quaternions.conjugate(from_rest), bones)


def _continuous(turns: Floats) -> Floats:
    """The same rotations (K, N, 4) with continuous signs; w of the first row is not negative."""
    return quaternions.continuous(turns * np.where(turns[:1, ..., :1] < 0, -1.0, 1.0))


def _global_turns(poses: HandPoses) -> Floats:
    """Rotations (K, 16, 3, 3) of the joints' rest frames into camera axes."""
    local = quaternions.to_matrix(poses.pose_wxyz)
    turns = np.empty((len(local), 16, 3, 3))
    turns[:, 0] = quaternions.to_matrix(poses.root_wxyz)
    for joint in range(1, 16):
        turns[:, joint] = turns[:, PARENTS_16[joint]] @ local[:, joint - 1]
    return turns


def _euler_pair(matrices: Floats, order: str) -> tuple[Floats, Floats]:
    """Both triples of angles (..., 3) about x, y, z of rotations (..., 3, 3) in the given order."""
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    cosine = np.hypot(matrices[..., i, i], matrices[..., j, i])
    locked = cosine < 1e-6  # gimbal lock: the third angle is free, and 0 is chosen
    pair: list[Floats] = []
    for branch in (1.0, -1.0):
        angles = np.empty(matrices.shape[:-1])
        angles[..., i] = np.where(
            locked,
            np.arctan2(-sign * matrices[..., j, k], matrices[..., j, j]),
            np.arctan2(branch * sign * matrices[..., k, j], branch * matrices[..., k, k]),
        )
        angles[..., j] = np.arctan2(-sign * matrices[..., k, i], branch * cosine)
        angles[..., k] = np.where(
            locked, 0.0, np.arctan2(branch * sign * matrices[..., j, i], branch * matrices[..., i, i])
        )
        if branch < 0:
            angles[..., j] = np.where(locked, pair[0][..., j], angles[..., j])
        pair.append(angles)
    return pair[0], pair[1]
