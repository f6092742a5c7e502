# SPDX-License-Identifier: GPL-3.0-or-later
"""Finger poses: whole-hand gestures and random bends, within the joints' anatomical ranges.

Angles are degrees along each joint's flexion, spread and twist; the fingers stand in MANO's order (index,
middle, pinky, ring, thumb), three joints each. The gestures' numbers were set by eye on the open hand.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference_core.shared.skeleton import MANO_FINGERS
from training.synthetic.randomness import Randomness

_DEGREE = math.pi / 180
# Each finger's own share of spread: fingers fan out from the middle one.
_FAN = {"index": 1.0, "middle": 0.15, "ring": -0.55, "pinky": -1.1}


@dataclass(frozen=True)
class Gesture:
    """A whole-hand pose: bend of knuckle and middle joint of each finger, and the thumb, in degrees.

    index .. pinky: (knuckle, middle joint); the end joint follows the middle one. thumb: flexion, spread and
    twist of its root, then flexion of its two other joints. fan: spread of the outer fingers. looseness
    scales the variation between two hands that make the gesture.
    """

    name: str
    weight: float
    index: tuple[float, float]
    middle: tuple[float, float]
    ring: tuple[float, float]
    pinky: tuple[float, float]
    thumb: tuple[float, float, float, float, float]
    fan: float = 2.0
    looseness: float = 1.0


GESTURES = (
    Gesture("flat", 2.0, (-2, 3), (-2, 3), (-2, 3), (-2, 4), (0, 8, 0, 2, 0), 2, 0.7),
    Gesture("spread", 1.6, (-6, 4), (-6, 4), (-6, 4), (-6, 5), (-8, 18, 0, -4, -6), 13, 0.8),
    Gesture("relaxed", 3.0, (18, 26), (26, 32), (32, 36), (36, 36), (8, 2, 4, 12, 16), 2, 1.5),
    Gesture("fist", 2.0, (78, 98), (82, 102), (82, 102), (80, 98), (24, -18, 10, 34, 44), 0, 0.8),
    Gesture("loose fist", 1.2, (58, 80), (64, 86), (66, 88), (66, 86), (16, -6, 8, 26, 34), 1, 1.2),
    Gesture("point", 1.8, (2, 6), (80, 98), (82, 100), (80, 98), (22, -16, 10, 32, 40), 1, 0.9),
    Gesture("thumb up", 1.0, (76, 96), (80, 100), (80, 100), (78, 96), (-14, 8, 0, -6, -8), 0, 0.8),
    Gesture("two fingers", 1.2, (0, 5), (0, 5), (80, 98), (78, 96), (26, -16, 10, 34, 36), 8, 0.8),
    Gesture("three fingers", 0.8, (0, 6), (0, 6), (0, 8), (70, 92), (30, -18, 12, 36, 36), 7, 0.9),
    Gesture("four fingers", 0.8, (-2, 5), (-2, 5), (-2, 6), (-2, 6), (34, -22, 12, 36, 36), 8, 0.8),
    Gesture("pinch", 1.8, (48, 48), (34, 36), (28, 32), (24, 28), (30, -6, 16, 18, 22), 4, 1.0),
    Gesture("ring sign", 1.0, (52, 56), (10, 14), (4, 10), (0, 10), (30, -6, 16, 20, 26), 8, 0.9),
    Gesture("gun", 0.8, (0, 4), (74, 94), (78, 98), (76, 94), (-12, 16, 0, -4, -6), 1, 0.8),
    Gesture("call", 0.7, (76, 96), (80, 98), (74, 94), (0, 8), (-14, 18, 0, -8, -8), 8, 0.8),
    Gesture("horns", 0.6, (0, 6), (78, 98), (78, 98), (0, 8), (24, -14, 10, 32, 38), 5, 0.8),
    Gesture("grip", 2.0, (48, 52), (52, 54), (54, 56), (56, 54), (22, 2, 12, 20, 22), 2, 1.4),
    Gesture("ball", 1.4, (28, 40), (30, 42), (32, 42), (32, 40), (18, 14, 12, 14, 18), 8, 1.2),
    Gesture("claw", 0.7, (-4, 62), (-4, 66), (-4, 66), (-4, 60), (4, 12, 6, 22, 30), 7, 1.1),
    Gesture("hook", 0.6, (4, 88), (6, 92), (6, 92), (6, 88), (2, 4, 2, 10, 12), 1, 0.9),
    Gesture("table", 0.8, (68, 10), (72, 10), (72, 10), (70, 12), (18, 4, 8, 6, 8), 1, 1.0),
    Gesture("pen", 1.2, (44, 52), (52, 58), (60, 66), (64, 70), (26, -4, 14, 22, 26), 1, 1.0),
    Gesture("key", 0.8, (58, 76), (64, 84), (68, 88), (68, 86), (10, -12, 4, 20, 22), 0, 1.0),
)
_GESTURE_SHARE = 0.62


def sample_angles_rad(
    random: Randomness,
    limits_rad: Tensor,
    mirrored_share: float = 0.15,
    taken_rad: Tensor | None = None,
    taken_share: float = 0.0,
) -> Tensor:
    """Finger angles (B, S, 15, 3), radians, inside limits_rad (15, 3, 2).

    Some pictures have the same pose on both hands, as in applause, prayer or holding a box. taken_rad (N, 15, 3):
    poses of real hands, used for some of the hands.
    """
    gesture = _gesture_angles(random)
    free = _free_angles(random)
    kind = random.choice("pose kind", (_GESTURE_SHARE, 1 - _GESTURE_SHARE - 0.1, 0.1), 2)[..., None, None]
    blend = random.uniform("pose blend", 2, 1, 1)
    angles = torch.where(kind == 0, gesture, torch.where(kind == 1, free, torch.lerp(gesture, free, blend)))
    if taken_rad is not None:
        taken = taken_rad[random.integers("pose taken", len(taken_rad), 2)] / _DEGREE
        taken = taken + random.normal("pose taken variation", 2, 15, 3) * _side_deviation()
        angles = torch.where(random.chance("pose is taken", taken_share, 2, 1, 1), taken, angles)
    same = random.chance("pose mirrored", mirrored_share, 1, 1, 1)
    angles = torch.where(same, angles[:, 1:] + random.normal("pose asymmetry", 2, 15, 3, std=2.0), angles)
    return within(angles * _DEGREE, limits_rad)


def within(angles_rad: Tensor, limits_rad: Tensor) -> Tensor:
    """Angles (..., 15, 3) clipped to limits (15, 3, 2)."""
    return torch.minimum(torch.maximum(angles_rad, limits_rad[..., 0]), limits_rad[..., 1])


def gesture_angles_rad(names: list[str]) -> Tensor:
    """Angles (N, 15, 3), radians, of gestures by name, without variation."""
    table = {gesture.name: gesture for gesture in GESTURES}
    return gesture_table_rad([table[name] for name in names])


def gesture_table_rad(gestures: Sequence[Gesture]) -> Tensor:
    """Angles (N, 15, 3), radians, of gestures, without variation."""
    return _table(gestures) * _DEGREE


def _gesture_angles(random: Randomness) -> Tensor:
    """(B, S, 15, 3) degrees: one gesture each, with a common and an individual variation of every finger."""
    number = random.choice("gesture", [gesture.weight for gesture in GESTURES], 2)
    loose = torch.tensor([gesture.looseness for gesture in GESTURES])[number][..., None, None]
    common = random.normal("gesture bend", 2, 1, 1, 1, std=6.0)
    finger = random.normal("gesture finger", 2, 5, 1, 1, std=6.0)
    joint = random.normal("gesture joint", 2, 5, 3, 1, std=3.5)
    bend = (common + finger + joint) * torch.tensor([1.0, 0.0, 0.0])
    side = random.normal("gesture side", 2, 15, 3) * _side_deviation()
    return _table(GESTURES)[number] + loose * (bend.flatten(2, 3) + side)


def _free_angles(random: Randomness) -> Tensor:
    """(B, S, 15, 3) degrees: each finger bent independently; half of them follow the hand's common bend."""
    hand = random.uniform("free hand bend", 2, 1).square()
    own = random.uniform("free finger bend", 2, 4).square()
    bend = torch.where(random.chance("free finger follows", 0.55, 2, 4), hand, own)
    bend = (bend * 1.15 + random.normal("free bend variation", 2, 4, std=0.08)).clamp(0, 1.05)
    knuckle = -12 + 95 * bend * random.uniform("free knuckle", 2, 4, low=0.4, high=1.2)
    middle = 102 * bend * random.uniform("free middle", 2, 4, low=0.6, high=1.3)
    end = middle * random.uniform("free end", 2, 4, low=0.3, high=0.75)
    flexion = torch.stack([knuckle, middle, end], -1)
    angles = torch.zeros(random.batch, 2, 5, 3, 3)
    angles[:, :, :4, :, 0] = flexion
    fan = torch.tensor([_FAN[finger] for finger in MANO_FINGERS[:4]])
    spread = fan * (2 + random.normal("free fan", 2, 1, std=7.0)) + random.normal(
        "free spread", 2, 4, std=3.5
    )
    angles[:, :, :4, 0, 1] = spread * (1 - 0.7 * bend)
    mean = torch.tensor([[10.0, 0.0, 4.0], [16.0, 0.0, 0.0], [20.0, 0.0, 0.0]])
    deviation = torch.tensor([[14.0, 13.0, 9.0], [16.0, 3.0, 2.0], [24.0, 0.0, 0.0]])
    angles[:, :, 4] = mean + deviation * random.normal("free thumb", 2, 3, 3)
    return angles.flatten(2, 3)


