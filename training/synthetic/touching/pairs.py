# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs of hands that touch: a way is drawn, varied, solved and held in front of a camera, batch by batch."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import HandModel, ShapedHands
from inference_core.shared.skeleton import LEFT, RIGHT
from training.synthetic.pairs import turn_of
from training.synthetic.poses import GESTURES, gesture_table_rad, within
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.spheres import ARM_M, Spheres, first_contact, sphere_centres
from training.synthetic.touching.anchors import Anchors, find_anchors
from training.synthetic.touching.body import camera_turn, draw_view, held_at_ease
from training.synthetic.touching.solve import (
    STUCK_M,
    Meeting,
    Together,
    bring_together,
    depths_m,
    padded,
    parted,
    posed_together,
)
from training.synthetic.touching.ways import HOLDS, WAYS, Way, weights_of

_FLIP = torch.tensor([-1.0, 1.0, 1.0])
_ATTEMPTS = 3
_USUAL = Settings()


@dataclass(frozen=True)
class TouchingPairs:
    """B pairs in camera axes; way (B,): number in WAYS; view (B,): see body.

    angles_rad (B, S, 15, 3) of the fingers; turns (B, S, 3, 3) and wrist_m (B, S, 3) of the hands, the right wrist at
    the origin; bend (B, S, 3, 3) of the forearms, as meshes.with_forearms takes it; gap_m (B,): between the hands'
    collision spheres, negative where they press into each other.
    """

    way: Tensor
    view: Tensor
    angles_rad: Tensor
    turns: Tensor
    wrist_m: Tensor
    bend: Tensor
    gap_m: Tensor

    def rotations(self, model: HandModel) -> Tensor:
        """(B, S, 16, 3, 3) as the hand model's with_pose takes them."""
        return torch.cat([self.turns[:, :, None], model.rotations_from_angles(self.angles_rad)], 2)


def touching_pairs(
    random: Randomness,
    model: HandModel,
    spheres: Spheres,
    betas: Tensor,
    way: Tensor | None = None,
    settings: Settings = _USUAL,
) -> TouchingPairs:
    """A touching pair for each picture of `random`; betas (B, S, 10); way (B,): given ways instead of drawn ones.

    Everything runs on the device of the betas, except the random numbers.
    """
    device = betas.device
    ways = _table(device, model)
    if way is None:
        way = random.choice("way", weights_of(settings.ways))
    view = draw_view(random, settings.own_eyes)
    swapped = random.chance("roles swapped", 0.5).to(device)
    number = way.to(device)
    shaped = model.with_shape(torch.where(swapped[:, None, None], betas.flip(1), betas))
    pair, gap_m = _solved(random, ways, shaped, padded(spheres), number)
    turns = torch.stack([pair.turn, torch.eye(3, device=device).expand_as(pair.turn)], 1)
    wrist_m = torch.stack([pair.wrist_m, torch.zeros_like(pair.wrist_m)], 1)
    hands = slice(0, len(spheres.bone) - len(ARM_M))
    centres_m = sphere_centres(spheres, posed_together(shaped, pair))[:, :, hands]
    flip = _FLIP.to(device)
    turns = _swapped(swapped, turns, flip[:, None] * turns * flip)
    wrist_m = _swapped(swapped, wrist_m, wrist_m * flip)
    centres_m = _swapped(swapped, centres_m, centres_m * flip)
    angles = _swapped(swapped, pair.angles_rad, pair.angles_rad)
    bends = _swapped(swapped, ways.bend[number], ways.bend[number])
    held = held_at_ease(random, turns, wrist_m, bends, centres_m, spheres.radius_m[hands])
    to_camera = camera_turn(random, view).to(device) @ held.turn
    wrist_m = (wrist_m - wrist_m[:, RIGHT:]) @ to_camera.mT
    return TouchingPairs(way, view, angles, to_camera[:, None] @ turns, wrist_m, held.bend, gap_m)


