# SPDX-License-Identifier: GPL-3.0-or-later
"""How each finger joint can rotate: axes derived from the rest skeleton, limits, and a frame for landmark offsets.

Nothing here is specific to one model: any hand in MANO's schema, flat at rest, gets its axes from its own joints.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.geometry.mirror import mirror
from inference_core.shared.skeleton import MANO_FINGERS, RIGHT

FLEXION, SPREAD, TWIST = 0, 1, 2

# Direction of the thumb's back (its nail) at rest, along the hand's own distal, dorsal and radial
# directions: the flat pose of MANO and of the open hand holds the thumb half opposed.
_THUMB_DORSAL = (0.25, 0.55, 0.80)
_TIP_ORDER = (1, 2, 4, 3, 0)  # tips come thumb to pinky, MANO's fingers index, middle, pinky, ring, thumb

# Degrees from the flat pose, lowest and highest, of the rotation vector's parts along flexion, spread,
# twist. Usual active ranges of healthy adults, rounded, with
# some passive reserve, because footage shows hands that press on things. Spread is positive towards the thumb.
_LIMITS_DEG: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "index_01": ((-30, 95), (-20, 25), (-12, 12)),
    "middle_01": ((-30, 95), (-18, 18), (-10, 10)),
    "pinky_01": ((-35, 95), (-35, 20), (-15, 15)),
    "ring_01": ((-30, 95), (-22, 18), (-12, 12)),
    "index_02": ((-10, 112), (-5, 5), (-5, 5)),
    "middle_02": ((-10, 112), (-5, 5), (-5, 5)),
    "pinky_02": ((-10, 112), (-7, 7), (-7, 7)),
    "ring_02": ((-10, 112), (-5, 5), (-5, 5)),
    "index_03": ((-20, 85), (-4, 4), (-4, 4)),
    "middle_03": ((-20, 85), (-4, 4), (-4, 4)),
    "pinky_03": ((-20, 85), (-5, 5), (-5, 5)),
    "ring_03": ((-20, 85), (-4, 4), (-4, 4)),
    "thumb_01": ((-35, 45), (-40, 40), (-30, 40)),
    "thumb_02": ((-25, 70), (-15, 15), (-12, 12)),
    "thumb_03": ((-30, 90), (-5, 5), (-5, 5)),
}


def joint_limits_rad() -> Tensor:
    """(15, 3, 2) lowest and highest flexion, spread and twist of the finger joints, MANO's order, radians.

    They bound the parts of a joint's rotation vector along its own axes: axes.T @ log(R).
    """
    names = [f"{finger}_{k:02d}" for finger in MANO_FINGERS for k in (1, 2, 3)]
    return torch.tensor([_LIMITS_DEG[name] for name in names]) * (math.pi / 180)


def joint_axes(rest_joints_m: Tensor, rest_tips_m: Tensor, side: int) -> Tensor:
    """(15, 3, 3) columns flexion, spread, twist of one hand's finger joints in the rest frame, right-handed.

    rest_joints_m (16, 3), rest_tips_m (5, 3) thumb to pinky. Positive flexion bends towards the palm and
    positive spread turns towards the thumb on both sides; twist is about the bone, from joint to tip on the
    right hand and back on the left, so that equal angles on both hands are mirrored motions.
    """
    if side != RIGHT:
        return mirror(joint_axes(mirror(rest_joints_m, "point"), mirror(rest_tips_m, "point"), RIGHT), "axes")
    palm = wrist_frame(rest_joints_m, side)
    chains = torch.cat([rest_joints_m[1:].unflatten(0, (5, 3)), rest_tips_m[list(_TIP_ORDER), None]], 1)
    twist = F.normalize(chains[:, 1:] - chains[:, :-1], dim=-1)
    dorsal = palm[:, 1].repeat(5, 1)
    along, up, radial = _THUMB_DORSAL
    dorsal[4] = along * palm[:, 2] + up * palm[:, 1] + radial * palm[:, 0]
    flexion = F.normalize(torch.linalg.cross(-twist, dorsal[:, None].expand_as(twist), dim=-1), dim=-1)
    spread = torch.linalg.cross(twist, flexion, dim=-1)
    return torch.stack([flexion, spread, twist], -1).flatten(0, 1)


def wrist_frame(rest_joints_m: Tensor, side: int) -> Tensor:
    """(3, 3) columns radial (to the thumb), dorsal (out of the back), distal (to the middle knuckle) of one rest hand.

    Right-handed on the right hand; the left hand's is its mirror image, hence left-handed.
    """
    wrist, index, middle, pinky = rest_joints_m[[0, 1, 4, 7]].unbind(0)
    distal = F.normalize(middle - wrist, dim=-1)
    across = torch.linalg.cross(pinky - wrist, index - wrist, dim=-1)
    dorsal = across if side == RIGHT else -across
    dorsal = F.normalize(dorsal - (dorsal @ distal) * distal, dim=-1)
    radial = torch.linalg.cross(dorsal, distal, dim=-1)
    return torch.stack([radial if side == RIGHT else -radial, dorsal, distal], -1)


def offset_frames(rest_joints_m: Tensor, axes: Tensor, side: int) -> Tensor:
    """(16, 3, 3) columns sideways (to the thumb), dorsal, distal of the joints: side-blind frames."""
    fingers = axes if side == RIGHT else -axes  # mirroring a direction is minus mirroring an axis
    return torch.cat([wrist_frame(rest_joints_m, side)[None], fingers])
