# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys captured hands onto an armature that already moves.

Either the body keeps its arms and the hands move to its wrists, or its arms follow the hands. Everything is computed in
the world first, then keyed on a copy of the body's action; the original stays in the file, and `separate` restores it.
The captured hands follow the body in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import bpy
import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import RequestError
from inference_core.shared.flag_runs import flag_runs

from ..retarget import live
from ..retarget.bone_map import BoneMap, side_of
from ..scene import fcurves
from ..scene.axes import Floats
from ..scene.hand_curves import HandRig, check_unlocked, key_track, read_track, show_where_present
from ..scene.range_keys import Span, bone_paths, write_location, write_rotation
from ..scene.shot import later, set_later, units_per_metre
from ..scene.track import rows_of
from . import arm, kept_action
from .hand_motion import hand_motion, moved_track, track_at
from .hands_in_place import placed
from .limbs import chest_of, find_limb
from .puppet import led
from .sampling import Shown, shown_bones
from .settings import JoinSettings
from .shares import blended, blended_turns, shares
from .side import Side, Wanted, anatomical_turns, rest_of

WHAT: Final = "with hands"
_WORTH_A_WORD_MM: Final = 1.0


@dataclass(frozen=True)
class TooFar:
    """An arm that is too short on frames first..last, by at most this many millimetres."""

    side: int
    first: int
    last: int
    by_mm: float


@dataclass(frozen=True)
class Joined:
    """Bones keyed, on how many frames, the largest distance between wrists, and where arms are too short."""

    bones: int
    frames: int
    apart_mm: float
    too_far: tuple[TooFar, ...]


def join(
    scene: bpy.types.Scene,
    target: bpy.types.Object,
    bones: BoneMap,
    rigs: Sequence[HandRig],
    settings: JoinSettings,
    frames: range,
) -> Joined:
    """Key the hands onto the target on the frames. RequestError says what prevents it."""
    _check(target, rigs)
    _check_unlocked(target, bones, rigs, settings)
    _separate_last(target, rigs)
    at = np.array(frames, np.float64)
    sides = [_side(target, bones, rig, at - settings.offset) for rig in rigs]
    if not any(side.motion.there.any() for side in sides):
        raise RequestError("There is no captured hand on these frames. Check the range and the offset.")
    chest = chest_of(target, [side.limb for side in sides])
    body = shown_bones(scene, target, _read(sides, chest), frames)
    moves = placed(target, sides, body, chest, settings.placing)
    wanted = [arm.wanted(target, side, body, moves, at, settings) for side in sides]
    opens = (frames[0] > scene.frame_start, frames[-1] < scene.frame_end)
    count = _key(scene, target, sides, wanted, body, frames, settings.blend, opens)
    apart = _finish(scene, target, sides, wanted, frames, settings)
    per_mm = units_per_metre(scene) / 1000
    too_far = [
        found
        for side, item in zip(sides, wanted, strict=True)
        for found in _runs(side.limb.side, frames, np.where(side.motion.there, item.beyond, 0) / per_mm)
    ]
    return Joined(count, len(frames), apart / per_mm, tuple(too_far))


def separate(target: bpy.types.Object, rigs: Sequence[HandRig]) -> bool:
    """Restore the body's and the hands' own actions; whether they had been joined."""
    found = kept_action.put_all_back(target, WHAT)
    for rig in rigs:
        if kept_action.put_all_back(rig.armature, WHAT):
            show_where_present(rig)
            found = True
    return found


def _separate_last(target: bpy.types.Object, rigs: Sequence[HandRig]) -> None:
    """Take back the last join. If the hands that it brought hold props since then, they stay: the arms follow them."""
    kept_action.put_back(target, WHAT)
    if any(kept_action.is_other_copy(rig.armature, WHAT) for rig in rigs):
        return
    for rig in rigs:
        if kept_action.put_back(rig.armature, WHAT):
            show_where_present(rig)


def _check(target: bpy.types.Object, rigs: Sequence[HandRig]) -> None:
    for thing in (target, *(rig.armature for rig in rigs)):
        if not thing.is_editable:
            raise RequestError(
                f"{thing.name} is linked from another file. Make a library override of it first."
            )
    if live.following(target):
        raise RequestError(
            f"{target.name} follows captured hands by constraints. Bake or clear those in the Retarget panel first."
        )


