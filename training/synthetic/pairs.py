# SPDX-License-Identifier: GPL-3.0-or-later
"""The relative placement of two hands: each oriented as people hold them, apart, near, touching, stacked or clasped.

Hands are first oriented, then the left one slides towards the right one until their collision spheres
touch, or further into the gaps between fingers if the arrangement requires it. No hand is ever deeper
inside the other than the settings allow.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import ShapedHands
from inference_core.shared.skeleton import LEFT, RIGHT
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.spheres import Spheres, deepest_fit, first_contact, gap, sphere_centres
from training.synthetic.touching.body import ANY_VIEW, OWN_EYES

_VIEW_SHARES = (0.4, 0.4, 0.2)
_DEEPEST_M = 0.09


@dataclass(frozen=True)
class Meeting:
    """How two hands meet, relative to the right hand: directions in its own (radial, dorsal, distal) frame.

    distal, dorsal: where the left hand's fingers and back point. approach: from the right hand to the left
    one. shift_m: of the left hand, sideways to the approach. nested: fingers may go between fingers.
    """

    name: str
    weight: float
    distal: tuple[float, float, float]
    dorsal: tuple[float, float, float]
    approach: tuple[float, float, float]
    shift_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    nested: bool = False


MEETINGS = (
    Meeting("palm to palm", 1.5, (0, 0, 1), (0, -1, 0), (0, -1, 0)),
    Meeting("steeple", 1.0, (0, 0.45, 0.9), (0, -0.9, 0.45), (0, -1, 0.1)),
    Meeting("clasp", 2.0, (0.75, 0, 0.66), (0, -1, 0), (0, -1, 0), (0, 0, -0.01), True),
    Meeting("laced fingers", 2.0, (0.5, -0.35, 0.8), (0, -0.9, -0.4), (0, -1, 0.3), (0, 0, 0.03), True),
    Meeting("hooked fingers", 1.2, (0.2, -0.2, -0.95), (0, -1, 0.2), (0, -0.6, 0.8), (0, 0, 0.05), True),
    Meeting("handshake", 0.8, (0.1, 0, -1), (0, -1, 0), (0, -1, 0.3), (0, 0, 0.03), True),
    Meeting("hand on back", 1.4, (0.6, 0, 0.8), (0, 1, 0), (0, 1, 0)),
    Meeting("hand in palm", 1.4, (0.9, 0, 0.4), (0, 1, 0), (0, -1, 0)),
    Meeting("backs together", 0.4, (0, 0, 1), (0, -1, 0), (0, 1, 0)),
    Meeting("holds wrist", 1.0, (1, 0, 0.2), (0, -1, 0), (0.2, -1, 0), (0, 0, -0.09), True),
    Meeting("holds fist", 1.0, (0.9, -0.3, 0.2), (0.2, -0.4, -0.9), (-0.2, 0.2, 1), (0, 0, 0), True),
    Meeting("tip to tip", 1.2, (-0.2, 0, -1), (0, 1, 0.1), (0, 0, 1)),
    Meeting("points at palm", 1.0, (0, 1, 0.2), (1, 0, 0), (0, -1, 0)),
    Meeting("edge on palm", 0.8, (0.9, 0, 0.3), (0.3, 0, -0.9), (0, -1, 0)),
    Meeting("crossed", 1.0, (0.95, 0.2, 0.3), (0, 0.5, -0.8), (0, -0.8, -0.2), (0, 0, -0.05)),
    Meeting("side by side", 1.0, (0.1, 0, 1), (0, 1, 0), (1, 0, 0)),
)


@dataclass(frozen=True)
class Placement:
    """rotations (B, S, 3, 3) of the wrists; wrist_m (B, S, 3), the right one at 0; gap_m (B,); view (B,)."""

    rotations: Tensor
    wrist_m: Tensor
    gap_m: Tensor
    view: Tensor


def place_hands(
    random: Randomness,
    shaped: ShapedHands,
    fingers: Tensor,
    spheres: Spheres,
    settings: Settings,
) -> Placement:
    """Orientation and position of both hands; fingers (B, S, 15, 3, 3)."""
    device = fingers.device
    view = random.choice("view", _VIEW_SHARES)
    apart = natural_turns(random, view)
    meeting = meeting_turn(random, apart[:, RIGHT])
    meets = random.chance("meets", 0.75 * settings.touching)
    mirrored = random.chance("mirrored turn", 0.2)
    flip = torch.tensor([-1.0, 1.0, 1.0])
    mirror_turn = flip[:, None] * apart[:, RIGHT] * flip
    left = torch.where(mirrored[:, None, None], mirror_turn, apart[:, LEFT])
    left = torch.where(meets[:, None, None], meeting.turn, left)
    turns = torch.stack([left, apart[:, RIGHT]], 1).to(device)
    direction, shift, nested = approach(random, view, meets, meeting)

    rotations = torch.cat([turns[:, :, None], fingers], 2)
    posed = shaped.with_pose(rotations, torch.zeros_like(turns[..., 0]))
    centres = sphere_centres(spheres, posed)
    centres = centres - centres.mean(2, keepdim=True)
    to_wrist_m = -sphere_centres(spheres, posed).mean(2)
    direction, shift = direction.to(device), shift.to(device)
    shift = shift - (shift * direction).sum(-1, keepdim=True) * direction
    moved = torch.stack([centres[:, LEFT] + shift[:, None], centres[:, RIGHT]], 1)
    contact = first_contact(moved, spheres.radius_m, direction)
    nested_at = deepest_fit(
        moved, spheres.radius_m, direction, contact, _DEEPEST_M, settings.penetration_m * 0.75
    )
    way = torch.where(nested.to(device), nested_at, contact)
    # Paths that never meet: the hands pass each other at the drawn shift.
    way = torch.where(way.isfinite(), way, random.normal("way past", std=0.04).to(device))
    way = way + _distance_m(random, meets, settings).to(device)
    moved = torch.stack([moved[:, LEFT] + (direction * way[:, None])[:, None], moved[:, RIGHT]], 1)
    offset = shift + direction * way[:, None]
    left_wrist = offset + to_wrist_m[:, LEFT] - to_wrist_m[:, RIGHT]
    return Placement(
        rotations=turns,
        wrist_m=torch.stack([left_wrist, torch.zeros_like(left_wrist)], 1),
        gap_m=gap(moved, spheres.radius_m),
        view=view,
    )


@dataclass(frozen=True)
class Met:
    """A meeting in camera axes: the left hand's rotation (B, 3, 3), approach and shift_m (B, 3), nested (B,)."""

    turn: Tensor
    approach: Tensor
    shift_m: Tensor
    nested: Tensor


