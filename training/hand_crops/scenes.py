# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands in front of a camera, before rendering: touching pairs and single hands, seen by others or by their owner.

What a crop shows depends on where the hand is, not on the camera's focal length: positions in the picture are
tangents (x and y over z), and include a wide lens's stretch.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.hand_model.hand import PosedHands
from inference_core.shared.skeleton import LEFT, RIGHT
from training.synthetic.generate import Kit
from training.synthetic.meshes import with_forearms
from training.synthetic.pairs import turn_of
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.skin import Appearance, draw_appearance
from training.synthetic.things import place_loose, things_vertices
from training.synthetic.touching.body import OWN_EYES
from training.synthetic.two_hands import draw_two_hands

# Viewpoints: in front of the person or anywhere; the person's own eyes or a head-mounted camera.
OTHERS, OWN = 0, 1
_NEAREST_M = 0.09
# Hands seen by their owner: the camera's downward tilt; the fingers' inward and upward angles; and the hand's
# roll from back up (0) to thumb up (90), in degrees: mean and deviation.
_DOWN_DEG, _INWARD_DEG, _RISE_DEG, _ROLL_DEG = (35.0, 16.0), (25.0, 38.0), (0.0, 30.0), (45.0, 42.0)
_ANY_ROLL = 0.15
# Sleeves over the wrist, in metres along the rest arm (the wrist is at 0.096), and how wide they are.
_LOW_SLEEVES, _SLEEVE_FROM_M, _WIDE_SLEEVES, _SLEEVE_WIDE_M = 0.35, (0.058, 0.10), 0.3, (0.01, 0.024)


@dataclass(frozen=True)
class HandScene:
    """The geometry of B pictures; the fields as in `generate.Scene`. seen_by (B,): OTHERS or OWN."""

    posed: PosedHands
    present: Tensor
    vertices_m: Tensor
    shown: Tensor
    gap_m: Tensor
    seen_by: Tensor


def build_hand_scene(random: Randomness, kit: Kit, settings: Settings) -> HandScene:
    """One or two hands per picture, with forearms and things; half of the pairs touch with the usual settings."""
    device = kit.mesh.faces.device
    present = _presence(random, settings)
    hands = draw_two_hands(random, kit.model, kit.spheres, present, settings, device)
    # Touching pairs come posed and oriented; the others are oriented here.
    touching = (hands.way >= 0).cpu()
    seen_by = torch.where(
        touching, hands.view.cpu() == OWN_EYES, random.chance("seen by its owner", settings.own_eyes)
    ).long()
    view = _view(random, hands.rotations[:, :, 0], seen_by, present)
    view = torch.where(touching[:, None, None], torch.eye(3), view).to(device)
    turns = view[:, None] @ hands.rotations[:, :, 0]
    rotations = torch.cat([turns[:, :, None], hands.rotations[:, :, 1:]], 2)
    wrist_m = (view[:, None] @ hands.wrist_m[..., None])[..., 0]
    posed = hands.shaped.with_pose(rotations, wrist_m)
    shift_m = _place(random, posed.joints21_m, present.to(device), seen_by)
    posed = hands.shaped.with_pose(rotations, wrist_m + shift_m[:, None])
    arms_m = with_forearms(kit.mesh, posed, hands.bend)
    held = hands.grips.in_camera(posed)
    there = present.to(device)
    things_there = torch.stack(
        [
            hands.grips.holds & hands.grips.clear_of_other(held, posed, kit.spheres, there),
            random.chance("loose thing", settings.loose_thing).to(device),
        ],
        1,
    )
    things_m = things_vertices(kit.mesh, held, place_loose(random, posed))
    arms_shown = there.repeat_interleave(arms_m.shape[2], 1)
    return HandScene(
        posed=posed,
        present=there,
        vertices_m=torch.cat([arms_m.flatten(1, 2), things_m.flatten(1, 2)], 1),
        shown=torch.cat([arms_shown, things_there.repeat_interleave(things_m.shape[2], 1)], 1),
        gap_m=hands.gap_m,
        seen_by=seen_by.to(device),
    )


def draw_hand_appearance(random: Randomness, settings: Settings) -> Appearance:
    """The appearance as in whole pictures, with more wide sleeves that hide the wrist."""
    appearance = draw_appearance(random, settings)
    low, high = _SLEEVE_FROM_M
    hidden = random.chance("sleeve over wrist", _LOW_SLEEVES, 1)
    over = random.uniform("sleeve over wrist from", 2, low=low, high=high)
    sleeved = appearance.sleeve_from_m.isfinite()
    low, high = _SLEEVE_WIDE_M
    wide = random.uniform("sleeve hangs", 1, low=low, high=high).expand(-1, 2)
    hangs = random.chance("sleeve wide", _WIDE_SLEEVES, 1)
    return replace(
        appearance,
        sleeve_from_m=torch.where(hidden & sleeved, over, appearance.sleeve_from_m),
        sleeve_swell_m=torch.where(hangs, wide, appearance.sleeve_swell_m),
    )


