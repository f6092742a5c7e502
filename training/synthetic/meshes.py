# SPDX-License-Identifier: GPL-3.0-or-later
"""Forearms for the open hand, held things, and the single mesh of a picture that holds all of them.

Vertices are ordered: left hand and arm, right hand and arm, thing, thing. Every picture has all of them; those that a
picture lacks are moved behind the camera, where the rasteriser skips them.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.hand_model.hand import PosedHands

ARM_FILE = Path(__file__).parent / "assets" / "open_arm.npz"
THINGS = 2
# What a face belongs to. The first four are those of batch.side_mask minus one.
PART_LEFT_HAND, PART_RIGHT_HAND, PART_LEFT_ARM, PART_RIGHT_ARM, PART_THING = 0, 1, 2, 3, 4
_RINGS, _SECTORS = 13, 24
# The stored forearm ends 33 cm along the rest arm; its part beyond the first length is stretched to the
# second, so that the arm ends outside nearly every picture.
_DRAWN_OUT_M = (0.20, 0.62)


@dataclass(frozen=True)
class SceneMesh:
    """Topology of a picture's mesh and where each vertex lies on the rest arm.

    faces (F, 3), counter-clockwise from outside; part (F,) PART_*; bone (F,): 0..15 MANO's joints, 16 the
    forearm; neighbours (V, D): faces round each vertex, padded with F. rest_m (V, 3): place on the rest right
    hand and arm (the left one is mirrored), metres; for things, on a unit shape. rest_normal (V, 3).
    arm_template_m (A, 3), arm_shape_dirs (A, 3, 10), arm_share (A,): how far each vertex of hand and arm
    follows the forearm instead of the wrist. thing_unit (G, 3): points on the unit sphere. hand_count: the
    first vertices of an arm that are the hand's own.
    """

    faces: Tensor
    part: Tensor
    bone: Tensor
    neighbours: Tensor
    rest_m: Tensor
    rest_normal: Tensor
    arm_template_m: Tensor
    arm_shape_dirs: Tensor
    arm_share: Tensor
    thing_unit: Tensor
    hand_count: int

    @property
    def is_hand(self) -> Tensor:
        """(V,) bool: vertices of the two hands' own skin."""
        arm = torch.arange(self.arm_count, device=self.faces.device) < self.hand_count
        return F.pad(arm.repeat(2), (0, self.rest_m.shape[0] - 2 * self.arm_count))

    @property
    def arm_count(self) -> int:
        """Vertices of one hand with its arm."""
        return self.arm_template_m.shape[0]

    def to(self, device: torch.device | str) -> "SceneMesh":
        """The same mesh on another device."""
        moved = {name: v.to(device) for name, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)


@lru_cache(maxsize=1)
def load_scene_mesh() -> SceneMesh:
    """The mesh of a picture, from the forearm that is stored beside this file."""
    with np.load(ARM_FILE, allow_pickle=False) as stored:
        template_m = torch.tensor(stored["v_template"].astype(np.float32))
        arm_faces = torch.tensor(stored["f"].astype(np.int64))
        shape_dirs = torch.tensor(stored["shapedirs"].astype(np.float32))
        weights = torch.tensor(stored["weights"].astype(np.float32))
        hand_count = int(stored["n_hand"])
    thing_unit, thing_faces = _globe()
    arms, things = len(template_m), len(thing_unit)
    # A face is the hand's if all its corners are, so that masks end along the hand's own rim.
    is_arm = (arm_faces >= hand_count).any(1).long()
    bone = weights[arm_faces].sum(1).argmax(-1)
    bones = torch.cat([bone, bone, torch.full((THINGS * len(thing_faces),), 16)])
    faces = [arm_faces.flip(1), arm_faces + arms]
    part = [PART_LEFT_HAND + 2 * is_arm, PART_RIGHT_HAND + 2 * is_arm]
    for thing in range(THINGS):
        faces.append(thing_faces + 2 * arms + thing * things)
        part.append(torch.full((len(thing_faces),), PART_THING))
    normals = vertex_normals(template_m[None], arm_faces)[0]
    all_faces = torch.cat(faces)
    return SceneMesh(
        faces=all_faces,
        part=torch.cat(part),
        bone=bones,
        neighbours=_neighbours(all_faces, 2 * arms + THINGS * things),
        rest_m=torch.cat([template_m, template_m, *[thing_unit] * THINGS]),
        rest_normal=torch.cat([normals, normals, *[thing_unit] * THINGS]),
        arm_template_m=template_m,
        arm_shape_dirs=shape_dirs,
        arm_share=weights[:, 16],
        thing_unit=thing_unit,
        hand_count=hand_count,
    )