def _solved(
    random: Randomness, ways: "_Ways", shaped: ShapedHands, spheres: Spheres, way: Tensor
) -> tuple[Together, Tensor]:
    """Pairs and the gaps (B,) of their spheres; pairs that remain stuck are drawn
    again once or twice, then separated.
    """
    pair, gap_m = _tried(random, ways, shaped, spheres, way)
    for attempt in range(1, _ATTEMPTS):
        rows = (gap_m < -STUCK_M).nonzero()[:, 0]
        if not len(rows):
            break
        again = Randomness(random.seed + attempt * 7919, random.index[rows.cpu()])
        other, other_m = _tried(again, ways, shaped.model.with_shape(shaped.betas[rows]), spheres, way[rows])
        better = other_m > gap_m[rows]
        rows, other = rows[better], {name: value[better] for name, value in vars(other).items()}
        pair = Together(
            **{name: value.index_copy(0, rows, other[name]) for name, value in vars(pair).items()}
        )
        gap_m = gap_m.index_copy(0, rows, other_m[better])
    return parted(shaped, spheres, pair, ways.arms[way])


def _tried(
    random: Randomness, ways: "_Ways", shaped: ShapedHands, spheres: Spheres, way: Tensor
) -> tuple[Together, Tensor]:
    wanted, meeting = _drawn(random, ways, shaped.model, way)
    start = replace(wanted, angles_rad=wanted.angles_rad * ways.closed[way][..., None, None])
    start, meeting = _before(shaped, spheres, ways, start, meeting, ways.off_m[way])
    wanted = replace(wanted, wrist_m=start.wrist_m)
    pair = bring_together(shaped, spheres, ways.anchors.points, wanted, start, meeting)
    depth_m = depths_m(sphere_centres(spheres, posed_together(shaped, pair)), spheres, meeting.arms)
    return pair, -depth_m.flatten(1).amax(1)


@dataclass(frozen=True)
class _Ways:
    """WAYS as tensors, W of them, M places that meet: angles_rad (W, S, 15, 3); looseness (W, S); turn (W, 3, 3);
    meets (W, M, S); weight (W, M); slide_m, turn_rad (W,); bend (W, S); off_m (W, 3);
    arms (W,): whether forearms meet; closed (W, S).
    """

    anchors: Anchors
    angles_rad: Tensor
    looseness: Tensor
    turn: Tensor
    meets: Tensor
    weight: Tensor
    slide_m: Tensor
    turn_rad: Tensor
    bend: Tensor
    off_m: Tensor
    arms: Tensor
    closed: Tensor


@lru_cache(maxsize=4)
def _table(device: torch.device, model: HandModel) -> _Ways:
    found = find_anchors(model.tensors())
    anchors = Anchors(found.points.to(device), found.outward.to(device), found.number)
    poses = {gesture.name: gesture for gesture in (*GESTURES, *HOLDS)}
    most = max(len(way.meets) for way in WAYS)
    numbers = [[(anchors.number[left], anchors.number[right]) for right, left in way.meets] for way in WAYS]
    hands = [[poses[way.left], poses[way.right]] for way in WAYS]
    tensors = {
        "angles_rad": torch.stack([gesture_table_rad(pair) for pair in hands]),
        "looseness": torch.tensor([[pose.looseness for pose in pair] for pair in hands]),
        "turn": torch.stack([_left_turn(way) for way in WAYS]),
        "meets": torch.tensor([row + [(0, 0)] * (most - len(row)) for row in numbers]),
        "weight": torch.tensor([[1.0] * len(row) + [0.0] * (most - len(row)) for row in numbers]),
        "slide_m": torch.tensor([way.slide_m for way in WAYS]),
        "turn_rad": torch.tensor([way.turn_rad for way in WAYS]),
        "bend": torch.tensor([way.bend[::-1] for way in WAYS]),
        "closed": torch.tensor([way.closed[::-1] for way in WAYS]),
        "arms": torch.tensor(
            [any("arm" in name or "wrist" in name for name in sum(way.meets, ())) for way in WAYS]
        ),
        "off_m": torch.stack([_from_hand(way.off_m) for way in WAYS]),
    }
    return _Ways(anchors, **{name: value.to(device) for name, value in tensors.items()})


