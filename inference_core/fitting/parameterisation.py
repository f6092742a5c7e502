# SPDX-License-Identifier: GPL-3.0-or-later
"""The solve's unknowns, the hand's points as functions of them, and their exact derivatives.

The D unknowns of one hand in one frame: the wrist's position in the picture (X/Z, Y/Z), the logarithm of its
depth, the hand's rotation about its wrist (3, an increment in camera axes), and those angles of the finger joints
that can change (flexion, spread, twist: parts of the joint's rotation vector along its own axes). The spread and
twist of interphalangeal joints stay zero. Image position and depth are separate because a single camera measures
the former twenty times better.

All functions take a flat list of N hand frames of either side, so that absent hands cost nothing.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from inference_core.fitting.arrays import Flags, Floats, Floats32, Indices
from inference_core.geometry.rotations import exp, left_jacobian, log
from inference_core.hand_model.hand import HandModel
from inference_core.shared.skeleton import DRIVER_16_OF_21

IMAGE, DEPTH, ROOT, FINGERS = slice(0, 2), slice(2, 3), slice(3, 6), 6
# Of the P points.
LANDMARKS, JOINTS = slice(0, 21), slice(21, 42)
# A joint rotates about an axis if its limits allow more than this, in degrees.
_FREE_RANGE_DEG = 18.0
# Of the 15 finger joints, the one before among the 16 joints.
_PARENTS = np.array([0 if joint % 3 == 0 else joint for joint in range(15)])


@dataclass(frozen=True)
class HandParameterisation:
    """Rest skeletons of the two hands for one shape, in the form that the solve needs (float64).

    joints_m (S, 16, 3), points_m (S, P, 3) at rest, relative to the wrist joint: the 21 landmarks, then the 21
    joints; joint_dirs_m (S, 16, 3, 10), point_dirs_m (S, P, 3, 10) per beta; drivers (P,) the joint that moves each
    point; axes (S, 15, 3, 3); limits_rad (15, 3, 2); mean_rad (S, 15, 3) relaxed pose; free (A,) indices of the
    unknowns among the 45 angles. betas (S, 10).
    """

    joints_m: Floats
    points_m: Floats
    joint_dirs_m: Floats
    point_dirs_m: Floats
    drivers: Indices
    axes: Floats
    limits_rad: Floats
    mean_rad: Floats
    free: Indices
    betas: Floats

    @property
    def size(self) -> int:
        """Number of unknowns of one hand in one frame, D."""
        return FINGERS + len(self.free)

    @cached_property
    def ancestry(self) -> Flags:
        """(P, 15) bool: which finger joints move each point (a chain's joints up to the driver)."""
        joints, drivers = np.arange(1, 16), self.drivers[:, None]
        return ((joints - 1) // 3 == (drivers - 1) // 3) & (joints <= drivers) & (drivers > 0)

    @cached_property
    def is_free(self) -> Floats:
        """(15, 3) 1 for the angles that are unknowns, 0 for those that stay as they are."""
        return np.isin(np.arange(45), self.free).astype(np.float64).reshape(15, 3)

    @cached_property
    def bones_m(self) -> Floats:
        """(S, 5, 3, 3) at rest, from each finger joint's parent to the joint: finger, level."""
        return _along_fingers(self.joints_m)

    @cached_property
    def bone_dirs_m(self) -> Floats:
        """(S, 5, 3, 3, 10) how the bones follow the betas."""
        return _along_fingers(self.joint_dirs_m)

    @cached_property
    def offsets_m(self) -> Floats:
        """(S, P, 3) at rest, from each point's driver to the point."""
        return self.points_m - self.joints_m[:, self.drivers]

    @property
    def reach_m(self) -> Floats:
        """(S,) wrist to middle knuckle."""
        return np.linalg.norm(self.joints_m[:, 4], axis=-1)

    def finger_rotations(self, side: Indices, angles_rad: Floats) -> Floats:
        """(..., 15, 3, 3) rotations from rest of the fingers of `side` (...), from their angles (..., 15, 3)."""
        return exp(_rotated(self.axes[side], angles_rad))


@dataclass(frozen=True)
class HandState:
    """N hand frames: image_depth (N, 3) X/Z, Y/Z, log Z of the wrist; root (N, 3, 3); angles_rad (N, 15, 3)."""

    image_depth: Floats
    root: Floats
    angles_rad: Floats

    @staticmethod
    def unknown(count: int) -> "HandState":
        """Flat hands at a distance of one metre."""
        return HandState(np.zeros((count, 3)), np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 15, 3)))

    @property
    def wrist_m(self) -> Floats:
        """(N, 3) wrist joint in camera axes, metres."""
        depth_m = np.exp(+self.image_depth[:, 2:])
        return np.concatenate([self.image_depth[:, :2] * depth_m, depth_m], -1)

    def moved(self, step: Floats, parameterisation: HandParameterisation) -> "HandState":
        """The state after an increment (N, D) of the unknowns."""
        angles_rad = self.angles_rad.reshape(-1, 45).copy()
        angles_rad[:, parameterisation.free] += step[:, FINGERS:]
        return HandState(
            self.image_depth + step[:, :3], exp(step[:, ROOT]) @ self.root, angles_rad.reshape(-1, 15, 3)
        )

    def since(self, other: "HandState", parameterisation: HandParameterisation) -> Floats:
        """(N, D) the increment of the unknowns that leads here from the other state."""
        angles_rad = (self.angles_rad - other.angles_rad).reshape(-1, 45)[:, parameterisation.free]
        turned = log(self.root @ np.swapaxes(other.root, -1, -2))
        return np.concatenate([self.image_depth - other.image_depth, turned, angles_rad], -1)

    def where(self, chosen: Flags, other: "HandState") -> "HandState":
        """This state where `chosen` (N,) is true, the other elsewhere."""
        return HandState(
            np.where(chosen[:, None], self.image_depth, other.image_depth),
            np.where(chosen[:, None, None], self.root, other.root),
            np.where(chosen[:, None, None], self.angles_rad, other.angles_rad),
        )

    def put(self, indices: Indices, some: "HandState") -> "HandState":
        """This state with the hand frames of the given indices replaced."""
        out = HandState(self.image_depth.copy(), self.root.copy(), self.angles_rad.copy())
        out.image_depth[indices], out.root[indices] = some.image_depth, some.root
        out.angles_rad[indices] = some.angles_rad
        return out

    def take(self, indices: Indices | slice) -> "HandState":
        """The hand frames of the given indices."""
        return HandState(self.image_depth[indices], self.root[indices], self.angles_rad[indices])


