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

import torch
from torch import Tensor

from inference_core.geometry.rotations import exp, hat, left_jacobian, log
from inference_core.hand_model.hand import HandModel
from inference_core.shared.skeleton import DRIVER_16_OF_21

IMAGE, DEPTH, ROOT, FINGERS = slice(0, 2), slice(2, 3), slice(3, 6), 6
# A joint rotates about an axis if its limits allow more than this, in degrees.
_FREE_RANGE_DEG = 18.0
# Of the 15 finger joints, the one before among the 16 joints.
_PARENTS = torch.tensor([0 if joint % 3 == 0 else joint for joint in range(15)])


@dataclass(frozen=True)
class HandParameterisation:
    """Rest skeletons of the two hands for one shape, in the form that the solve needs (float64).

    joints_m (S, 16, 3), points_m (S, P, 3) at rest, relative to the wrist joint: the 21 landmarks, then the 21
    joints; joint_dirs_m (S, 16, 3, 10), point_dirs_m (S, P, 3, 10) per beta; drivers (P,) the joint that moves each
    point; axes (S, 15, 3, 3); limits_rad (15, 3, 2); mean_rad (S, 15, 3) relaxed pose; free (A,) indices of the
    unknowns among the 45 angles. betas (S, 10).
    """

    joints_m: Tensor
    points_m: Tensor
    joint_dirs_m: Tensor
    point_dirs_m: Tensor
    drivers: Tensor
    axes: Tensor
    limits_rad: Tensor
    mean_rad: Tensor
    free: Tensor
    betas: Tensor

    @property
    def size(self) -> int:
        """Number of unknowns of one hand in one frame, D."""
        return FINGERS + len(self.free)

    @cached_property
    def ancestry(self) -> Tensor:
        """(P, 15) bool: which finger joints move each point (a chain's joints up to the driver)."""
        joints = torch.arange(1, 16)
        same_finger = (joints - 1) // 3 == (self.drivers[:, None] - 1) // 3
        return same_finger & (joints <= self.drivers[:, None]) & (self.drivers[:, None] > 0)

    @cached_property
    def is_free(self) -> Tensor:
        """(15, 3) 1 for the angles that are unknowns, 0 for those that stay as they are."""
        return torch.zeros(45).double().index_fill(0, self.free, 1.0).unflatten(0, (15, 3))

    @property
    def reach_m(self) -> Tensor:
        """(S,) wrist to middle knuckle."""
        return self.joints_m[:, 4].norm(dim=-1)

    def finger_rotations(self, side: Tensor, angles_rad: Tensor) -> Tensor:
        """(..., 15, 3, 3) rotations from rest of the fingers of `side` (...), from their angles (..., 15, 3)."""
        return exp(_rotated(self.axes[side], angles_rad))


@dataclass(frozen=True)
class HandState:
    """N hand frames: image_depth (N, 3) X/Z, Y/Z, log Z of the wrist; root (N, 3, 3); angles_rad (N, 15, 3)."""

    image_depth: Tensor
    root: Tensor
    angles_rad: Tensor

    @staticmethod
    def unknown(count: int) -> "HandState":
        """Flat hands at a distance of one metre."""
        zeros, identity = torch.zeros(count, 15, 3).double(), torch.eye(3).double()
        return HandState(zeros[:, 0], identity.expand(count, 3, 3), zeros)

    @property
    def wrist_m(self) -> Tensor:
        """(N, 3) wrist joint in camera axes, metres."""
        depth_m = self.image_depth[:, 2:].exp()
        return torch.cat([self.image_depth[:, :2] * depth_m, depth_m], -1)

    def moved(self, step: Tensor, parameterisation: HandParameterisation) -> "HandState":
        """The state after an increment (N, D) of the unknowns."""
        angles_rad = self.angles_rad.flatten(1).index_add(1, parameterisation.free, step[:, FINGERS:])
        return HandState(
            self.image_depth + step[:, :3], exp(step[:, ROOT]) @ self.root, angles_rad.unflatten(1, (15, 3))
        )

    def since(self, other: "HandState", parameterisation: HandParameterisation) -> Tensor:
        """(N, D) the increment of the unknowns that leads here from the other state."""
        angles_rad = (self.angles_rad - other.angles_rad).flatten(1)[:, parameterisation.free]
        turned = log(self.root @ other.root.mT)
        return torch.cat([self.image_depth - other.image_depth, turned, angles_rad], -1)

    def where(self, chosen: Tensor, other: "HandState") -> "HandState":
        """This state where `chosen` (N,) is true, the other elsewhere."""
        return HandState(
            torch.where(chosen[:, None], self.image_depth, other.image_depth),
            torch.where(chosen[:, None, None], self.root, other.root),
            torch.where(chosen[:, None, None], self.angles_rad, other.angles_rad),
        )

    def put(self, indices: Tensor, some: "HandState") -> "HandState":
        """This state with the hand frames of the given indices replaced."""
        return HandState(
            self.image_depth.index_copy(0, indices, some.image_depth),
            self.root.index_copy(0, indices, some.root),
            self.angles_rad.index_copy(0, indices, some.angles_rad),
        )

    def take(self, indices: Tensor | slice) -> "HandState":
        """The hand frames of the given indices."""
        return HandState(self.image_depth[indices], self.root[indices], self.angles_rad[indices])


