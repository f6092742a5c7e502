# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands that hold a thing in the palm or between the fingertips, with fingers closed until they touch it.

Everything is in the holding hand's own frame: wrist joint at the origin, hand not rotated (fingers along x, back to
+y, thumb to +z). N are the hands of pictures with a held thing, B all pictures.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.hand_model.hand import HandModel, PosedHands, ShapedHands
from inference_core.shared.skeleton import MANO_FINGERS, RIGHT
from training.synthetic.poses import gesture_angles_rad, within
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.spheres import Spheres, sphere_centres
from training.synthetic.things import CARD, Things, draw_held

# Balls, boxes, cups, pens, cards: the share held in the palm; the others are held by the fingertips.
_IN_PALM = (0.6, 0.7, 1.0, 0.35, 0.7)
# Gestures between which fingers close, in the palm and at the tips.
_PALM_GESTURES, _TIP_GESTURES = ("spread", "fist"), ("ball", "pinch")
# How far beyond those gestures fingers close if they meet nothing: the tips of a pinch do not quite meet.
_BEYOND = 1.15
_STEPS = 16
# How deep spheres may press into things.
PRESSED_M = 0.001
_LOWERED_M = torch.arange(0.0, 0.1, 0.002)
_SLIMMED = (1.0, 0.85, 0.7, 0.55, 0.4, 0.25)
_KNUCKLES, _MIDDLES = (5, 9, 13, 17), (6, 10, 14, 18)
_THUMB_END, _THUMB_TIP, _INDEX_KNUCKLE, _INDEX_END, _INDEX_TIP = 3, 4, 5, 7, 8


@dataclass(frozen=True)
class Grips:
    """holds (B,) bool; side (B,): the holding hand; things: the held things, in the hand's own frame."""

    holds: Tensor
    side: Tensor
    things: Things

    def in_camera(self, posed: PosedHands) -> Things:
        """The things in the camera, held by the posed hands."""
        return self.things.moved(
            _of_side(posed.rotations[..., 0, :, :], self.side),
            _of_side(posed.joints16_m[..., 0, :], self.side),
        )

    def clear_of_other(self, held: Things, posed: PosedHands, spheres: Spheres, present: Tensor) -> Tensor:
        """(B,) bool: the thing, in the camera, does not intersect the other hand, if that is present (B, S)."""
        other = 1 - self.side
        centres_m = _of_side(sphere_centres(spheres, posed), other)
        free = held.room_m(centres_m, spheres.radius_m).amin(1) > -PRESSED_M
        return free | ~_of_side(present, other)


def close_grips(
    random: Randomness,
    model: HandModel,
    spheres: Spheres,
    betas: Tensor,
    angles_rad: Tensor,
    present: Tensor,
    settings: Settings,
) -> tuple[Grips, Tensor]:
    """The grips, and the angles (B, S, 15, 3) with holding hands closed.

    betas (B, S, 10); present (B, S), on the CPU.
    """
    device = angles_rad.device
    side = random.integers("holding hand", 2)
    holds = random.chance("holds", settings.held_thing) & _of_side(present, side)
    things = draw_held(random).to(device)
    rows = holds.nonzero()[:, 0]
    if len(rows):
        of_rows = Randomness(random.seed, random.index[rows])
        rows = rows.to(device)
        hand = _Hand(model, spheres, model.with_shape(betas[rows]), side.to(device)[rows])
        held, closed = _held(of_rows, hand, things.rows(rows))
        things = things.with_rows(rows, held)
        angles_rad = angles_rad.index_put((rows, hand.side), closed)
    return Grips(holds.to(device), side.to(device), things), angles_rad


@dataclass(frozen=True)
class _Hand:
    """The holding hands (N,) of their pictures."""

    model: HandModel
    spheres: Spheres
    shaped: ShapedHands
    side: Tensor

    def posed(self, angles_rad: Tensor) -> PosedHands:
        """The hands with fingers (N, 15, 3), on both sides."""
        limited = within(angles_rad, self.model.joint_limits_rad)
        fingers = self.model.rotations_from_angles(limited[:, None].expand(-1, 2, -1, -1))
        wrist = torch.eye(3, device=fingers.device).expand(len(fingers), 2, 1, 3, 3)
        return self.shaped.with_pose(torch.cat([wrist, fingers], 2), fingers.new_zeros(len(fingers), 2, 3))

    def joints_m(self, posed: PosedHands) -> Tensor:
        """(N, 21, 3)."""
        return _of_side(posed.joints21_m, self.side)

    def centres_m(self, posed: PosedHands) -> Tensor:
        """(N, K, 3) of the hand's spheres."""
        return _of_side(sphere_centres(self.spheres, posed), self.side)

    @property
    def distal(self) -> Tensor:
        """(N, 3) the fingers' direction."""
        sign = torch.where(self.side == RIGHT, -1.0, 1.0)
        return sign[:, None] * torch.tensor([1.0, 0.0, 0.0], device=sign.device)