def image_depth_of(wrist_m: Floats, nearest_m: float = 0.05) -> Floats:
    """(N, 3) X/Z, Y/Z, log Z of wrists (N, 3), metres, which count as no nearer than that."""
    depth_m = np.maximum(wrist_m[:, 2:], nearest_m)
    return np.concatenate([wrist_m[:, :2] / depth_m, np.log(depth_m)], -1)


@dataclass(frozen=True)
class PosedPoints:
    """Points (N, P, 3) of hands of `side` (N,) in camera axes, and the ingredients of their derivatives.

    rotations (N, 16, 3, 3) and joints_m (N, 16, 3) as in the hand model.
    """

    parameterisation: HandParameterisation
    side: Indices
    state: HandState
    points_m: Floats
    rotations: Floats
    joints_m: Floats

    def where(self, chosen: Flags, other: "PosedPoints") -> "PosedPoints":
        """These points where `chosen` (N,) is true, the others elsewhere."""
        points = chosen[:, None, None]
        return PosedPoints(
            self.parameterisation,
            self.side,
            self.state.where(chosen, other.state),
            np.where(points, self.points_m, other.points_m),
            np.where(points[..., None], self.rotations, other.rotations),
            np.where(points, self.joints_m, other.joints_m),
        )

    def take(self, indices: Indices) -> "PosedPoints":
        """The hand frames of the given indices."""
        return PosedPoints(
            self.parameterisation,
            self.side[indices],
            self.state.take(indices),
            self.points_m[indices],
            self.rotations[indices],
            self.joints_m[indices],
        )

    @cached_property
    def rotation_axes(self) -> Floats32:
        """(N, 15, 3, 3) columns: the axis in camera space about which each angle rotates its joint."""
        axes = (
            self.rotations.astype(np.float32)[:, _PARENTS]
            @ self.parameterisation.axes.astype(np.float32)[self.side]
        )
        return axes @ left_jacobian(self.state.angles_rad.astype(np.float32))

    @cached_property
    def joints_jacobian(self) -> Floats32:
        """(N, 3, 21, D) derivatives of the joints by the unknowns."""
        return self.jacobian(JOINTS)

    def jacobian(self, points: slice | Indices) -> Floats32:
        """(N, 3, P', D) derivatives of the chosen points by the unknowns.

        In single precision, like all derivatives: they determine the direction of a step, not the
        result, and take half the time.
        """
        parameterisation, wrist_m = self.parameterisation, self.state.wrist_m
        arms_m, joints_m = (
            np.transpose(values - wrist_m[:, None]).astype(np.float32, order="C")
            for values in (self.points_m[:, points], self.joints_m[:, 1:])
        )
        chosen, count = arms_m.shape[1:]
        out = np.zeros((count, 3, chosen, parameterisation.size), np.float32)
        out[:, 0, :, 0] = out[:, 1, :, 1] = wrist_m[:, 2:]
        out[..., 2] = wrist_m[..., None]
        for row in range(3):
            # Row and column of the cross product of a unit axis with the arm.
            after, last = (row + 1) % 3, (row + 2) % 3
            out[:, row, :, ROOT.start + after] = arms_m[last].T
            out[:, row, :, ROOT.start + last] = -arms_m[after].T
        # Each point moves with the few angles of its own finger only.
        point, angle = np.nonzero(parameterisation.ancestry[points][:, parameterisation.free // 3])
        number = parameterisation.free[angle]
        axes = self.rotation_axes.transpose(2, 1, 3, 0).reshape(3, 45, count)[:, number]
        moved = _crossed(axes, arms_m[:, point] - joints_m[:, number // 3])
        flat, columns = (
            out.reshape(count, 3, chosen * parameterisation.size),
            point * parameterisation.size + FINGERS + angle,
        )
        flat[:, :, columns] = np.moveaxis(moved, -1, 0)
        return out

    def shape_jacobian(self, side: Indices, points: slice | Indices) -> Floats32:
        """(N, 3, P', 10) derivatives of the chosen points by the betas, with the wrist joint fixed."""
        parameterisation, drivers = self.parameterisation, self.parameterisation.drivers[points]
        moved = np.zeros((len(side), 16, 3, 10))
        levels = moved[:, 1:].reshape(-1, 5, 3, 3, 10)
        carriers = self.rotations[:, 1:].reshape(-1, 5, 3, 3, 3)
        bones = parameterisation.bone_dirs_m[side]
        levels[:, :, 0] = self.rotations[:, :1] @ bones[:, :, 0]
        for level in (1, 2):
            levels[:, :, level] = levels[:, :, level - 1] + carriers[:, :, level - 1] @ bones[:, :, level]
        local = (parameterisation.point_dirs_m[:, points] - parameterisation.joint_dirs_m[:, drivers])[side]
        return np.swapaxes(moved[:, drivers] + self.rotations[:, drivers] @ local, 1, 2).astype(np.float32)


def make_parameterisation(model: HandModel, betas: Floats) -> HandParameterisation:
    """The parameterisation of a hand model at betas (S, 10).

    Landmarks and fingertips move rigidly with their joints. This ignores the skin's bending at the very tip,
    which is well below a millimetre.
    """
    steps = np.concatenate([np.zeros((1, 10)), 0.1 * np.eye(10)])
    joints, points = _rest(model, betas + steps[:, None])
    ranges = model.joint_limits_rad[..., 1] - model.joint_limits_rad[..., 0]
    return HandParameterisation(
        joints_m=joints[0],
        points_m=points[0],
        joint_dirs_m=np.moveaxis(joints[1:] - joints[0], 0, -1) / 0.1,
        point_dirs_m=np.moveaxis(points[1:] - points[0], 0, -1) / 0.1,
        drivers=np.tile(DRIVER_16_OF_21, 2),
        axes=model.joint_axes,
        limits_rad=model.joint_limits_rad,
        mean_rad=model.mean_angles_rad,
        free=np.flatnonzero(np.rad2deg(ranges) > _FREE_RANGE_DEG),
        betas=betas,
    )


def pose_points(parameterisation: HandParameterisation, side: Indices, state: HandState) -> PosedPoints:
    """The parameterisation's points for N hand frames of the given sides (N,)."""
    count, drivers = len(side), parameterisation.drivers
    rotations, joints_m = np.empty((count, 16, 3, 3)), np.empty((count, 16, 3))
    rotations[:, 0], joints_m[:, 0] = state.root, state.wrist_m
    fingers = parameterisation.finger_rotations(side, state.angles_rad).reshape(count, 5, 3, 3, 3)
    bones_m = parameterisation.bones_m[side]
    rotation, position_m = rotations[:, :1], joints_m[:, :1]
    turns, places_m = rotations[:, 1:].reshape(fingers.shape), joints_m[:, 1:].reshape(bones_m.shape)
    for level in range(3):
        places_m[:, :, level] = position_m = position_m + _rotated(rotation, bones_m[:, :, level])
        turns[:, :, level] = rotation = rotation @ fingers[:, :, level]
    points_m = joints_m[:, drivers] + _rotated(rotations[:, drivers], parameterisation.offsets_m[side])
    return PosedPoints(parameterisation, side, state, points_m, rotations, joints_m)


def _rest(model: HandModel, betas: Floats) -> tuple[Floats, Floats]:
    """Joints (..., S, 16, 3) and points (..., S, P, 3) of the flat hand, relative to its wrist."""
    flat = np.broadcast_to(np.eye(3), (*betas.shape[:-1], 16, 3, 3))
    posed = model.with_shape(betas).with_pose(flat, np.zeros((*betas.shape[:-1], 3)))
    return posed.joints16_m, np.concatenate([posed.landmarks21_m, posed.joints21_m], -2)


def _along_fingers(joints: Floats) -> Floats:
    """(S, 5, 3, 3, ...) differences of joints (S, 16, 3, ...) from their parents."""
    chains = joints[:, 1:].reshape(len(joints), 5, 3, *joints.shape[2:])
    first = np.broadcast_to(joints[:, None, :1], chains[:, :, :1].shape)
    return np.diff(chains, axis=2, prepend=first)


def _rotated(matrices: Floats, vectors: Floats) -> Floats:
    """(..., 3) vectors turned by matrices, by components: several times as fast as a sum over an axis of length 3."""
    x, y, z = (vectors[..., k, None] for k in range(3))
    return matrices[..., 0] * x + matrices[..., 1] * y + matrices[..., 2] * z


def _crossed(first: Floats32, second: Floats32) -> Floats32:
    """(3, ...) cross products of vectors (3, ...)."""
    (a, b, c), (x, y, z) = first, second
    return np.stack([b * z - c * y, c * x - a * z, a * y - b * x])
