# SPDX-License-Identifier: GPL-3.0-or-later
"""One side of a join: its arm, its captured hand, and the targets of its bones. World axes throughout."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import bpy
import numpy as np

from ..retarget.alignment import Frames, anatomical_frames, hand_frame
from ..retarget.bone_map import HAND
from ..retarget.live import HandAtRest, hand_at_rest
from ..scene.axes import Floats
from ..scene.hand_curves import HandRig
from .hand_motion import HandMotion
from .limbs import Limb


@dataclass(frozen=True)
class Rest:
    """The target at rest: heads (3,) and rotations (3, 3) of bones by their names, anatomical frames (3, 3) by ours."""

    heads: Mapping[str, Floats]
    turns: Mapping[str, Floats]
    frames: Frames


@dataclass(frozen=True)
class Side:
    """bones: the target's by our names without side."""

    limb: Limb
    rig: HandRig
    motion: HandMotion
    bones: dict[str, str]
    rest: Rest


@dataclass(frozen=True)
class Wanted:
    """Targets on F frames: wrist (F, 3) and the hand's anatomical frame (F, 3, 3), the wrist's distance out of reach
    (F,), and rotations (F, 3, 3) and positions (F, 3) of the target's bones.
    """

    wrist: Floats
    hand: Floats
    beyond: Floats
    turns: dict[str, Floats] = field(default_factory=dict)
    places: dict[str, Floats] = field(default_factory=dict)


def rest_of(target: bpy.types.Object, limb: Limb, bones: Mapping[str, str]) -> Rest:
    """The target's rest pose, where it is now. A hand without mapped fingers points along its arm, palm down."""
    found: HandAtRest = hand_at_rest(target, {**{name: name for name in limb.bones()}, **bones})
    fingers = [name for name in bones if name != HAND]
    if fingers:
        frames = anatomical_frames(found.heads, found.tails, limb.side)
    else:
        along = found.tails[limb.seen_hand] - found.heads[limb.seen_hand]
        if limb.seen_fore is not None:
            along = found.heads[limb.seen_hand] - found.heads[limb.seen_fore]
        frames = {HAND: hand_frame(along, np.array([0.0, 0.0, -1.0]))}
    world = np.array(target.matrix_world, np.float64)
    data: Any = target.data
    heads = {
        name: world[:3, :3] @ np.array(data.bones[name].head_local) + world[:3, 3]
        for name in {*limb.bones(), *bones.values()}
    }
    return Rest(heads, found.turns, frames)


def anatomical_turns(side: Side, turns: Floats) -> Floats:
    """The hand's anatomical frame (F, 3, 3) for rotations (F, 3, 3) of its bone."""
    return turns @ side.rest.turns[side.limb.seen_hand].T @ side.rest.frames[HAND]


def bone_turns(side: Side, name: str, frames: Floats) -> Floats:
    """The rotation (F, 3, 3) of the target's bone that gives it this anatomical frame (F, 3, 3)."""
    return frames @ side.rest.frames[name].T @ side.rest.turns[side.bones[name]]
