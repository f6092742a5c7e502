# SPDX-License-Identifier: GPL-3.0-or-later
"""The time offset between a shot's hands and a body that moves in the same scene."""

from collections.abc import Sequence

import bpy
import numpy as np

from inference_core.shared.errors import RequestError

from ..retarget.bone_map import BoneMap
from ..scene.axes import Floats
from ..scene.hand_curves import HandRig, read_track
from .hand_motion import hand_motion
from .limbs import chest_of, find_limb
from .offset import Offset, Wrists, find_offset
from .placement import riding
from .sampling import shown_bones


def matched(
    scene: bpy.types.Scene, target: bpy.types.Object, bones: BoneMap, rigs: Sequence[HandRig], frames: range
) -> Offset:
    """The more certain of two: with the body's wrists in the world, and with its wrists relative to its chest."""
    limbs = [find_limb(target, bones, rig.side) for rig in rigs]
    chest = chest_of(target, limbs)
    names = {limb.seen_hand for limb in limbs} | ({chest} if chest is not None else set())
    body = shown_bones(scene, target, sorted(names), frames)
    at = np.array(frames, np.float64)
    points = np.full((len(at), 2, 3), np.nan)
    for limb in limbs:
        points[:, limb.side] = body.places[limb.seen_hand]
    taken = _taken(rigs)
    ways = [points]
    if chest is not None:
        ride = riding(body.matrices(chest), np.eye(4))
        still = np.einsum("fba,fsb->fsa", ride.turns, points - ride.shifts[:, None])
        ways.append(still)
    found: list[Offset] = []
    problem: RequestError | None = None
    for way in ways:
        try:
            found.append(find_offset(taken, Wrists(at, way)))
        except RequestError as error:
            problem = error
    if not found and problem is not None:
        raise problem
    return max(found, key=lambda offset: offset.sure)


def _taken(rigs: Sequence[HandRig]) -> Wrists:
    """The captured wrists on all frames on which either hand has keys; unknown at cuts."""
    tracks = [read_track(rig) for rig in rigs]
    cuts = tracks[0].cuts
    frames = np.unique(np.concatenate([cuts, *(track.frames for track in tracks)]))
    points: Floats = np.full((len(frames), 2, 3), np.nan)
    for rig in rigs:
        motion = hand_motion(rig, frames)
        points[motion.there, rig.side] = motion.wrist[motion.there]
    points[np.isin(frames, cuts)] = np.nan
    return Wrists(frames, points)
