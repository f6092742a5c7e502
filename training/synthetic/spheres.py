# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands as spheres fixed to their bones: how far apart two hands are, or how deep they intersect."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.hand_model.hand import HandModel, PosedHands
from inference_core.shared.skeleton import RIGHT
from training.synthetic.meshes import vertex_normals

_COUNT = 88
_RADII_M = torch.arange(0.004, 0.0165, 0.0005)
# Forearm: distances from the wrist joint along the rest arm, and radii; and the
# course of its centre line at rest.
ARM_M = ((0.030, 0.0235), (0.058, 0.0285), (0.088, 0.0305), (0.120, 0.033), (0.155, 0.036), (0.195, 0.038))
_ARM_WAY, _ARM_BELOW_M = (1.0, -0.155, 0.205), -0.004
# A sphere may protrude from the skin by this share of its radius; otherwise the
# mesh's noise would determine it.
_TOLERANCE = 0.06


@dataclass(frozen=True)
class Spheres:
    """K spheres that fill a hand and represent its forearm, the same on both sides.

    vertex (K,): the skin's vertex that each touches from inside; inward_m (S, K, 3): from there to its centre, rest
    frame; radius_m (K,); bone (K,): the joint, 0..15, that it moves with.
    """

    vertex: Tensor
    inward_m: Tensor
    radius_m: Tensor
    bone: Tensor

    def to(self, device: torch.device | str) -> "Spheres":
        """The same spheres on another device."""
        return Spheres(*(field.to(device) for field in vars(self).values()))


def fit_spheres(model: HandModel) -> Spheres:
    """Spheres inside the model's mean hand, each the largest that touches its vertex from inside.

    They are spread over the skin by farthest-point sampling; the last ones are along the
    forearm, which is assumed straight.
    """
    skin_m = model.template_m[RIGHT].float()
    normals = vertex_normals(skin_m[None], model.faces[RIGHT])[0]
    radius_m = _inscribed_radii(skin_m, normals)
    vertex = _farthest_points(skin_m, _COUNT)
    inward = -normals[vertex] * radius_m[vertex, None]
    bone = model.skin_weights[RIGHT, vertex].argmax(-1)
    wrist_m = model.rest_joints_m[RIGHT, 0].float()
    along_m, arm_radius_m = torch.tensor(ARM_M, device=skin_m.device).unbind(1)
    rim = (skin_m - wrist_m).norm(dim=-1).argmin().expand(len(along_m))
    arm_m = wrist_m + arm_line_m(along_m)
    inward = torch.cat([inward, arm_m - skin_m[rim]])
    return Spheres(
        vertex=torch.cat([vertex, rim]),
        inward_m=torch.stack([inward * torch.tensor([-1.0, 1.0, 1.0], device=inward.device), inward]),
        radius_m=torch.cat([radius_m[vertex], arm_radius_m]),
        bone=F.pad(bone, (0, len(along_m))),
    )


def arm_line_m(along_m: Tensor) -> Tensor:
    """(N, 3) from the wrist joint of the right hand, rest frame: the forearm's middle at distances (N,)."""
    below = along_m.new_tensor([0.0, _ARM_BELOW_M, 0.0])
    return along_m[:, None] * along_m.new_tensor(_ARM_WAY) + below


def sphere_centres(spheres: Spheres, posed: PosedHands) -> Tensor:
    """Centres (..., S, K, 3), metres, of the spheres of posed hands."""
    shaped = posed.shaped
    rest_m = shaped.rest_vertices_m[..., spheres.vertex, :] + spheres.inward_m
    arm_m = rest_m - shaped.rest_joints_m[..., spheres.bone, :]
    turned = (posed.global_rotations[..., spheres.bone, :, :] @ arm_m[..., None])[..., 0]
    return posed.joints16_m[..., spheres.bone, :] + turned


def gap(centres_m: Tensor, radius_m: Tensor) -> Tensor:
    """(...,) smallest distance between the two sides' spheres (..., S, K, 3); negative where they overlap."""
    distance = torch.cdist(centres_m[..., 0, :, :], centres_m[..., 1, :, :])
    return (distance - (radius_m[:, None] + radius_m)).flatten(-2).amin(-1)


def first_contact(centres_m: Tensor, radius_m: Tensor, direction: Tensor) -> Tensor:
    """(B,) how far the left hand must move along unit vectors `direction` (B, 3) to just leave the right one.

    centres_m (B, S, K, 3). Coming from infinity against `direction`, the left hand first touches there.
    -inf where their paths never meet.
    """
    between = centres_m[:, 0, :, None] - centres_m[:, 1, None]
    along = (between * direction[:, None, None]).sum(-1)
    reach = (radius_m[:, None] + radius_m).square()
    discriminant = along.square() - between.square().sum(-1) + reach
    leave = torch.where(discriminant > 0, discriminant.clamp(min=0).sqrt() - along, -torch.inf)
    return leave.flatten(1).amax(1)


def deepest_fit(
    centres_m: Tensor, radius_m: Tensor, direction: Tensor, start_m: Tensor, depth_m: float, bound_m: float
) -> Tensor:
    """(B,) as first_contact, but pushed further, up to depth_m, where fingers fit between fingers.

    start_m (B,) is first_contact's result. Returns the deepest position at which
    spheres intersect by at most bound_m.
    """
    steps = torch.linspace(0, depth_m, 13, device=centres_m.device)
    best = start_m
    for step in steps[1:]:
        trial = start_m - step
        moved = centres_m[:, 0] + (direction * trial[:, None])[:, None]
        free = gap(torch.stack([moved, centres_m[:, 1]], 1), radius_m) >= -bound_m
        best = torch.where(free & start_m.isfinite(), trial, best)
    return best


def _inscribed_radii(skin_m: Tensor, normals: Tensor) -> Tensor:
    """(V,) radius of the largest sphere that touches each vertex from inside and contains no other."""
    radius_m = torch.full_like(skin_m[:, 0], float(_RADII_M[0]))
    for candidate in _RADII_M.tolist():
        nearest = torch.cdist(skin_m - candidate * normals, skin_m).amin(1)
        radius_m = torch.where(nearest >= candidate * (1 - _TOLERANCE), candidate, radius_m)
    return radius_m


def _farthest_points(points_m: Tensor, count: int) -> Tensor:
    distance = (points_m - points_m[:1]).norm(dim=-1)
    chosen = [torch.zeros((), dtype=torch.int64, device=points_m.device)]
    for _ in range(count - 1):
        chosen.append(distance.argmax())
        distance = torch.minimum(distance, (points_m - points_m[chosen[-1]]).norm(dim=-1))
    return torch.stack(chosen)
