# SPDX-License-Identifier: GPL-3.0-or-later
"""Named places on a hand's skin; a way of touching says which of them meet.

On each finger "index 1 pad" to "thumb 3 ulnar": phalanx 1 to 3 from the knuckle (the thumb's metacarpal is 1), its
palmar side (pad), back (top), the side towards the thumb (radial) or away from it (ulnar); and "index tip". On the
palm, the back, the wrist and the forearm the places in PLACES; between two fingers "web index middle".
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.hand_model.hand import HandModel
from inference_core.shared.skeleton import FINGERS, MANO_FINGERS, RIGHT
from training.synthetic.spheres import ARM_M, Spheres, arm_line_m

# Centimetres towards the fingers and towards the thumb from the wrist joint of the mean right hand, and the side.
_PLACES_CM: dict[str, tuple[float, float, str]] = {
    "palm": (5.2, 0.3, "palm"),
    "palm heel": (1.6, -0.3, "palm"),
    "palm pinky": (5.0, -2.6, "palm"),
    "palm index": (7.0, 1.8, "palm"),
    "palm top": (7.6, 0.0, "palm"),
    "thenar": (3.4, 2.2, "palm"),
    "back": (5.2, 0.0, "back"),
    "back index": (7.0, 1.6, "back"),
    "back pinky": (6.0, -2.6, "back"),
    "back wrist": (1.5, 0.0, "back"),
    "edge": (5.0, -3.0, "ulnar"),
    "edge heel": (2.0, -2.5, "ulnar"),
    "index side": (7.0, 1.8, "radial"),
}
_WRIST_SIDES = ("palm", "back", "radial", "ulnar")
_DIRECTIONS = {
    "palm": (0.0, -1.0, 0.0),
    "back": (0.0, 1.0, 0.0),
    "radial": (0.0, 0.0, 1.0),
    "ulnar": (0.0, 0.0, -1.0),
}
_WEBS = (("index", "middle"), ("middle", "ring"), ("ring", "pinky"))


@dataclass(frozen=True)
class Anchors:
    """points: the places, as spheres without extent; outward (S, K, 3): the skin's direction, in the rest
    frame; number: each name's index.
    """

    points: Spheres
    outward: Tensor
    number: dict[str, int]


def find_anchors(model: HandModel) -> Anchors:
    """All named places on the mean right hand; on the left one they are its mirror image."""
    skin_m = model.template_m[RIGHT]
    joints_m = model.rest_joints_m[RIGHT]
    found: dict[str, tuple[int, int, Tensor, Tensor]] = {}
    none = torch.zeros(3)
    for place, finger in enumerate(MANO_FINGERS):
        tip_m = skin_m[model.tip_vertices[RIGHT, FINGERS.index(finger)]]
        chain_m = torch.cat([joints_m[1 + 3 * place : 4 + 3 * place], tip_m[None]])
        for phalanx in range(3):
            bone = 1 + 3 * place + phalanx
            share = 0.62 if phalanx == 2 else 0.5
            middle_m = torch.lerp(chain_m[phalanx], chain_m[phalanx + 1], share)
            radial, _, distal = model.joint_axes[RIGHT, bone - 1].T
            pad = torch.linalg.cross(radial, distal)
            for name, way in (("pad", pad), ("top", -pad), ("radial", radial), ("ulnar", -radial)):
                found[f"{finger} {phalanx + 1} {name}"] = (_skin_at(skin_m, middle_m, way), bone, none, way)
        tip = int(model.tip_vertices[RIGHT, FINGERS.index(finger)])
        found[f"{finger} tip"] = (tip, 3 + 3 * place, none, model.joint_axes[RIGHT, 2 + 3 * place, :, 2])
    distal = torch.tensor([-1.0, 0.0, 0.0])
    for first, second in _WEBS:
        knuckles_m = torch.stack([joints_m[1 + 3 * MANO_FINGERS.index(f)] for f in (first, second)])
        start_m = knuckles_m.mean(0) + torch.tensor([-0.002, 0.0, 0.0])
        found[f"web {first} {second}"] = (_skin_at(skin_m, start_m, distal), 0, none, distal)
    for name, (distal_cm, radial_cm, side) in _PLACES_CM.items():
        start_m = joints_m[0] + torch.tensor([-distal_cm, 0.0, radial_cm]) / 100
        way = torch.tensor(_DIRECTIONS[side])
        found[name] = (_skin_at(skin_m, start_m, way), 0, none, way)
    rim = int((skin_m - joints_m[0]).norm(dim=-1).argmin())
    for name, (along_m, radius_m) in {"wrist": ARM_M[0], "forearm": ARM_M[2]}.items():
        for side in _WRIST_SIDES:
            way = torch.tensor(_DIRECTIONS[side])
            out_m = way * radius_m + arm_line_m(torch.tensor([along_m]))[0]
            found[f"{name} {side}"] = (rim, 0, joints_m[0] + out_m - skin_m[rim], way)
    vertex, bone, inward, outward = zip(*found.values(), strict=True)
    flip = torch.tensor([-1.0, 1.0, 1.0])
    points = Spheres(
        vertex=torch.tensor(vertex),
        inward_m=torch.stack([torch.stack(inward) * flip, torch.stack(inward)]),
        radius_m=torch.zeros(len(vertex)),
        bone=torch.tensor(bone),
    )
    return Anchors(
        points,
        torch.stack([torch.stack(outward) * flip, torch.stack(outward)]),
        {name: number for number, name in enumerate(found)},
    )


def _skin_at(skin_m: Tensor, start_m: Tensor, direction: Tensor) -> int:
    """Approximately the vertex where a ray from inside the hand leaves it."""
    direction = F.normalize(direction, dim=0)
    from_start = skin_m - start_m
    along = from_start @ direction
    aside = (from_start - along[:, None] * direction).norm(dim=-1)
    return int((along.clamp(max=0.03) - 2.0 * aside).argmax())
