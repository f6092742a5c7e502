# SPDX-License-Identifier: GPL-3.0-or-later
"""Both hands as one model: HandModel -> with_shape -> ShapedHands -> with_pose -> PosedHands.

The maths is MANO's (Romero et al. 2017): a shaped template, joints regressed from it, pose correctives,
linear blend skinning. Both sides are one axis S (left, right); the five fingers are three levels of one forward
kinematics; and vertices are skinned only on demand.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.geometry.rotations import exp, log
from inference_core.hand_model import anatomy
from inference_core.hand_model.arrays import HandArrays
from inference_core.hand_model.lazy import cached_property
from inference_core.shared.errors import HandModelError
from inference_core.shared.skeleton import (
    DRIVER_16_OF_21,
    JOINTS_21_FROM_16_AND_TIPS,
    LEFT,
    PARENTS_16,
    RIGHT,
)

_MIDDLE_MCP_16 = 4


@dataclass(frozen=True, eq=False, repr=False)
class HandModel:
    """Left and right hand of one model. S sides, V vertices, F faces; metres, rest frame of the model.

    template_m (S, V, 3); faces (S, F, 3) int64, normals out on both sides; shape_dirs (S, V, 3, 10);
    pose_dirs (S, V, 3, 135); joint_regressor (S, 16, V); skin_weights (S, V, 16); parents (16,) int64;
    hands_mean (S, 45) and hands_components (S, 45, 45) axis-angles; tip_vertices (S, 5) int64, thumb to
    pinky; uvs (S, F, 3, 2) or None. joint_axes (S, 15, 3, 3), columns flexion, spread, twist in the rest
    frame; joint_limits_rad (15, 3, 2): see anatomy. landmark_offsets (S, 21, 3): from each of the 21 joints
    to MediaPipe's landmark of that name, rest frame of the joint that carries it, as a fraction of the
    hand's size (wrist to middle knuckle).
    """

    template_m: Tensor
    faces: Tensor
    shape_dirs: Tensor
    pose_dirs: Tensor
    joint_regressor: Tensor
    skin_weights: Tensor
    parents: Tensor
    hands_mean: Tensor
    hands_components: Tensor
    tip_vertices: Tensor
    joint_axes: Tensor
    joint_limits_rad: Tensor
    landmark_offsets: Tensor
    name: str
    licence: str
    uvs: Tensor | None = None

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "HandModel":
        """The same model on another device or in another floating-point type."""
        tensors = {
            key: value for key, value in vars(self).items() if isinstance(value, Tensor) and key in _FIELDS
        }
        moved = {
            key: value.to(device, dtype if value.is_floating_point() else None)
            for key, value in tensors.items()
        }
        return replace(self, **moved)

    def with_shape(self, betas: Tensor) -> "ShapedHands":
        """Hands of shape betas (..., S, 10)."""
        return ShapedHands(self, betas)

    def finger_vectors(self, coefficients: Tensor) -> Tensor:
        """Axis-angles (..., S, 45) of MANO's finger coefficients (..., S, 45), about the mean hand."""
        return self.hands_mean + torch.einsum("...sn,snm->...sm", coefficients, self.hands_components)

    def rotations_from_angles(self, angles_rad: Tensor) -> Tensor:
        """Finger rotations (..., S, 15, 3, 3) of angles (..., S, 15, 3) along flexion, spread and twist."""
        return exp((self.joint_axes @ angles_rad[..., None])[..., 0])

    def angles_from_rotations(self, rotations: Tensor) -> Tensor:
        """Angles (..., S, 15, 3), radians, along flexion, spread, twist of rotations (..., S, 15, 3, 3)."""
        return (self.joint_axes.mT @ log(rotations)[..., None])[..., 0]

    @cached_property
    def mean_angles_rad(self) -> Tensor:
        """(S, 15, 3) angles along flexion, spread and twist of the mean pose."""
        return self.angles_from_rotations(exp(self.hands_mean.unflatten(-1, (15, 3))))

    @cached_property
    def rest_joints_m(self) -> Tensor:
        """(S, 16, 3) joints of the mean shape."""
        return self.joint_regressor @ self.template_m

    @cached_property
    def joint_shape_dirs(self) -> Tensor:
        """(S, 16, 3, 10) how the joints follow the betas (the regressor is linear: it may come first)."""
        return torch.einsum("sjv,svck->sjck", self.joint_regressor, self.shape_dirs)

    @cached_property
    def tip_slices(self) -> "_Tips":
        """The data needed to skin only the five fingertip vertices."""
        side = torch.arange(2, device=self.tip_vertices.device)[:, None]
        arrays = (self.template_m, self.shape_dirs, self.pose_dirs, self.skin_weights)
        return _Tips(*(array[side, self.tip_vertices] for array in arrays))


_FIELDS = frozenset(HandModel.__dataclass_fields__)