def _from_hand(direction: tuple[float, float, float]) -> Tensor:
    """(3,) in the right hand's rest frame, from radial, dorsal, distal parts."""
    radial, dorsal, distal = direction
    return torch.tensor([-float(distal), float(dorsal), float(radial)])


def _left_turn(way: Way) -> Tensor:
    return turn_of(_from_hand(way.distal), _from_hand(way.dorsal), torch.tensor(LEFT))


def _drawn(random: Randomness, ways: _Ways, model: HandModel, way: Tensor) -> tuple[Together, Meeting]:
    """A variation of each pair's way (B,), with the left wrist still at the origin, and the places that are to meet."""
    device = way.device
    loose = ways.looseness[way][..., None, None] * torch.pi / 180
    bend = random.normal("touch bend", 2, 1, 1, 1, std=4.0) + random.normal(
        "touch finger", 2, 5, 1, 1, std=4.0
    )
    bend = (bend + random.normal("touch joint", 2, 5, 3, 1, std=2.5)).flatten(2, 3) * torch.tensor(
        [1.0, 0.0, 0.0]
    )
    side = random.normal("touch side", 2, 15, 3) * torch.tensor([0.0, 1.5, 0.7])
    angles = ways.angles_rad[way] + loose * (bend + side).to(device)
    turn = exp(random.normal("touch turn", 3).to(device) * ways.turn_rad[way, None]) @ ways.turn[way]
    slide_m = random.normal("touch slide", 1, 3).clamp(-2, 2).to(device) * ways.slide_m[way, None, None]
    start = Together(within(angles, model.joint_limits_rad), turn, torch.zeros_like(slide_m[:, 0]))
    return start, Meeting(ways.meets[way], ways.weight[way], slide_m, ways.arms[way])


def _before(
    shaped: ShapedHands, spheres: Spheres, ways: _Ways, start: Together, meeting: Meeting, off_m: Tensor
) -> tuple[Together, Meeting]:
    """The left hand where it first touches the right one on its way to the meeting places,
    and their slide along the skin.

    The hand comes from off_m if the way has one.
    """
    posed = posed_together(shaped, start)
    points, outward = ways.anchors.points, ways.anchors.outward
    points_m = sphere_centres(points, posed)
    pair = torch.arange(len(off_m), device=off_m.device)[:, None]
    left, right = meeting.anchors.unbind(-1)
    weight = meeting.weight[..., None]
    bones = points.bone[right]
    faces = (posed.global_rotations[pair, RIGHT, bones] @ outward[RIGHT, right][..., None])[..., 0]
    slide_m = meeting.slide_m - (meeting.slide_m * faces).sum(-1, keepdim=True) * faces
    apart_m = points_m[pair, RIGHT, right] + slide_m - points_m[pair, LEFT, left]
    wrist_m = (apart_m * weight).sum(1) / weight.sum(1)
    direction = F.normalize((faces * weight).sum(1), dim=-1)
    moved = sphere_centres(spheres, posed)
    moved = torch.stack([moved[:, LEFT] + wrist_m[:, None], moved[:, RIGHT]], 1)
    hands = slice(0, len(spheres.bone) - len(ARM_M))
    way_m = first_contact(moved[:, :, hands], spheres.radius_m[hands], direction).clamp(min=-0.03, max=0.08)
    named = (off_m.abs().sum(1) > 0)[:, None]
    wrist_m = wrist_m + torch.where(named, off_m, direction * way_m[:, None])
    return replace(start, wrist_m=wrist_m), replace(meeting, slide_m=slide_m)


def _swapped(swapped: Tensor, values: Tensor, mirrored: Tensor) -> Tensor:
    """Values (B, S, ...), mirrored where swapped (B,): the right hand becomes the left one."""
    return torch.where(swapped.view(-1, *[1] * (values.dim() - 1)), mirrored.flip(1), values)
