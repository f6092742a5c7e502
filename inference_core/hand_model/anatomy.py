# SPDX-License-Identifier: GPL-3.0-or-later
"""How each finger joint can rotate: axes derived from the rest skeleton, limits, and a frame for landmark offsets.

Nothing here is specific to one model: any hand in MANO's schema, flat at rest, gets its axes from its own joints.
"""

import math

import numpy as np
from numpy.typing import NDArray

from inference_core.geometry.array_api import Array, array_namespace, unit
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


def joint_limits_rad() -> NDArray[np.float64]:
    """(15, 3, 2) lowest and highest flexion, spread and twist of the finger joints, MANO's order, radians.

    They bound the parts of a joint's rotation vector along its own axes: axes.T @ log(R).
    """
    names = [f"{finger}_{k:02d}" for finger in MANO_FINGERS for k in (1, 2, 3)]
    return np.array([_LIMITS_DEG[name] for name in names]) * (math.pi / 180)


def joint_axes(rest_joints_m: Array, rest_tips_m: Array, side: int) -> Array:
    """(15, 3, 3) columns flexion, spread, twist of one hand's finger joints in the rest frame, right-handed.

    rest_joints_m (16, 3), rest_tips_m (5, 3) thumb to pinky. Positive flexion bends towards the palm and
    positive spread turns towards the thumb on both sides; twist is about the bone, from joint to tip on the
    right hand and back on the left, so that equal angles on both hands are mirrored motions.
    """
    if side != RIGHT:
        return mirror(joint_axes(mirror(rest_joints_m, "point"), mirror(rest_tips_m, "point"), RIGHT), "axes")
    xp = array_namespace(rest_joints_m, rest_tips_m)
    palm = wrist_frame(rest_joints_m, side)
    tips_m = xp.stack([rest_tips_m[tip] for tip in _TIP_ORDER])
    chains = xp.concat([xp.reshape(rest_joints_m[1:], (5, 3, 3)), tips_m[:, None]], axis=1)
    twist = unit(chains[:, 1:] - chains[:, :-1])
    along, up, radial = _THUMB_DORSAL
    thumb_dorsal = along * palm[:, 2] + up * palm[:, 1] + radial * palm[:, 0]
    dorsal = xp.stack([palm[:, 1]] * 4 + [thumb_dorsal])
    flexion = unit(xp.linalg.cross(-twist, xp.broadcast_to(dorsal[:, None], twist.shape), axis=-1))
    spread = xp.linalg.cross(twist, flexion, axis=-1)
    return xp.reshape(xp.stack([flexion, spread, twist], axis=-1), (15, 3, 3))


def wrist_frame(rest_joints_m: Array, side: int) -> Array:
    """(3, 3) columns radial (to the thumb), dorsal (out of the back), distal (to the middle knuckle) of one rest hand.

    Right-handed on the right hand; the left hand's is its mirror image, hence left-handed.
    """
    xp = array_namespace(rest_joints_m)
    wrist, index, middle, pinky = (rest_joints_m[joint] for joint in (0, 1, 4, 7))
    distal = unit(middle - wrist)
    across = xp.linalg.cross(pinky - wrist, index - wrist, axis=-1)
    dorsal = across if side == RIGHT else -across
    dorsal = unit(dorsal - (dorsal @ distal) * distal)
    radial = xp.linalg.cross(dorsal, distal, axis=-1)
    return xp.stack([radial if side == RIGHT else -radial, dorsal, distal], axis=-1)


def offset_frames(rest_joints_m: Array, axes: Array, side: int) -> Array:
    """(16, 3, 3) columns sideways (to the thumb), dorsal, distal of the joints: side-blind frames."""
    fingers = axes if side == RIGHT else -axes  # mirroring a direction is minus mirroring an axis
    return array_namespace(axes).concat([wrist_frame(rest_joints_m, side)[None], fingers], axis=0)
