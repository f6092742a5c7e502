# SPDX-License-Identifier: GPL-3.0-or-later
"""Places the captured hands before they are joined: as they are, with the chest, or by the wrists."""

from collections.abc import Sequence
from typing import Any

import bpy
import numpy as np

from inference_core.shared.errors import RequestError

from ..retarget import arms
from ..retarget.arm_chain import ArmChain
from ..retarget.bone_map import HAND
from ..scene.axes import Floats
from ..scene.shot import place_of
from .placement import Hands, Moves, by_the_wrists, of_matrix, riding
from .sampling import Shown
from .settings import Placing
from .side import Side, anatomical_turns


def placed(
    target: bpy.types.Object, sides: Sequence[Side], body: Shown, chest: str | None, placing: Placing
) -> Moves:
    """The motion, on each frame, from where the captured hands are in the scene to where they belong."""
    count = len(sides[0].motion.wrist)
    if placing == "PLACED":
        return of_matrix(np.eye(4), count)
    ride = of_matrix(np.eye(4), count)
    if chest is not None:
        data: Any = target.data
        rest = target.matrix_world.normalized() @ data.bones[chest].matrix_local
        rest.translation = target.matrix_world @ data.bones[chest].head_local
        ride = riding(body.matrices(chest), np.array(rest, np.float64))
    if placing == "CHEST":
        return ride.after(of_matrix(_to_the_chest(target, sides), count))
    return by_the_wrists(_captured(sides), _bodys(sides, body), ride, _scale(sides))


def _captured(sides: Sequence[Side]) -> Hands:
    return Hands(
        np.stack([side.motion.wrist for side in sides], 1),
        np.stack([side.motion.turns[HAND] for side in sides], 1),
        np.stack([side.motion.there for side in sides], 1),
    )


def _bodys(sides: Sequence[Side], body: Shown) -> Hands:
    turns = [anatomical_turns(side, body.turns[side.limb.seen_hand]) for side in sides]
    wrists = np.stack([body.places[side.limb.seen_hand] for side in sides], 1)
    return Hands(wrists, np.stack(turns, 1), np.ones(wrists.shape[:2], bool))


def _arms(sides: Sequence[Side]) -> list[arms.Arm]:
    """The arms at rest, for sides that have one."""
    found: list[arms.Arm] = []
    for side in sides:
        names = (side.limb.seen_upper, side.limb.seen_fore, side.limb.seen_hand)
        if names[0] is not None and names[1] is not None:
            joints = (side.rest.heads[name] for name in names if name is not None)
            found.append(arms.Arm(ArmChain((names[0],), (names[1],)), *joints))
    return found


def _scale(sides: Sequence[Side]) -> float:
    """The size of the body's arms relative to those of the captured person, as the shot is scaled now."""
    found = _arms(sides)
    if not found:
        return 1.0
    shot = sides[0].rig.shot
    place: Any = place_of(shot)
    now = shot.duohand.scale * float(np.mean(place.matrix_world.to_scale()))
    return float(np.mean([item.length for item in found])) / (arms.USUAL_ARM_M * now)


def _to_the_chest(target: bpy.types.Object, sides: Sequence[Side]) -> Floats:
    """The matrix (4, 4) that moves the shot from where it is to the front of the resting body's chest."""
    found = _arms(sides)
    if len(found) != 2:
        raise RequestError(
            f"{target.name} has no two arms, and both hands, to place the shot by. Choose another placement."
        )
    rigs = [side.rig for side in sides]
    there, _ = arms.placement(rigs, found[0], found[1])
    now = place_of(rigs[0].shot).matrix_world
    return np.array(there @ now.inverted(), np.float64)
