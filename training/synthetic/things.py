# SPDX-License-Identifier: GPL-3.0-or-later
"""Things: one that a hand holds, one that stands before or beside the hands and hides part of them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import PosedHands
from training.synthetic.meshes import THINGS, SceneMesh, shaped_things
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.spheres import Spheres, sphere_centres

# Half extents in metres: ball, box, cup, pen, phone or card.
_KINDS = torch.tensor(
    [
        [0.028, 0.028, 0.028],
        [0.030, 0.022, 0.040],
        [0.033, 0.033, 0.048],
        [0.0045, 0.0045, 0.070],
        [0.036, 0.006, 0.070],
    ]
)
_SQUARENESS = torch.tensor([[1.0, 1.0], [0.15, 0.15], [1.0, 0.12], [1.0, 0.3], [0.2, 0.12]])


def place_things(
    random: Randomness,
    mesh: SceneMesh,
    spheres: Spheres,
    posed: PosedHands,
    present: Tensor,
    settings: Settings,
) -> tuple[Tensor, Tensor]:
    """Vertices (B, 2, G, 3) of the held and the loose thing, and which of them are there (B, 2)."""
    device = present.device
    kind = random.choice("thing kind", (1.0, 1.0, 1.0, 1.2, 1.0), 2)
    half_m = _KINDS[kind] * random.uniform("thing size", 2, 3, low=0.75, high=1.3)
    half_m = half_m * torch.tensor([[1.0], [1.6]])
    half_m = half_m.to(device)
    held_at, held_turn = _held(random, posed, kind[:, 0].to(device))
    half_m[:, 0, :2] *= _slimming(spheres, posed, held_at, half_m[:, 0, :2])
    loose_at, loose_turn = _loose(random, posed)
    vertices_m = shaped_things(
        mesh,
        half_m,
        _SQUARENESS[kind].to(device),
        torch.stack([held_turn, loose_turn], 1),
        torch.stack([held_at, loose_at], 1),
    )
    side = random.integers("holding hand", 2).to(device)
    holds = random.chance("holds", settings.held_thing).to(device) & present.gather(1, side[:, None])[:, 0]
    loose = random.chance("loose thing", settings.loose_thing).to(device)
    return vertices_m, torch.stack([holds, loose], 1)


def no_things(mesh: SceneMesh, batch: int) -> tuple[Tensor, Tensor]:
    """What place_things returns for pictures without any."""
    vertices_m = mesh.thing_unit.expand(batch, THINGS, -1, -1)
    return vertices_m, torch.zeros(batch, THINGS, dtype=torch.bool, device=vertices_m.device)


def _held(random: Randomness, posed: PosedHands, kind: Tensor) -> tuple[Tensor, Tensor]:
    """Centre (B, 3) and turn (B, 3, 3) of a thing between thumb, fingers and palm, along the knuckles."""
    device = kind.device
    side = random.integers("holding hand", 2).to(device)
    joints_m = posed.joints21_m[torch.arange(len(side), device=device), side]
    tips, knuckles = joints_m[:, [4, 8, 12]].mean(1), joints_m[:, [5, 9, 13]].mean(1)
    middle = joints_m[:, [6, 10]].mean(1)
    share = random.uniform("grip depth", 1, low=0.35, high=0.8).to(device)
    centre = torch.lerp((knuckles + middle) / 2, tips, share)
    across = F.normalize(joints_m[:, 5] - joints_m[:, 17], dim=-1)
    along = F.normalize(joints_m[:, 9] - joints_m[:, 0], dim=-1)
    turn = torch.stack([F.normalize(torch.linalg.cross(along, across, dim=-1), dim=-1), along, across], -1)
    x = F.normalize(torch.linalg.cross(turn[..., 1], turn[..., 2], dim=-1), dim=-1)
    y = torch.linalg.cross(turn[..., 2], x, dim=-1)
    turn = torch.stack([x, y, turn[..., 2]], -1)
    return centre, exp(random.normal("grip turn", 3, std=0.25).to(device)) @ turn


def _slimming(spheres: Spheres, posed: PosedHands, at_m: Tensor, half_m: Tensor) -> Tensor:
    """(B, 1) what a thing at a place (B, 3) must be slimmed by to fit between the fingers; half_m (B, 2)."""
    centres_m = sphere_centres(spheres, posed)
    room_m = ((centres_m - at_m[:, None, None]).norm(dim=-1) - spheres.radius_m).flatten(1).amin(1)
    return (room_m / half_m.amin(1)).clamp(0.25, 1)[:, None]


def _loose(random: Randomness, posed: PosedHands) -> tuple[Tensor, Tensor]:
    """Centre and turn of a thing near the line of sight to some joint, before or behind it."""
    device = posed.rotations.device
    joints_m = posed.joints21_m.flatten(1, 2)
    number = random.integers("hidden joint", joints_m.shape[1]).to(device)
    at = joints_m[torch.arange(len(number), device=device), number]
    near = random.uniform("thing nearness", 1, low=0.55, high=0.9).to(device)
    centre = at * near + random.normal("thing aside", 3, std=0.03).to(device)
    return centre, exp(random.normal("thing turn", 3, std=1.5).to(device))