def _presence(random: Randomness, settings: Settings) -> Tensor:
    """(B, S) bool: both hands, or one."""
    one = settings.one_hand / 2
    kind = random.choice("presence", (1 - settings.one_hand, one, one))
    return torch.stack([kind != 1, kind != 2], 1)


def _reference(random: Randomness, present: Tensor) -> Tensor:
    """(B,) the side that determines a picture's view: one that is present."""
    side = random.integers("side viewed", 2)
    return torch.where(present.all(1), side, present[:, RIGHT].long())


def _view(random: Randomness, turns: Tensor, seen_by: Tensor, present: Tensor) -> Tensor:
    """(B, 3, 3) rotation of the pair as a whole: hands seen by their owner are oriented as the owner holds them."""
    side = _reference(random, present)
    own = _own_turn(random, side)
    now = turns.cpu()[torch.arange(len(side)), side]
    return torch.where((seen_by == OWN)[:, None, None], own @ now.mT, torch.eye(3))


def _own_turn(random: Randomness, side: Tensor) -> Tensor:
    """(B, 3, 3) orientation of hands (B,) as seen by a camera on their owner's head."""

    def drawn(name: str, deviation: tuple[float, float]) -> Tensor:
        return torch.deg2rad(deviation[0] + random.normal(f"own {name}", std=deviation[1]))

    down, inward, rise, roll = (
        drawn(name, values)
        for name, values in (
            ("down", _DOWN_DEG),
            ("inward", _INWARD_DEG),
            ("rise", _RISE_DEG),
            ("roll", _ROLL_DEG),
        )
    )
    roll = torch.where(
        random.chance("own any roll", _ANY_ROLL), random.uniform("own roll anyhow", high=6.283), roll
    )
    nothing = torch.zeros_like(down)
    up = torch.stack([nothing, -down.cos(), -down.sin()], -1)
    ahead = torch.stack([nothing, -down.sin(), down.cos()], -1)
    inwards = torch.zeros_like(up)
    inwards[:, 0] = torch.where(side == LEFT, 1.0, -1.0)
    level = inward.sin()[:, None] * inwards + inward.cos()[:, None] * ahead
    distal = rise.cos()[:, None] * level + rise.sin()[:, None] * up
    outwards = inward.sin()[:, None] * ahead - inward.cos()[:, None] * inwards
    dorsal = roll.cos()[:, None] * up + roll.sin()[:, None] * outwards
    return turn_of(distal, dorsal, side)


def _place(random: Randomness, joints_m: Tensor, present: Tensor, seen_by: Tensor) -> Tensor:
    """(B, 3) to be added to hands with joints (B, S, 21, 3), so that the reference hand's middle lies at some distance
    and tangent, and nothing too near the camera.
    """
    device = joints_m.device
    side = _reference(random, present.cpu()).to(device)
    rows = torch.arange(len(side), device=device)
    middle = joints_m[rows, side].mean(1)
    own = (seen_by == OWN).to(device)
    far = torch.exp(random.normal("depth", std=0.42)).to(device) * 0.5
    near = torch.exp(random.normal("own depth", std=0.30)).to(device) * 0.32
    depth_m = torch.where(own, near.clamp(0.16, 0.9), far.clamp(0.18, 2.0))
    nearest = torch.where(present[..., None], joints_m[..., 2], torch.inf).amin((1, 2))
    depth_m = torch.maximum(depth_m, _NEAREST_M + middle[:, 2] - nearest)
    outward = torch.where(side == LEFT, -1.0, 1.0).cpu()
    across = outward * (0.25 + random.normal("own across", std=0.40))
    below = random.uniform("own below", low=-0.15, high=0.75)
    wide = torch.stack([across, below], -1).clamp(-1.05, 1.05)
    spread = random.uniform("place spread", 1).square()
    usual = random.uniform("place in picture", 2, low=-1, high=1) * spread * 0.9
    tangent = torch.where(own[:, None], wide.to(device), usual.to(device))
    centre_m = F.pad(tangent, (0, 1), value=1.0) * depth_m[:, None]
    return centre_m - middle
