# SPDX-License-Identifier: GPL-3.0-or-later
"""The hands' surfaces as capsules along the bones, with radii from the hand model's skin."""

from dataclasses import dataclass

import torch
from torch import Tensor

from inference_core.fitting.parameterisation import HandParameterisation
from inference_core.fitting.residuals import JOINTS
from inference_core.hand_model.hand import HandModel
from inference_core.shared.skeleton import TIPS_21

# Phalanges first, thumb to pinky, tip last; then the palm: the metacarpals, the row of knuckles, the thumb's web.
BONES = (
    *((4 * finger + k, 4 * finger + k + 1) for finger in range(5) for k in (1, 2, 3)),
    *((0, joint) for joint in (1, 5, 9, 13, 17)),
    *((5, 9), (9, 13), (13, 17), (1, 5)),
)
# The heel of the hand and its outer edge have no bone: their ends are blends of these joints.
_HEEL_JOINTS = (0, 2, 5, 9, 17)
_HEEL = (
    ((1.07, 0.28, -0.13, -0.17, -0.05), (1.04, 0.18, -0.36, -0.20, 0.34)),
    ((0.82, 0.20, -0.33, -0.14, 0.45), (0.21, 0.33, -0.34, -0.03, 0.83)),
)
# A fingertip's capsule ends inside the finger: this share of the last phalanx short of the skin.
_TIP_SHORT = 0.33
_WIDEST_M = 0.019


@dataclass(frozen=True)
class Capsules:
    """C capsules per hand: ends (C, 2, 21) as blends of the 21 joints; radii_m (S, C)."""

    ends: Tensor
    radii_m: Tensor

    def ends_m(self, joints_m: Tensor) -> Tensor:
        """(N, C, 2, 3) centres of the capsules' ends for joints (N, 21, 3)."""
        return (self.ends.flatten(0, 1) @ joints_m).unflatten(1, self.ends.shape[:2])


def fit_capsules(model: HandModel, parameterisation: HandParameterisation) -> Capsules:
    """Capsules whose radii are the mean distance of the rest hand's vertices from their nearest bone."""
    joints = torch.eye(21).double()
    tips = torch.as_tensor(TIPS_21)
    joints[tips] = (1 - _TIP_SHORT) * joints[tips] + _TIP_SHORT * joints[tips - 1]
    heel = torch.tensor(_HEEL).double() @ joints[torch.tensor(_HEEL_JOINTS)]
    ends = torch.cat([joints[torch.tensor(BONES)], heel])
    capsules = Capsules(ends, torch.zeros(2, len(ends)).double())
    owner, _, distance_m = _nearest_bones(model, parameterisation, capsules)
    total = torch.zeros_like(capsules.radii_m).scatter_add_(1, owner, distance_m)
    count = torch.zeros_like(total).scatter_add_(1, owner, torch.ones_like(distance_m))
    return Capsules(capsules.ends, (total / count.clamp(min=1)).clamp(max=_WIDEST_M))


def owners(
    model: HandModel, parameterisation: HandParameterisation, capsules: Capsules
) -> tuple[Tensor, Tensor]:
    """The capsule nearest to each vertex at rest, and where along it that is, 0..1: each (S, V)."""
    return _nearest_bones(model, parameterisation, capsules)[:2]


def _nearest_bones(
    model: HandModel, parameterisation: HandParameterisation, capsules: Capsules
) -> tuple[Tensor, Tensor, Tensor]:
    """Each (S, V): the nearest capsule of the vertices at rest, where along it, and its axis's distance in metres."""
    rest = model.to("cpu", torch.float64).with_shape(parameterisation.betas)
    vertices_m = rest.rest_vertices_m - rest.rest_joints_m[:, :1]
    start, end = capsules.ends_m(parameterisation.points_m[:, JOINTS]).unbind(2)
    bone = (end - start)[:, None]
    along = ((vertices_m[:, :, None] - start[:, None]) * bone).sum(-1) / bone.square().sum(-1)
    along = along.clamp(0, 1)
    nearest = start[:, None] + along[..., None] * bone
    distance_m, owner = (vertices_m[:, :, None] - nearest).norm(dim=-1).min(-1)
    return owner, along.gather(2, owner[..., None])[..., 0], distance_m


@dataclass(frozen=True)
class Nearest:
    """The closest points of every left and right capsule.

    along, across (P, C, C): their positions along each, 0..1. gap_m (P, C, C): the distance of the
    surfaces, negative if they overlap.
    """

    along: Tensor
    across: Tensor
    gap_m: Tensor

    def behind_m(self, left_m: Tensor, right_m: Tensor) -> Tensor:
        """(P, C, C) how much farther from the camera the left capsules (ends left_m, P, C, 2, 3) are
        than the right, at those points.
        """
        left, right = left_m[:, :, None, :, 2], right_m[:, None, :, :, 2]
        own = torch.lerp(left[..., 0], left[..., 1], self.along)
        return own - torch.lerp(right[..., 0], right[..., 1], self.across)


def nearest_points(left_m: Tensor, right_m: Tensor, capsules: Capsules) -> Nearest:
    """The closest points of left and right capsules, from their ends (P, C, 2, 3).

    Computed by matrix products of coordinates, without an array of (P, C, C) vectors.
    """
    middle = left_m[:, :1, :1]
    start, other_start = left_m[:, :, 0] - middle[:, 0], right_m[:, :, 0] - middle[:, 0]
    own, other = left_m[:, :, 1] - left_m[:, :, 0], right_m[:, :, 1] - right_m[:, :, 0]
    a, e = own.square().sum(-1)[:, :, None], other.square().sum(-1)[:, None]
    b = own @ other.mT
    c = (own * start).sum(-1)[:, :, None] - own @ other_start.mT
    f = start @ other.mT - (other * other_start).sum(-1)[:, None]
    along = ((b * f - c * e) / (a * e - b * b).clamp(min=1e-12)).clamp(0, 1)
    across = ((b * along + f) / e).clamp(0, 1)
    along = ((b * across - c) / a).clamp(0, 1)
    apart = start.square().sum(-1)[:, :, None] + other_start.square().sum(-1)[:, None]
    apart = apart - 2 * (start @ other_start.mT)
    apart = apart + along * (a * along + 2 * (c - b * across)) + across * (e * across - 2 * f)
    reach_m = capsules.radii_m[0][:, None] + capsules.radii_m[1]
    return Nearest(along, across, apart.clamp(min=0).sqrt() - reach_m)