@dataclass(frozen=True, eq=False, repr=False)
class _Tips:
    template_m: Tensor
    shape_dirs: Tensor
    pose_dirs: Tensor
    skin_weights: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class ShapedHands:
    """Two hands at rest, each with its own shape; betas (..., S, 10)."""

    model: HandModel
    betas: Tensor

    @cached_property
    def rest_vertices_m(self) -> Tensor:
        """(..., S, V, 3) vertices in the flat rest pose."""
        return self.model.template_m + _blend(self.model.shape_dirs, self.betas)

    @cached_property
    def rest_joints_m(self) -> Tensor:
        """(..., S, 16, 3) joints in the flat rest pose."""
        return self.model.rest_joints_m + _blend(self.model.joint_shape_dirs, self.betas)

    @cached_property
    def rest_tips_m(self) -> Tensor:
        """(..., S, 5, 3) fingertips in the flat rest pose, thumb to pinky."""
        tips = self.model.tip_slices
        return tips.template_m + _blend(tips.shape_dirs, self.betas)

    @cached_property
    def size_m(self) -> Tensor:
        """(..., S) wrist to middle knuckle."""
        return (self.rest_joints_m[..., _MIDDLE_MCP_16, :] - self.rest_joints_m[..., 0, :]).norm(dim=-1)

    def with_pose(self, rotations: Tensor, wrist_m: Tensor | None = None) -> "PosedHands":
        """Hands in a pose.

        rotations (..., S, 16, 3, 3): [0] turns the hand about its wrist joint into camera axes; the other
        15 are finger rotations relative to the rest pose, MANO's order (hands_mean is not added). wrist_m
        (..., S, 3): where the wrist joint ends; None leaves it where the rest pose has it, as MANO does.
        Leading axes broadcast with the shape's.
        """
        return PosedHands(self, rotations, wrist_m)


@dataclass(frozen=True, eq=False, repr=False)
class PosedHands:
    """Two hands in a pose, computed on first access. Fields: see ShapedHands.with_pose."""

    shaped: ShapedHands
    rotations: Tensor
    wrist_m: Tensor | None

    @cached_property
    def joints16_m(self) -> Tensor:
        """(..., S, 16, 3) joints in MANO's order."""
        return self._kinematics[1]

    @cached_property
    def global_rotations(self) -> Tensor:
        """(..., S, 16, 3, 3) rotations from each joint's rest frame to camera axes."""
        return self._kinematics[0]

    @cached_property
    def joints21_m(self) -> Tensor:
        """(..., S, 21, 3) joints and fingertips (vertices of the skin) in the usual order."""
        return _picked(torch.cat([self.joints16_m, self.tips_m], -2), JOINTS_21_FROM_16_AND_TIPS, -2)

    @cached_property
    def landmarks21_m(self) -> Tensor:
        """(..., S, 21, 3) MediaPipe's landmarks: joints21_m plus constant offsets that ride on the joints."""
        offsets_m = self.shaped.model.landmark_offsets * self.shaped.size_m[..., None, None]
        return self.joints21_m + _turn(_picked(self.global_rotations, DRIVER_16_OF_21, -3), offsets_m)

    @cached_property
    def tips_m(self) -> Tensor:
        """(..., S, 5, 3) fingertip vertices, thumb to pinky, exactly as vertices_m holds them."""
        tips = self.shaped.model.tip_slices
        rest_m = self.shaped.rest_tips_m + _blend(tips.pose_dirs, self._pose_features)
        return self._skinned(rest_m, tips.skin_weights)

    @cached_property
    def vertices_m(self) -> Tensor:
        """(..., S, V, 3) skinned vertices."""
        model = self.shaped.model
        rest_m = self.shaped.rest_vertices_m + _blend(model.pose_dirs, self._pose_features)
        return self._skinned(rest_m, model.skin_weights)

    @cached_property
    def _kinematics(self) -> tuple[Tensor, Tensor]:
        """Global rotations (..., S, 16, 3, 3) and joints (..., S, 16, 3), the five fingers level by level."""
        rest = self.shaped.rest_joints_m
        wrist = rest[..., 0, :] if self.wrist_m is None else self.wrist_m
        chains = rest[..., 1:, :].unflatten(-2, (5, 3))
        first = rest[..., :1, None, :].expand_as(chains[..., :1, :])
        bones = chains - torch.cat([first, chains[..., :-1, :]], -2)  # torch.diff has no ONNX equivalent
        fingers = self.rotations[..., 1:, :, :].unflatten(-3, (5, 3))
        turn, place = self.rotations[..., None, 0, :, :], wrist[..., None, :]
        turns, places = [], []
        for level in range(3):
            place = place + _turn(turn, bones[..., level, :])
            turn = turn @ fingers[..., level, :, :]
            turns.append(turn)
            places.append(place)
        all_turns = torch.stack(turns, -3).flatten(-4, -3)
        all_places = torch.stack(places, -2).flatten(-3, -2)
        origin = wrist[..., None, :].expand(*all_places.shape[:-2], 1, 3)
        root = self.rotations[..., :1, :, :].expand(*all_turns.shape[:-3], 1, 3, 3)
        return torch.cat([root, all_turns], -3), torch.cat([origin, all_places], -2)

    @cached_property
    def _pose_features(self) -> Tensor:
        """(..., S, 135) R - I of the finger joints, row-major."""
        identity = torch.eye(3, dtype=self.rotations.dtype, device=self.rotations.device)
        return (self.rotations[..., 1:, :, :] - identity).flatten(-3)

    def _skinned(self, rest_m: Tensor, weights: Tensor) -> Tensor:
        """(..., S, N, 3) linear blend skinning of rest points (..., S, N, 3) with weights (S, N, 16)."""
        turns, joints = self.global_rotations, self.joints16_m
        shifts = joints - _turn(turns, self.shaped.rest_joints_m)
        blended = weights @ torch.cat([turns.flatten(-2), shifts], -1)
        return _turn(blended[..., :9].unflatten(-1, (3, 3)), rest_m) + blended[..., 9:]