def with_forearms(mesh: SceneMesh, posed: PosedHands, bend: Tensor) -> Tensor:
    """Vertices (B, S, A, 3) of hands with forearms; bend (B, S, 3, 3) rotates the forearm about the wrist.

    The hand's own vertices stay in place, except near the rim, where they blend into the forearm.
    """
    shaped = posed.shaped
    hands_m = posed.vertices_m
    count = mesh.hand_count
    flip = torch.tensor([[-1.0, 1, 1], [1, 1, 1]], device=hands_m.device)[:, None]
    rest_m = mesh.arm_template_m[count:] + torch.einsum(
        "vck,bsk->bsvc", mesh.arm_shape_dirs[count:], shaped.betas
    )
    start_m, end_m = _DRAWN_OUT_M
    stretch = (end_m - start_m) / (mesh.arm_template_m[:, 0].max() - start_m) - 1
    length = (rest_m[..., :1] - start_m).clamp(min=0) * stretch
    rest_m = torch.cat([rest_m[..., :1] + length, rest_m[..., 1:]], -1) * flip
    wrist_m = posed.joints16_m[..., :1, :]
    rest_all_m = torch.cat([shaped.rest_vertices_m, rest_m], -2) - shaped.rest_joints_m[..., :1, :]
    turn = posed.rotations[..., 0, :, :]
    straight_m = rest_all_m @ turn.mT + wrist_m
    bent_m = rest_all_m @ (turn @ bend).mT + wrist_m
    move_m = mesh.arm_share[:, None] * (bent_m - straight_m)
    return torch.cat([hands_m, straight_m[..., count:, :]], -2) + move_m


def shaped_things(mesh: SceneMesh, half_m: Tensor, squareness: Tensor, turn: Tensor, at_m: Tensor) -> Tensor:
    """Vertices (B, THINGS, G, 3) of superellipsoids: balls, boxes, cylinders, pens and everything between.

    half_m (B, THINGS, 3): half extents. squareness (B, THINGS, 2): across the axis and along it, from 1 (round) to
    0.1 (square). turn (B, THINGS, 3, 3); at_m (B, THINGS, 3): centre.
    """
    x, y, z = mesh.thing_unit.unbind(-1)
    across, along = squareness[..., :1], squareness[..., 1:]
    ring = (x.square() + y.square()).sqrt().clamp(min=1e-6)
    radius = ring.pow(along)
    unit = [_power(x / ring, across) * radius, _power(y / ring, across) * radius, _power(z, along)]
    return (torch.stack(unit, -1) * half_m[..., None, :]) @ turn.mT + at_m[..., None, :]


def vertex_normals(vertices_m: Tensor, faces: Tensor, neighbours: Tensor | None = None) -> Tensor:
    """Unit normals (B, V, 3) of vertices (B, V, 3), with faces weighted by area.

    Faces around a vertex are gathered, not scattered, so that the order of summation is the same on every device.
    """
    if neighbours is None:
        neighbours = _neighbours(faces, vertices_m.shape[1])
    a, b, c = vertices_m.index_select(1, faces.flatten()).unflatten(1, (-1, 3)).unbind(2)
    normals = F.pad(torch.linalg.cross(b - a, c - a, dim=-1), (0, 0, 0, 1))
    total = normals.index_select(1, neighbours[:, 0])
    for column in range(1, neighbours.shape[1]):
        total = total + normals.index_select(1, neighbours[:, column])
    return F.normalize(total, dim=-1)


def _neighbours(faces: Tensor, vertices: int) -> Tensor:
    """(V, D) numbers of the faces round each vertex, padded with the number of faces."""
    corner = faces.flatten()
    order = corner.argsort(stable=True)
    count = torch.bincount(corner, minlength=vertices)
    place = torch.arange(len(corner), device=faces.device) - (count.cumsum(0) - count)[corner[order]]
    table = torch.full((vertices, int(count.max())), len(faces), device=faces.device)
    table[corner[order], place] = order // 3
    return table


def _globe() -> tuple[Tensor, Tensor]:
    """Points (G, 3) on the unit sphere about z and outward faces, rings denser towards the poles' rims."""
    ring = torch.linspace(-1, 1, _RINGS)
    polar = torch.sin(ring * torch.pi / 2) * torch.pi / 2
    angle = torch.arange(_SECTORS) * (2 * torch.pi / _SECTORS)
    points = torch.stack(
        [
            polar.cos()[:, None] * angle.cos(),
            polar.cos()[:, None] * angle.sin(),
            polar.sin()[:, None].expand(-1, _SECTORS),
        ],
        -1,
    ).flatten(0, 1)
    low = torch.arange(_RINGS - 1)[:, None] * _SECTORS
    here, there = torch.arange(_SECTORS), (torch.arange(_SECTORS) + 1) % _SECTORS
    a, b, c, d = low + here, low + there, low + _SECTORS + here, low + _SECTORS + there
    return points, torch.cat([torch.stack([a, b, d], -1), torch.stack([a, d, c], -1)]).flatten(0, 1)


def _power(base: Tensor, exponent: Tensor) -> Tensor:
    return base.sign() * base.abs().clamp(min=1e-6).pow(exponent)
