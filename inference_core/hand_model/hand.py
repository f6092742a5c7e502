# SPDX-License-Identifier: GPL-3.0-or-later
"""Both hands as one model: HandModel -> with_shape -> ShapedHands -> with_pose -> PosedHands.

The maths is MANO's (Romero et al. 2017): a shaped template, joints regressed from it, pose correctives,
linear blend skinning. Both sides are one axis S (left, right); the five fingers are three levels of one forward
kinematics; and vertices are skinned only on demand. A model is loaded as NumPy arrays; training and networks take
the same model of torch tensors, HandModel.tensors.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inference_core.geometry.array_api import Array, array_namespace, constant
from inference_core.geometry.rotations import exp, log
from inference_core.hand_model import anatomy
from inference_core.hand_model.arrays import FINGER_JOINTS, POSE_FEATURES, HandArrays
from inference_core.hand_model.lazy import cached_property
from inference_core.shared.errors import HandModelError
from inference_core.shared.skeleton import (
    DRIVER_16_OF_21,
    JOINTS_21_FROM_16_AND_TIPS,
    LEFT,
    PARENTS_16,
    RIGHT,
)

if TYPE_CHECKING:  # a capture runs without torch
    import torch

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

    template_m: Array
    faces: Array
    shape_dirs: Array
    pose_dirs: Array
    joint_regressor: Array
    skin_weights: Array
    parents: Array
    hands_mean: Array
    hands_components: Array
    tip_vertices: Array
    joint_axes: Array
    joint_limits_rad: Array
    landmark_offsets: Array
    name: str
    licence: str
    uvs: Array | None = None

    def tensors(
        self, dtype: "torch.dtype | None" = None, device: "torch.device | str" = "cpu"
    ) -> "HandModel":
        """The same model of torch tensors, float32 unless `dtype` names another floating-point type."""
        import torch

        arrays = {
            key: value for key, value in vars(self).items() if key in _FIELDS and hasattr(value, "dtype")
        }
        tensors = {key: torch.as_tensor(value, device=device) for key, value in arrays.items()}
        converted = {
            key: value.to(dtype or torch.float32) if value.is_floating_point() else value
            for key, value in tensors.items()
        }
        return replace(self, **converted)

    def with_shape(self, betas: Array) -> "ShapedHands":
        """Hands of shape betas (..., S, 10)."""
        return ShapedHands(self, betas)

    def finger_vectors(self, coefficients: Array) -> Array:
        """Axis-angles (..., S, 45) of MANO's finger coefficients (..., S, 45), about the mean hand."""
        return self.hands_mean + (coefficients[..., None, :] @ self.hands_components)[..., 0, :]

    def rotations_from_angles(self, angles_rad: Array) -> Array:
        """Finger rotations (..., S, 15, 3, 3) of angles (..., S, 15, 3) along flexion, spread and twist."""
        return exp((self.joint_axes @ angles_rad[..., None])[..., 0])

    def angles_from_rotations(self, rotations: Array) -> Array:
        """Angles (..., S, 15, 3), radians, along flexion, spread, twist of rotations (..., S, 15, 3, 3)."""
        return (array_namespace(rotations).matrix_transpose(self.joint_axes) @ log(rotations)[..., None])[
            ..., 0
        ]

    @cached_property
    def mean_angles_rad(self) -> Array:
        """(S, 15, 3) angles along flexion, spread and twist of the mean pose."""
        return self.angles_from_rotations(exp(self.hands_mean.reshape(-1, 15, 3)))

    @cached_property
    def rest_joints_m(self) -> Array:
        """(S, 16, 3) joints of the mean shape."""
        return self.joint_regressor @ self.template_m

    @cached_property
    def joint_shape_dirs(self) -> Array:
        """(S, 16, 3, 10) how the joints follow the betas (the regressor is linear: it may come first)."""
        sides, vertices, *rest = self.shape_dirs.shape
        return (self.joint_regressor @ self.shape_dirs.reshape(sides, vertices, -1)).reshape(sides, 16, *rest)

    @cached_property
    def tip_slices(self) -> "_Tips":
        """The data needed to skin only the five fingertip vertices."""
        xp = array_namespace(self.template_m)
        return _Tips(
            *(
                xp.stack([array[side][self.tip_vertices[side]] for side in (LEFT, RIGHT)])
                for array in (self.template_m, self.shape_dirs, self.pose_dirs, self.skin_weights)
            )
        )


_FIELDS = frozenset(HandModel.__dataclass_fields__)