def build_hand_model(
    left: HandArrays,
    right: HandArrays,
    landmark_offsets: NDArray[np.floating],
    name: str,
    licence: str,
    dtype: torch.dtype = torch.float32,
) -> HandModel:
    """The model of two checked sides.

    landmark_offsets (21, 3): sideways (to the thumb), dorsal, distal, in the frame of the joint that
    carries the landmark, fractions of the hand's size; the same numbers serve both sides. Raises
    HandModelError when the sides have different meshes.
    """
    if left.template_m.shape != right.template_m.shape or left.faces.shape != right.faces.shape:
        raise HandModelError(
            f"{name}: the left hand has {len(left.template_m)} vertices and {len(left.faces)} faces, "
            f"the right one {len(right.template_m)} and {len(right.faces)}. Use the two files of one model."
        )

    def stacked(field: str, kind: torch.dtype = torch.float64) -> Tensor:
        arrays = [getattr(left, field), getattr(right, field)]
        return torch.tensor(
            np.stack([array.astype(np.int64 if kind == torch.int64 else np.float64) for array in arrays]),
            dtype=kind,
        )

    axes, offsets = _anatomy(
        stacked("template_m"),
        stacked("joint_regressor"),
        stacked("tip_vertices", torch.int64),
        landmark_offsets,
    )
    model = HandModel(
        template_m=stacked("template_m"),
        faces=stacked("faces", torch.int64),
        shape_dirs=stacked("shape_dirs"),
        pose_dirs=stacked("pose_dirs"),
        joint_regressor=stacked("joint_regressor"),
        skin_weights=stacked("skin_weights"),
        parents=torch.tensor(PARENTS_16),
        hands_mean=stacked("hands_mean"),
        hands_components=stacked("hands_components"),
        tip_vertices=stacked("tip_vertices", torch.int64),
        joint_axes=axes,
        joint_limits_rad=anatomy.joint_limits_rad(),
        landmark_offsets=offsets,
        name=name,
        licence=licence,
        uvs=None if left.uvs is None or right.uvs is None else stacked("uvs"),
    )
    return model.to(dtype=dtype)


def _anatomy(
    template_m: Tensor, regressor: Tensor, tips: Tensor, offsets: NDArray[np.floating]
) -> tuple[Tensor, Tensor]:
    """joint_axes (S, 15, 3, 3) and landmark offsets (S, 21, 3) in the rest frame."""
    local = torch.tensor(offsets.astype(np.float64))
    axes, turned = [], []
    for side in (LEFT, RIGHT):
        joints_m = regressor[side] @ template_m[side]
        axes.append(anatomy.joint_axes(joints_m, template_m[side][tips[side]], side))
        frames = anatomy.offset_frames(joints_m, axes[-1], side)
        turned.append(_turn(frames[DRIVER_16_OF_21.tolist()], local))
    return torch.stack(axes), torch.stack(turned)


def _turn(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Matrices (..., 3, 3) times vectors (..., 3)."""
    x, y, z = vectors.split(1, -1)
    return matrices[..., 0] * x + matrices[..., 1] * y + matrices[..., 2] * z


def _picked(values: Tensor, numbers: NDArray[np.integer], axis: int) -> Tensor:
    """values[numbers] along an axis; by index_select, whose gradient is twice as fast as fancy indexing's."""
    return values.index_select(axis, torch.tensor(numbers, device=values.device))


def _blend(directions: Tensor, coefficients: Tensor) -> Tensor:
    """(..., S, N, 3) sum of directions (S, N, 3, K) weighted by coefficients (..., S, K)."""
    sides, count, _, size = directions.shape
    flat = torch.einsum("sdk,...sk->...sd", directions.reshape(sides, count * 3, size), coefficients)
    return flat.unflatten(-1, (count, 3))