@dataclass(frozen=True)
class PosedPoints:
    """Points (N, P, 3) of hands of `side` (N,) in camera axes, and the ingredients of their derivatives.

    rotations (N, 16, 3, 3) and joints_m (N, 16, 3) as in the hand model.
    """

    parameterisation: HandParameterisation
    side: Tensor
    state: HandState
    points_m: Tensor
    rotations: Tensor
    joints_m: Tensor

    def where(self, chosen: Tensor, other: "PosedPoints") -> "PosedPoints":
        """These points where `chosen` (N,) is true, the others elsewhere."""

        def picked(own: Tensor, theirs: Tensor) -> Tensor:
            return torch.where(chosen.reshape(-1, *[1] * (own.dim() - 1)), own, theirs)

        return PosedPoints(
            self.parameterisation,
            self.side,
            self.state.where(chosen, other.state),
            picked(self.points_m, other.points_m),
            picked(self.rotations, other.rotations),
            picked(self.joints_m, other.joints_m),
        )

    def take(self, indices: Tensor) -> "PosedPoints":
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
    def rotation_axes(self) -> Tensor:
        """(N, 15, 3, 3) columns: the axis in camera space about which each angle rotates its joint."""
        axes = self.rotations.float()[:, _PARENTS] @ self.parameterisation.axes.float()[self.side]
        return axes @ left_jacobian(self.state.angles_rad.float())

    @cached_property
    def joints_jacobian(self) -> Tensor:
        """(N, 3, 21, D) derivatives of the joints by the unknowns."""
        return self.jacobian(slice(21, 42))

    def jacobian(self, points: slice | Tensor) -> Tensor:
        """(N, 3, P', D) derivatives of the chosen points by the unknowns.

        In single precision, like all derivatives: they determine the direction of a step, not the
        result, and take half the time.
        """
        parameterisation, free = self.parameterisation, self.parameterisation.free
        wrist_m = self.state.wrist_m
        arms_m = (self.points_m[:, points] - wrist_m[:, None]).float()
        joints_m = (self.joints_m[:, 1:] - wrist_m[:, None]).float()[:, free // 3]
        axes = self.rotation_axes.mT.flatten(1, 2)[:, free]
        out = arms_m.new_zeros(len(arms_m), 3, arms_m.shape[1], parameterisation.size)
        out[:, 0, :, 0] = out[:, 1, :, 1] = wrist_m[:, None, 2].float()
        out[..., 2] = wrist_m[:, :, None].float()
        out[..., ROOT] = turned = -hat(arms_m).transpose(1, 2)
        # An axis times what leads from its joint to a point: times the point's arm, one product of matrices for all
        # points and axes, less times the joint's.
        fingers = out[..., FINGERS:]
        across = (turned.flatten(1, 2) @ axes.mT).unflatten(1, turned.shape[1:3])
        torch.sub(across, _crossed(axes, joints_m)[:, :, None], out=fingers)
        fingers.mul_(parameterisation.ancestry[points][:, free // 3])
        return out

    def shape_jacobian(self, side: Tensor, points: slice | Tensor) -> Tensor:
        """(N, 3, P', 10) derivatives of the chosen points by the betas, with the wrist joint fixed."""
        parameterisation, drivers = self.parameterisation, self.parameterisation.drivers[points]
        joint_dirs = parameterisation.joint_dirs_m[side]
        chains = joint_dirs[:, 1:].unflatten(1, (5, 3))
        bones = torch.diff(chains, dim=2, prepend=joint_dirs[:, :1, None].expand_as(chains[:, :, :1]))
        carriers = torch.cat(
            [
                self.rotations[:, :1, None].expand(-1, 5, 1, 3, 3),
                self.rotations[:, 1:].unflatten(1, (5, 3))[:, :, :2],
            ],
            2,
        )
        moved = (carriers @ bones).cumsum(2).flatten(1, 2)
        moved = torch.cat([torch.zeros_like(moved[:, :1]), moved], 1)
        local = parameterisation.point_dirs_m[side][:, points] - joint_dirs[:, drivers]
        return (moved[:, drivers] + self.rotations[:, drivers] @ local).transpose(1, 2).float()


def make_parameterisation(model: HandModel, betas: Tensor) -> HandParameterisation:
    """The parameterisation of a hand model at betas (S, 10).

    Landmarks and fingertips move rigidly with their joints. This ignores the skin's bending at the very tip,
    which is well below a millimetre.
    """
    if model.template_m.dtype != torch.float64:
        model = model.to("cpu", torch.float64)
    steps = torch.cat([torch.zeros(1, 10), 0.1 * torch.eye(10)]).to(betas)
    joints, points = _rest(model, betas + steps[:, None])
    ranges = model.joint_limits_rad[..., 1] - model.joint_limits_rad[..., 0]
    return HandParameterisation(
        joints_m=joints[0],
        points_m=points[0],
        joint_dirs_m=(joints[1:] - joints[0]).movedim(0, -1) / 0.1,
        point_dirs_m=(points[1:] - points[0]).movedim(0, -1) / 0.1,
        drivers=torch.as_tensor(DRIVER_16_OF_21).repeat(2),
        axes=model.joint_axes,
        limits_rad=model.joint_limits_rad,
        mean_rad=model.mean_angles_rad,
        free=(ranges.flatten().rad2deg() > _FREE_RANGE_DEG).nonzero()[:, 0],
        betas=betas,
    )


def pose_points(parameterisation: HandParameterisation, side: Tensor, state: HandState) -> PosedPoints:
    """The parameterisation's points for N hand frames of the given sides (N,)."""
    rest = parameterisation.joints_m[side]
    fingers = parameterisation.finger_rotations(side, state.angles_rad).unflatten(1, (5, 3))
    chains = rest[:, 1:].unflatten(1, (5, 3))
    bones = torch.diff(chains, dim=2, prepend=torch.zeros_like(chains[:, :, :1]))
    rotation = state.root[:, None].expand(-1, 5, 3, 3)
    position = state.wrist_m[:, None].expand(-1, 5, 3)
    rotations, positions = [], []
    for level in range(3):
        position = position + _rotated(rotation, bones[:, :, level])
        rotation = rotation @ fingers[:, :, level]
        rotations.append(rotation)
        positions.append(position)
    all_rotations = torch.cat([state.root[:, None], torch.stack(rotations, 2).flatten(1, 2)], 1)
    joints = torch.cat([state.wrist_m[:, None], torch.stack(positions, 2).flatten(1, 2)], 1)
    offsets = (parameterisation.points_m - parameterisation.joints_m[:, parameterisation.drivers])[side]
    points = joints[:, parameterisation.drivers] + _rotated(
        all_rotations[:, parameterisation.drivers], offsets
    )
    return PosedPoints(parameterisation, side, state, points, all_rotations, joints)


def _rest(model: HandModel, betas: Tensor) -> tuple[Tensor, Tensor]:
    """Joints (..., S, 16, 3) and points (..., S, P, 3) of the flat hand, relative to its wrist."""
    flat = torch.eye(3, dtype=betas.dtype).expand(*betas.shape[:-1], 16, 3, 3)
    posed = model.with_shape(betas).with_pose(flat, betas.new_zeros(*betas.shape[:-1], 3))
    return posed.joints16_m, torch.cat([posed.landmarks21_m, posed.joints21_m], -2)


def _rotated(matrices: Tensor, vectors: Tensor) -> Tensor:
    """(..., 3) vectors turned by matrices, by components: ten times as fast as a sum over an axis of length 3."""
    x, y, z = vectors[..., None].unbind(-2)
    return matrices[..., 0] * x + matrices[..., 1] * y + matrices[..., 2] * z


def _crossed(first: Tensor, second: Tensor) -> Tensor:
    """(N, 3, A) cross products of vectors (N, A, 3), by components for the same reason."""
    (a, b, c), (x, y, z) = first.unbind(-1), second.unbind(-1)
    return torch.stack([b * z - c * y, c * x - a * z, a * y - b * x], 1)