def _table(gestures: Sequence[Gesture]) -> Tensor:
    """(G, 15, 3) degrees of gestures."""
    table = torch.zeros(len(gestures), 5, 3, 3)
    for number, gesture in enumerate(gestures):
        for place, finger in enumerate(MANO_FINGERS[:4]):
            knuckle, middle = getattr(gesture, finger)
            table[number, place, :, 0] = torch.tensor([knuckle, middle, 0.62 * middle])
            table[number, place, 0, 1] = _FAN[finger] * gesture.fan
        flexion, spread, twist, second, third = gesture.thumb
        table[number, 4, 0] = torch.tensor([flexion, spread, twist])
        table[number, 4, 1:, 0] = torch.tensor([second, third])
    return table.flatten(1, 2)


def _side_deviation() -> Tensor:
    """(15, 3) degrees of variation in spread and twist, and of the thumb's root in all three."""
    deviation = torch.zeros(5, 3, 3)
    deviation[:4, 0, 1], deviation[:4, 0, 2], deviation[:4, 1:, 1] = 3.0, 2.0, 0.7
    deviation[4, 0] = torch.tensor([5.0, 6.0, 5.0])
    deviation[4, 1] = torch.tensor([0.0, 3.0, 2.0])
    return deviation.flatten(0, 1)