@dataclass(frozen=True, eq=False, repr=False)
class _Tips:
    template_m: Array
    shape_dirs: Array
    pose_dirs: Array
    skin_weights: Array


@dataclass(frozen=True, eq=False, repr=False)
class ShapedHands:
    """Two hands at rest, each with its own shape; betas (..., S, 10)."""

    model: HandModel
    betas: Array

    @cached_property
    def rest_vertices_m(self) -> Array:
        """(..., S, V, 3) vertices in the flat rest pose."""
        return self.model.template_m + _blend(self.model.shape_dirs, self.betas)

    @cached_property
    def rest_joints_m(self) -> Array:
        """(..., S, 16, 3) joints in the flat rest pose."""
        return self.model.rest_joints_m + _blend(self.model.joint_shape_dirs, self.betas)

    @cached_property
    def rest_tips_m(self) -> Array:
        """(..., S, 5, 3) fingertips in the flat rest pose, thumb to pinky."""
        tips = self.model.tip_slices
        return tips.template_m + _blend(tips.shape_dirs, self.betas)

    @cached_property
    def size_m(self) -> Array:
        """(..., S) wrist to middle knuckle."""
        joints = self.rest_joints_m
        bone = joints[..., _MIDDLE_MCP_16, :] - joints[..., 0, :]
        return array_namespace(bone).linalg.vector_norm(bone, axis=-1)

    def with_pose(self, rotations: Array, wrist_m: Array | None = None) -> "PosedHands":
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
    rotations: Array
    wrist_m: Array | None

    @cached_property
    def joints16_m(self) -> Array:
        """(..., S, 16, 3) joints in MANO's order."""
        return self._kinematics[1]

    @cached_property
    def global_rotations(self) -> Array:
        """(..., S, 16, 3, 3) rotations from each joint's rest frame to camera axes."""
        return self._kinematics[0]

    @cached_property
    def joints21_m(self) -> Array:
        """(..., S, 21, 3) joints and fingertips (vertices of the skin) in the usual order."""
        xp = array_namespace(self.rotations)
        return _picked(xp.concat([self.joints16_m, self.tips_m], axis=-2), JOINTS_21_FROM_16_AND_TIPS, -2)

    @cached_property
    def landmarks21_m(self) -> Array:
        """(..., S, 21, 3) MediaPipe's landmarks: joints21_m plus constant offsets that ride on the joints."""
        offsets_m = self.shaped.model.landmark_offsets * self.shaped.size_m[..., None, None]
        return self.joints21_m + _turn(_picked(self.global_rotations, DRIVER_16_OF_21, -3), offsets_m)

    @cached_property
    def tips_m(self) -> Array:
        """(..., S, 5, 3) fingertip vertices, thumb to pinky, exactly as vertices_m holds them."""
        tips = self.shaped.model.tip_slices
        rest_m = self.shaped.rest_tips_m + _blend(tips.pose_dirs, self._pose_features)
        return self._skinned(rest_m, tips.skin_weights)

    @cached_property
    def vertices_m(self) -> Array:
        """(..., S, V, 3) skinned vertices."""
        model = self.shaped.model
        rest_m = self.shaped.rest_vertices_m + _blend(model.pose_dirs, self._pose_features)
        return self._skinned(rest_m, model.skin_weights)

    @cached_property
    def _kinematics(self) -> tuple[Array, Array]:
        """Global rotations (..., S, 16, 3, 3) and joints (..., S, 16, 3), the five fingers level by level."""
        xp = array_namespace(self.rotations)
        rest = self.shaped.rest_joints_m
        wrist = rest[..., 0, :] if self.wrist_m is None else self.wrist_m
        chains = rest[..., 1:, :].reshape(*rest.shape[:-2], 5, 3, 3)
        first = xp.broadcast_to(rest[..., :1, None, :], chains[..., :1, :].shape)
        bones = chains - xp.concat([first, chains[..., :-1, :]], axis=-2)  # diff has no ONNX equivalent
        fingers = self.rotations[..., 1:, :, :].reshape(*self.rotations.shape[:-3], 5, 3, 3, 3)
        turn, place = self.rotations[..., None, 0, :, :], wrist[..., None, :]
        turns, places = [], []
        for level in range(3):
            place = place + _turn(turn, bones[..., level, :])
            turn = turn @ fingers[..., level, :, :]
            turns.append(turn)
            places.append(place)
        all_turns = xp.stack(turns, axis=-3).reshape(*turn.shape[:-3], 15, 3, 3)
        all_places = xp.stack(places, axis=-2).reshape(*place.shape[:-2], 15, 3)
        root = xp.broadcast_to(self.rotations[..., :1, :, :], (*turn.shape[:-3], 1, 3, 3))
        origin = xp.broadcast_to(wrist[..., None, :], (*place.shape[:-2], 1, 3))
        return xp.concat([root, all_turns], axis=-3), xp.concat([origin, all_places], axis=-2)

    @cached_property
    def _pose_features(self) -> Array:
        """(..., S, 135) R - I of the finger joints, row-major."""
        fingers = self.rotations[..., 1:, :, :].reshape(*self.rotations.shape[:-3], POSE_FEATURES)
        return fingers - constant(np.tile(np.eye(3).ravel(), FINGER_JOINTS), fingers)

    def _skinned(self, rest_m: Array, weights: Array) -> Array:
        """(..., S, N, 3) linear blend skinning of rest points (..., S, N, 3) with weights (S, N, 16)."""
        turns, joints = self.global_rotations, self.joints16_m
        shifts = joints - _turn(turns, self.shaped.rest_joints_m)
        flat = turns.reshape(*turns.shape[:-2], 9)
        blended = weights @ array_namespace(flat).concat([flat, shifts], axis=-1)
        return _turn(blended[..., :9].reshape(*blended.shape[:-1], 3, 3), rest_m) + blended[..., 9:]