def _check_unlocked(
    target: bpy.types.Object, bones: BoneMap, rigs: Sequence[HandRig], settings: JoinSettings
) -> None:
    """Nothing is changed, not even an earlier join, where a curve that would be keyed is locked."""
    limbs = [find_limb(target, bones, rig.side).bones() for rig in rigs]
    keyed = [*bones.values(), *(bone for limb in limbs for bone in limb)]
    fcurves.check_unlocked(target, fcurves.active_channels(target), bone_paths(keyed))
    for rig in rigs if settings.bring_hands else ():
        check_unlocked(rig)


def _side(target: bpy.types.Object, bones: BoneMap, rig: HandRig, frames: Floats) -> Side:
    """The side's arm and hand; frames (F,) of the take."""
    mine = {name[:-2]: bone for name, bone in bones.items() if side_of(name) == rig.side and bone}
    missing = [bone for bone in mine.values() if bone not in target.pose.bones]
    if missing:
        raise RequestError(f"{target.name} has no bone {missing[0]}. Correct the bone map.")
    limb = find_limb(target, bones, rig.side)
    return Side(limb, rig, hand_motion(rig, frames), mine, rest_of(target, limb, mine))


def _read(sides: Sequence[Side], chest: str | None) -> list[str]:
    """The bones to be read: those that may be keyed, the arms, and the chest."""
    names = {bone for side in sides for bone in (*side.bones.values(), *side.limb.bones())}
    return sorted(names | ({chest} if chest is not None else set()))


def _key(
    scene: bpy.types.Scene,
    target: bpy.types.Object,
    sides: Sequence[Side],
    wanted: Sequence[Wanted],
    body: Shown,
    frames: range,
    blend: int,
    opens: tuple[bool, bool],
) -> int:
    """Key the targets on a copy of the body's action, fading at the ends; how many bones were keyed."""
    at = np.array(frames, np.float64)
    turns = {bone: matrices for item in wanted for bone, matrices in item.turns.items()}
    places = {bone: points for item in wanted for bone, points in item.places.items()}
    with led(scene, target, at, turns, places):
        after = live.shown_motion(scene, target, list(turns), frames)
    channels = kept_action.working_copy(target, WHAT)
    span = Span(at, opens)
    for side, item in zip(sides, wanted, strict=True):
        share = shares(side.motion.there, blend, opens)
        for bone in item.turns:
            locations, rotations = after[bone]
            pose_bone = target.pose.bones[bone]
            write_rotation(channels, pose_bone, span, blended_turns(body.rotations[bone], rotations, share))
            if bone in places:
                write_location(channels, pose_bone, span, blended(body.locations[bone], locations, share))
    return len(turns)


def _finish(
    scene: bpy.types.Scene,
    target: bpy.types.Object,
    sides: Sequence[Side],
    wanted: Sequence[Wanted],
    frames: range,
    settings: JoinSettings,
) -> float:
    """Move the captured hands to where the body's wrists are now; how far those are from their targets."""
    at = np.array(frames, np.float64)
    body = shown_bones(scene, target, [side.limb.seen_hand for side in sides], frames)
    opens = (frames[0] > scene.frame_start, frames[-1] < scene.frame_end)
    apart = 0.0
    for side, item in zip(sides, wanted, strict=True):
        wrist = body.places[side.limb.seen_hand]
        whole = shares(side.motion.there, settings.blend, opens) == 1
        if whole.any():
            apart = max(apart, float(np.linalg.norm(wrist - item.wrist, axis=-1)[whole].max()))
        if settings.bring_hands and side.motion.there.any():
            turn = anatomical_turns(side, body.turns[side.limb.seen_hand])
            _bring(side, at, settings.offset, wrist, turn)
    return apart


def _bring(side: Side, at: Floats, offset: float, wrist: Floats, turn: Floats) -> None:
    """Key the captured hand at the body's wrist (F, 3), rotated like its hand (F, 3, 3), on a copy of its action."""
    track, there = track_at(read_track(side.rig), at - offset)
    track = moved_track(side.rig, track, wrist, turn)
    copy = kept_action.working_copy(side.rig.armature, WHAT).action
    set_later(copy, later(copy) + offset)
    key_track(side.rig, rows_of(replace(track, frames=at, cuts=track.cuts + offset), there))


def _runs(side: int, frames: range, beyond_mm: Floats) -> list[TooFar]:
    """Stretches of frames on which the arm is too short by a millimetre or more."""
    far: NDArray[np.bool_] = beyond_mm >= _WORTH_A_WORD_MM
    return [
        TooFar(side, frames[start], frames[stop - 1], float(beyond_mm[start:stop].max()))
        for start, stop in flag_runs(far)
    ]