def natural_turns(random: Randomness, view: Tensor) -> Tensor:
    """(B, S, 3, 3): fingers point up and inwards (facing), or up and away (own eyes), or anywhere."""
    inward = torch.tensor([[1.0, -1.0]]) * torch.where(view == OWN_EYES, 1.0, -1.0)[:, None]
    mean = torch.where(random.chance("points up", 0.5, 2), 25.0, 65.0)
    lean = inward * (mean + random.normal("lean", 2, std=45.0)) * (torch.pi / 180)
    anywhere = random.uniform("lean anywhere", 2, low=-torch.pi, high=torch.pi)
    lean = torch.where((view == ANY_VIEW)[:, None], anywhere, lean)
    away = torch.where(view == OWN_EYES, 0.25, -0.15)[:, None] + random.normal("away", 2, std=0.45)
    away = away.clamp(-0.95, 0.85)
    level = (1 - away.square()).sqrt()
    distal = torch.stack([level * lean.sin(), -level * lean.cos(), away], -1)
    return turn_of(distal, random.normal("roll", 2, 3), torch.tensor([LEFT, RIGHT]))


def turn_of(distal: Tensor, dorsal: Tensor, side: Tensor) -> Tensor:
    """(..., 3, 3) rotations of rest hands that make fingers point along distal, backs along dorsal.

    At rest the right hand's fingers point to -x and the left hand's to +x, both backs to +y.
    """
    sign = torch.where(side == RIGHT, -1.0, 1.0)[..., None].to(distal)
    x = F.normalize(distal, dim=-1) * sign
    y = F.normalize(dorsal - (dorsal * x).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y, dim=-1)], -1)


def meeting_turn(random: Randomness, right: Tensor) -> Met:
    """The left hand's rotation and approach in a meeting drawn for each right hand (B, 3, 3)."""
    number = random.choice("meeting", [meeting.weight for meeting in MEETINGS])
    table = torch.tensor([[m.distal, m.dorsal, m.approach, m.shift_m] for m in MEETINGS])[number]
    # Columns radial, dorsal, distal of the right hand in the camera: rest +z, +y, -x.
    frame = torch.stack([right[..., 2], right[..., 1], -right[..., 0]], -1)
    distal, dorsal, approach, shift_m = (table @ frame.mT).unbind(1)
    turn = turn_of(distal, dorsal, torch.full((random.batch,), LEFT))
    turn = exp(random.normal("meeting turn", 3, std=0.22)) @ turn
    approach = F.normalize(approach + random.normal("meeting approach", 3, std=0.15), dim=-1)
    shift_m = shift_m + random.normal("meeting shift", 3, std=0.016)
    nested = torch.tensor([meeting.nested for meeting in MEETINGS])[number]
    return Met(turn, approach, shift_m, nested)


def approach(random: Randomness, view: Tensor, meets: Tensor, meeting: Met) -> tuple[Tensor, Tensor, Tensor]:
    """Direction (B, 3) from right to left hand, shift (B, 3) across it, and nested (B,)."""
    sideways = torch.where(view == OWN_EYES, -1.0, 1.0)
    usual = torch.stack([sideways, *random.normal("approach", 2, std=0.55).unbind(-1)], -1)
    anyhow = random.normal("approach anyhow", 3)
    odd = (view == ANY_VIEW) | random.chance("approach odd", 0.3)
    direction = F.normalize(torch.where(odd[:, None], anyhow, usual), dim=-1)
    direction = torch.where(meets[:, None], meeting.approach, direction)
    shift = torch.where(meets[:, None], meeting.shift_m, random.normal("shift", 3, std=0.035))
    nested = torch.where(meets, meeting.nested, random.chance("nested", 0.35))
    return direction, shift, nested


def _distance_m(random: Randomness, meets: Tensor, settings: Settings) -> Tensor:
    """(B,) how far the left hand is moved back from contact."""
    kind = random.choice(
        "distance kind",
        (
            settings.touching,
            (1 - settings.touching) * settings.near,
            (1 - settings.touching) * (1 - settings.near),
        ),
    )
    near = random.normal("near distance", std=0.025).abs()
    apart = random.uniform("apart distance", low=0.02, high=0.25)
    distance = torch.where(kind == 0, 0.0, torch.where(kind == 1, near, apart))
    return torch.where(meets, random.normal("meeting distance", std=0.012).clamp(min=0), distance)