def build_hand_model(
    left: HandArrays,
    right: HandArrays,
    landmark_offsets: NDArray[np.floating],
    name: str,
    licence: str,
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

    def stacked(field: str, kind: type = np.float64) -> NDArray[Any]:
        return np.stack([getattr(left, field), getattr(right, field)]).astype(kind)

    template_m, regressor = stacked("template_m"), stacked("joint_regressor")
    tips = stacked("tip_vertices", np.int64)
    axes, offsets = _anatomy(template_m, regressor, tips, landmark_offsets)
    return HandModel(
        template_m=template_m,
        faces=stacked("faces", np.int64),
        shape_dirs=stacked("shape_dirs"),
        pose_dirs=stacked("pose_dirs"),
        joint_regressor=regressor,
        skin_weights=stacked("skin_weights"),
        parents=np.asarray(PARENTS_16, np.int64),
        hands_mean=stacked("hands_mean"),
        hands_components=stacked("hands_components"),
        tip_vertices=tips,
        joint_axes=axes,
        joint_limits_rad=anatomy.joint_limits_rad(),
        landmark_offsets=offsets,
        name=name,
        licence=licence,
        uvs=None if left.uvs is None or right.uvs is None else stacked("uvs"),
    )


def _anatomy(
    template_m: NDArray[np.float64],
    regressor: NDArray[np.float64],
    tips: NDArray[np.int64],
    offsets: NDArray[np.floating],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """joint_axes (S, 15, 3, 3) and landmark offsets (S, 21, 3) in the rest frame."""
    axes, turned = [], []
    for side in (LEFT, RIGHT):
        joints_m = regressor[side] @ template_m[side]
        axes.append(anatomy.joint_axes(joints_m, template_m[side][tips[side]], side))
        frames = anatomy.offset_frames(joints_m, axes[-1], side)
        turned.append(_turn(frames[DRIVER_16_OF_21], offsets.astype(np.float64)))
    return np.stack(axes), np.stack(turned)


def _turn(matrices: Array, vectors: Array) -> Array:
    """Matrices (..., 3, 3) times vectors (..., 3)."""
    x, y, z = vectors[..., :1], vectors[..., 1:2], vectors[..., 2:]
    return matrices[..., 0] * x + matrices[..., 1] * y + matrices[..., 2] * z


def _picked(values: Array, numbers: NDArray[np.integer], axis: int) -> Array:
    """values[numbers] along an axis; by take, whose gradient is twice as fast as fancy indexing's."""
    xp = array_namespace(values)
    return xp.take(values, xp.asarray(numbers, device=getattr(values, "device", None)), axis=axis)


def _blend(directions: Array, coefficients: Array) -> Array:
    """(..., S, N, 3) sum of directions (S, N, 3, K) weighted by coefficients (..., S, K)."""
    xp = array_namespace(directions, coefficients)
    sides, count, _, size = directions.shape
    by_side = xp.permute_dims(coefficients.reshape(-1, sides, size), (1, 0, 2))
    flat = by_side @ xp.matrix_transpose(directions.reshape(sides, count * 3, size))
    return xp.permute_dims(flat, (1, 0, 2)).reshape(*coefficients.shape[:-1], count, 3)
