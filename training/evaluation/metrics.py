# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of hand reconstructions, one value per sample and side: means are taken over samples, never over batches.

Shapes: B batch, S side, J joints (21), V vertices, T time. Inputs are metres, results millimetres unless named
otherwise. Two roots are in use, the wrist (the release) and the middle finger's MCP (the data sets' usual one):
numbers of one are not comparable with the other's, so both are always computed. "Scaled" means that each
predicted hand is scaled so that its length wrist to middle MCP equals the truth's, "PA" a similarity alignment of
each hand (Procrustes).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from inference_core.geometry.rigid import fit_similarity
from inference_core.shared.skeleton import MIDDLE_MCP_21

WRIST = 0
Root = Literal["wrist", "mcp"]
ROOTS: dict[Root, int] = {"wrist": WRIST, "mcp": MIDDLE_MCP_21}

# The area under the curve of correct key points is taken between these errors.
AUC_RANGE_MM = (0.0, 50.0)
AUC_STEPS = 100

_M_TO_MM = 1000.0
_TINY_M = 1e-6


@dataclass(frozen=True)
class HandErrors:
    """Errors of each hand (B, S), mm. `mpjpe` and `mpvpe` are scaled, `raw_*` are not; vertices None if not given."""

    mpjpe: Tensor
    raw_mpjpe: Tensor
    pa_mpjpe: Tensor
    mpvpe: Tensor | None
    raw_mpvpe: Tensor | None


def hand_errors(
    joints_m: Tensor,
    true_joints_m: Tensor,
    vertices_m: Tensor | None = None,
    true_vertices_m: Tensor | None = None,
    root: Root = "wrist",
) -> HandErrors:
    """Mean distances of each hand's joints (..., 21, 3) and vertices (..., V, 3) after alignment at the root joint."""
    index = ROOTS[root]
    anchor, true_anchor = joints_m[..., index : index + 1, :], true_joints_m[..., index : index + 1, :]
    scale = hand_scale(joints_m, true_joints_m)[..., None, None]
    joints, true_joints = joints_m - anchor, true_joints_m - true_anchor
    aligned = fit_similarity(joints, true_joints).apply(joints)
    mpvpe = raw_mpvpe = None
    if vertices_m is not None and true_vertices_m is not None:
        vertices, true_vertices = vertices_m - anchor, true_vertices_m - true_anchor
        mpvpe, raw_mpvpe = (
            mean_distance_mm(vertices * scale, true_vertices),
            mean_distance_mm(vertices, true_vertices),
        )
    return HandErrors(
        mpjpe=mean_distance_mm(joints * scale, true_joints),
        raw_mpjpe=mean_distance_mm(joints, true_joints),
        pa_mpjpe=mean_distance_mm(aligned, true_joints),
        mpvpe=mpvpe,
        raw_mpvpe=raw_mpvpe,
    )


def hand_scale(joints_m: Tensor, true_joints_m: Tensor) -> Tensor:
    """(...,) true over predicted length wrist to middle MCP."""
    length, true_length = (_bone_length(joints) for joints in (joints_m, true_joints_m))
    return true_length / length.clamp(min=_TINY_M)


def mean_distance_mm(points_m: Tensor, true_points_m: Tensor) -> Tensor:
    """(...,) mean distance of points (..., P, 3)."""
    return (points_m - true_points_m).norm(dim=-1).mean(dim=-1) * _M_TO_MM


def root_error_mm(offset_m: Tensor, true_offset_m: Tensor) -> Tensor:
    """(...,) MRRPE: distance between predicted and true right wrist as seen from the left one, offsets (..., 3)."""
    return (offset_m - true_offset_m).norm(dim=-1) * _M_TO_MM


def alignment_px(points_uv: Tensor, true_points_uv: Tensor) -> Tensor:
    """(...,) MIAA of joints (or of vertices): mean distance of points (..., P, 2) in -1..1, in pixels of a
    crop of 256.
    """
    return (points_uv - true_points_uv).norm(dim=-1).mean(dim=-1) * 128


def area_under_curve(errors_mm: Tensor) -> Tensor:
    """() area, 0..1, under the share of joint errors (any shape) below thresholds of AUC_RANGE_MM."""
    thresholds = torch.linspace(*AUC_RANGE_MM, AUC_STEPS + 1, device=errors_mm.device, dtype=errors_mm.dtype)
    share = (errors_mm.reshape(-1, 1) <= thresholds).to(errors_mm.dtype).mean(dim=0)
    return torch.trapezoid(share, dx=1.0 / AUC_STEPS)


def jitter_mm(joints_cam_m: Tensor) -> Tensor:
    """(T - 2, ...) mean length of the second difference of joints (T, ..., J, 3) over frames, mm per frame squared."""
    accelerations = joints_cam_m[2:] - 2 * joints_cam_m[1:-1] + joints_cam_m[:-2]
    return accelerations.norm(dim=-1).mean(dim=-1) * _M_TO_MM


def presence_correct(presence: Tensor, present: Tensor) -> Tensor:
    """(B, S) bool: presence probabilities on the right side of one half."""
    return (presence > 0.5) == present


def side_correct(joints_uv: Tensor, true_joints_uv: Tensor, present: Tensor) -> Tensor:
    """(B,) bool: the hands are nearer to the truth with their labels than with the
    labels swapped. Shapes (B, S, 21, 2).
    """
    straight = (joints_uv - true_joints_uv).norm(dim=-1).mean(dim=-1)
    crossed = (joints_uv.flip(1) - true_joints_uv).norm(dim=-1).mean(dim=-1)
    return (straight * present).sum(dim=1) <= (crossed * present).sum(dim=1)


def hand_distance_m(joints_cam_m: Tensor) -> Tensor:
    """(...,) smallest distance between a left and a right joint, for joints (..., S, 21, 3)."""
    return torch.cdist(joints_cam_m[..., 0, :, :], joints_cam_m[..., 1, :, :]).flatten(-2).amin(dim=-1)


def _bone_length(joints_m: Tensor) -> Tensor:
    return (joints_m[..., MIDDLE_MCP_21, :] - joints_m[..., WRIST, :]).norm(dim=-1)