def _held(random: Randomness, hand: _Hand, things: Things) -> tuple[Things, Tensor]:
    """The things in the hand, slimmed as needed, and the fingers' angles (N, 15, 3)."""
    device = hand.side.device
    share = torch.tensor(_IN_PALM, device=device)[things.kind]
    in_palm = random.uniform("grip in palm").to(device) < share
    bend = torch.zeros(random.batch, 5, 3, 3)
    bend[..., 0] = random.normal("grip finger", 5, 1, std=0.06) + random.normal("grip joint", 5, 3, std=0.04)
    bend = bend.flatten(1, 2).to(device)
    palm, tips = (gesture_angles_rad(list(names)).to(device) for names in (_PALM_GESTURES, _TIP_GESTURES))
    opened, closed = torch.where(in_palm[:, None, None, None], palm, tips).unbind(1)
    opened, closed = opened + bend, torch.lerp(opened, closed, _BEYOND) + bend
    open_hand, closed_hand = hand.posed(opened), hand.posed(closed)
    open_m = hand.centres_m(open_hand)
    at_palm = _first_free(_at_palm(random, hand, open_hand, things), open_m, hand.spheres)
    at_tips = _first_free(_at_tips(random, hand, closed_hand, things), open_m, hand.spheres)
    held = at_tips.with_rows(in_palm.nonzero()[:, 0], at_palm.rows(in_palm))
    return held, _closed_fingers(hand, opened, closed, held)


def _at_palm(random: Randomness, hand: _Hand, opened: PosedHands, things: Things) -> list[Things]:
    """The things across the palm near the knuckles, lowered in steps from the open hand."""
    device = hand.side.device
    joints_m = hand.joints_m(opened)
    knuckles, middles = joints_m[:, _KNUCKLES].mean(1), joints_m[:, _MIDDLES].mean(1)
    start = torch.lerp(knuckles, middles, random.uniform("grip reach", 1, low=-0.1, high=0.5).to(device))
    start = start + random.normal("grip aside", 1, std=0.008).to(device) * start.new_tensor([0.0, 0.0, 1.0])
    # Cards and phones lie along the fingers, not across.
    lean = random.normal("grip lean", std=0.3).to(device) + torch.where(things.kind == CARD, 1.1, 0.0)
    axis = lean.cos()[:, None] * start.new_tensor([0.0, 0.0, 1.0]) + lean.sin()[:, None] * hand.distal
    dorsal = start.new_tensor([0.0, 1.0, 0.0]).expand_as(axis)
    things = things.moved(_frame(dorsal, axis), start)
    return [replace(things, at_m=things.at_m - step * dorsal) for step in _LOWERED_M]


def _at_tips(random: Randomness, hand: _Hand, closed: PosedHands, things: Things) -> list[Things]:
    """The things between the tips of thumb and index, flat sides towards them, slimmed in steps."""
    joints_m = hand.joints_m(closed)
    thumb, index = joints_m[:, _THUMB_TIP], joints_m[:, _INDEX_TIP]
    # Touching tips define no direction; the end joints of thumb and index do.
    through = F.normalize(joints_m[:, _INDEX_END] - joints_m[:, _THUMB_END], dim=-1)
    back = joints_m[:, _INDEX_KNUCKLE] - index
    back = F.normalize(back - (back * through).sum(-1, keepdim=True) * through, dim=-1)
    slid = random.uniform("grip slide", low=-0.4, high=0.4).to(back) * things.half_m[:, 2]
    things = things.moved(_frame(through, back), (thumb + index) / 2 + slid[:, None] * back)
    return [replace(things, half_m=share * things.half_m) for share in _SLIMMED]


def _first_free(trials: list[Things], centres_m: Tensor, spheres: Spheres) -> Things:
    """Each thing's first trial that does not intersect the hand's spheres (N, K, 3), else its last one."""
    found = trials[-1]
    for trial in reversed(trials):
        free = trial.room_m(centres_m, spheres.radius_m).amin(1) > -PRESSED_M
        found = found.with_rows(free.nonzero()[:, 0], trial.rows(free))
    return found


def _closed_fingers(hand: _Hand, opened: Tensor, closed: Tensor, held: Things) -> Tensor:
    """Angles (N, 15, 3) of fingers closed until they touch: first as a whole, then beyond the knuckle."""
    finger = torch.arange(15, device=opened.device) // 3
    beyond_knuckle = torch.arange(15, device=opened.device) % 3 > 0
    share = opened.new_zeros(len(opened), 15)
    for moving in (torch.ones_like(beyond_knuckle), beyond_knuckle):
        touches = torch.zeros(len(opened), 5, dtype=torch.bool, device=opened.device)
        for _ in range(_STEPS):
            trial = (share + moving / _STEPS).clamp(max=1)
            posed = hand.posed(torch.lerp(opened, closed, trial[..., None]))
            room_m = held.room_m(hand.centres_m(posed), hand.spheres.radius_m)
            touches = touches | (_by_finger(room_m, hand.spheres) < -PRESSED_M)
            share = torch.where(touches[:, finger], share, trial)
    return within(torch.lerp(opened, closed, share[..., None]), hand.model.joint_limits_rad)


def _by_finger(room_m: Tensor, spheres: Spheres) -> Tensor:
    """(N, 5) the smallest distance of each finger's spheres (N, K), in MANO's order."""
    finger = (spheres.bone - 1).div(3, rounding_mode="floor")
    return torch.stack([room_m[:, finger == number].amin(1) for number in range(len(MANO_FINGERS))], 1)


def _frame(y: Tensor, z: Tensor) -> Tensor:
    """(N, 3, 3) rotations with these second and third columns, unit and orthogonal."""
    return torch.stack([torch.linalg.cross(y, z, dim=-1), y, z], -1)


def _of_side(values: Tensor, side: Tensor) -> Tensor:
    """Each row's side (N,) of values (N, S, ...)."""
    return values[torch.arange(len(side), device=side.device), side]
