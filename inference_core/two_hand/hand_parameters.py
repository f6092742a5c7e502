# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts a stage's regressed numbers into two hands, in metres and in the crop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inference_core.geometry import rotations as so3
from inference_core.hand_model.hand import HandModel
from inference_core.two_hand.configuration import PARAMETERS, Pose
from inference_core.two_hand.records import OFFSET_UNIT_M, HandStage

ROOT, POSE, BETAS, CAMERA = slice(0, 6), slice(6, 51), slice(51, 61), slice(61, PARAMETERS)

_IDENTITY_6D = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class HandParameters:
    """The regressed numbers of two hands. Fields as in HandStage; offset (B, 3) in units of 0.15 m."""

    parameters: Tensor
    root_rotation: Tensor
    pose: Tensor
    betas: Tensor
    camera: Tensor
    offset: Tensor


def absolute_numbers(parameters: Tensor, offset: Tensor) -> HandParameters:
    """The numbers read directly from parameters (B, S, 64) and offset (B, 3)."""
    return HandParameters(
        parameters,
        so3.six_d_to_matrix(parameters[..., ROOT]),
        parameters[..., POSE],
        parameters[..., BETAS],
        parameters[..., CAMERA],
        offset,
    )


def corrected_numbers(
    previous: HandParameters, correction: Tensor, offset_correction: Tensor
) -> HandParameters:
    """`previous` with corrections (B, S, 64) and (B, 3) applied; zeros change nothing.

    The root rotates about the hand's own axes, the scale is multiplied by an
    exponential, and everything else is added.
    """
    identity = correction.new_tensor(_IDENTITY_6D)
    root = previous.root_rotation @ so3.six_d_to_matrix(identity + correction[..., ROOT])
    pose = previous.pose + correction[..., POSE]
    betas = previous.betas + correction[..., BETAS]
    scale, shift = correction[..., 61:62].clamp(-2, 2).exp(), correction[..., 62:]
    camera = torch.cat([previous.camera[..., :1] * scale, previous.camera[..., 1:] + shift], -1)
    return numbers_of(root, pose, betas, camera, previous.offset + offset_correction)


def numbers_of(
    root_rotation: Tensor, pose: Tensor, betas: Tensor, camera: Tensor, offset: Tensor
) -> HandParameters:
    """The record, with each hand's 64 parameters joined from their parts.

    root_rotation (B, S, 3, 3), pose (B, S, 45), betas (B, S, 10), camera (B, S, 3), offset (B, 3).
    """
    parameters = torch.cat([so3.matrix_to_six_d(root_rotation), pose, betas, camera], -1)
    return HandParameters(parameters, root_rotation, pose, betas, camera, offset)


def detached(numbers: HandParameters) -> HandParameters:
    """The same numbers, cut off from the gradient."""
    return HandParameters(
        numbers.parameters.detach(),
        numbers.root_rotation.detach(),
        numbers.pose.detach(),
        numbers.betas.detach(),
        numbers.camera.detach(),
        numbers.offset.detach(),
    )


def finger_rotations(pose: Tensor, hand: HandModel, kind: Pose) -> Tensor:
    """(B, S, 15, 3, 3), relative to the rest pose, of 45 pose numbers (B, S, 45)."""
    if kind == "coefficients":
        vectors = hand.finger_vectors(pose)
        return so3.exp(vectors.unflatten(-1, (15, 3)))
    return hand.rotations_from_angles(pose.unflatten(-1, (15, 3)))


def posed_hands(
    numbers: HandParameters, hand: HandModel, kind: Pose, vertices: bool, heads: Tensor | None = None
) -> HandStage:
    """The stage's output: joints and, if requested, vertices in metres about the wrist, and joints in the crop.

    heads (B, S, 3): presence logits and the logarithms of the two expected errors, or None.
    """
    rotations = torch.cat([numbers.root_rotation[:, :, None], finger_rotations(numbers.pose, hand, kind)], 2)
    at_origin = numbers.betas.new_zeros(*numbers.betas.shape[:-1], 3)
    posed = hand.with_shape(numbers.betas).with_pose(rotations, at_origin)
    joints_m = posed.joints21_m
    scale, shift = numbers.camera[..., None, :1], numbers.camera[..., None, 1:]
    return HandStage(
        parameters=numbers.parameters,
        root_rotation=numbers.root_rotation,
        pose=numbers.pose,
        rotations=rotations,
        betas=numbers.betas,
        camera=numbers.camera,
        joints_m=joints_m,
        joints_uv=scale * joints_m[..., :2] + shift,
        vertices_m=posed.vertices_m if vertices else None,
        offset_m=numbers.offset * OFFSET_UNIT_M,
        presence_logit=None if heads is None else heads[..., 0],
        log_sigma=None if heads is None else heads[..., 1:],
    )
