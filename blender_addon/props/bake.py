# SPDX-License-Identifier: GPL-3.0-or-later
"""Computes grips over the scene's range and keys them: the prop, and hands that keep their places on it.

Keys are written to copies of the actions; `released` restores the originals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import bpy
import numpy as np
from mathutils import Matrix

from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError

from ..body import kept_action
from ..body.hand_motion import hand_motion, moved_track, track_at
from ..retarget.bone_map import HAND
from ..scene import fcurves, hand_keys
from ..scene.axes import Floats
from ..scene.hand_curves import HandRig, check_unlocked, key_track, read_track, show_where_present
from ..scene.motion import eulers_from_quaternions
from ..scene.shot import cut_frames
from ..scene.track import inside, merged, rows_of
from ..scene.unkeyed import frame_kept
from .grips import Grip, held

WHAT: Final = "with props"


def bake(
    scene: bpy.types.Scene,
    grips_of: Mapping[bpy.types.Object, Sequence[Grip]],
    rigs: Sequence[HandRig],
    blend: int,
    frames: range,
) -> int:
    """Key all props and the hands on them; how many grips were worked out. A RequestError says what stands in the way.

    A hand may hold one prop after another, so props are keyed in the order in which they are taken; parts of a prop
    (its children) are keyed after it.
    """
    for prop, grips in grips_of.items():
        _check(prop, rigs, grips, frames)
    released(list(grips_of), rigs)
    for prop in sorted(grips_of, key=lambda prop: (_depth(prop), min(grip.first for grip in grips_of[prop]))):
        _bake_one(scene, prop, rigs, grips_of[prop], blend, frames)
    return sum(len(grips) for grips in grips_of.values())


def _bake_one(
    scene: bpy.types.Scene,
    prop: bpy.types.Object,
    rigs: Sequence[HandRig],
    grips: Sequence[Grip],
    blend: int,
    frames: range,
) -> None:
    at = np.array(frames, np.float64)
    by_side = {rig.side: rig for rig in rigs}
    worlds, carriers = _prop_motion(scene, prop, frames)
    sizes = np.linalg.norm(worlds[:, :3, :3], axis=1, keepdims=True)
    own = worlds.copy()
    own[:, :3, :3] /= sizes
    hands = {side: _hand_frames(rig, at) for side, rig in by_side.items()}
    for grip in grips:
        there = hand_motion(by_side[grip.side], np.array([grip.first, grip.last], np.float64)).there
        if not there.all():
            raise RequestError(
                f"The {('left', 'right')[grip.side]} hand is absent at an end of its grip {grip.first}-{grip.last}."
            )
    found = held(frames, own, hands, grips, blend, cut_frames(rigs[0].shot))
    world = found.prop.copy()
    world[:, :3, :3] *= sizes
    _key_prop(prop, at, np.linalg.inv(carriers) @ world)
    for side, moved in found.moved.items():
        if moved.any():
            _key_hand(by_side[side], at, found.hands[side], moved)


def is_keyed(prop: bpy.types.Object) -> bool:
    """Whether the prop has keys that `bake` wrote."""
    return kept_action.is_copy(prop, WHAT)


def released(props: Sequence[bpy.types.Object], rigs: Sequence[HandRig]) -> bool:
    """Give the props and the hands their own actions again; whether they had others."""
    found = False
    for prop in props:
        if kept_action.put_all_back(prop, WHAT):
            found = True
            if prop.animation_data.action is None and prop.get(_RESTED) is not None:
                prop.matrix_basis = Matrix([prop[_RESTED][4 * row : 4 * row + 4] for row in range(4)])
    for rig in rigs:
        if kept_action.put_all_back(rig.armature, WHAT):
            show_where_present(rig)
            found = True
    return found


_PROP_PATHS: Final = ("location", "rotation_quaternion", "rotation_euler")
_RESTED: Final = "duohand_rested"  # where a prop without an action stood


def _check(prop: bpy.types.Object, rigs: Sequence[HandRig], grips: Sequence[Grip], frames: range) -> None:
    for thing in (prop, *(rig.armature for rig in rigs)):
        if not thing.is_editable:
            raise RequestError(
                f"{thing.name} is linked from another file. Make a library override of it first."
            )
    if any(not item.mute and item.influence > 0 for item in prop.constraints):
        raise RequestError(f"{prop.name} follows constraints of its own. Apply or mute them first.")
    if prop.rotation_mode == "AXIS_ANGLE":
        raise RequestError(
            f"{prop.name} is rotated by axis and angle. Choose quaternions or Euler angles for it."
        )
    if not np.allclose(np.array(prop.delta_location), 0) or _turned_by_delta(prop):
        raise RequestError(f"{prop.name} has delta transforms. Apply them first (Object > Apply > Deltas).")
    fcurves.check_unlocked(prop, fcurves.active_channels(prop), _PROP_PATHS)
    holding = {grip.side for grip in grips}
    for rig in rigs:
        if rig.side in holding:
            check_unlocked(rig)
    sides = {rig.side for rig in rigs}
    for grip in grips:
        if grip.side not in sides:
            raise RequestError(f"The shot has no {('left', 'right')[grip.side]} hand to hold {prop.name}.")
        if not frames[0] <= grip.first <= grip.last <= frames[-1]:
            raise RequestError(
                f"The grip {grip.first}-{grip.last} is not inside the scene's range {frames[0]}-{frames[-1]}."
            )


def _turned_by_delta(prop: bpy.types.Object) -> bool:
    turn: Any = (
        prop.delta_rotation_quaternion
        if prop.rotation_mode == hand_keys.QUATERNION
        else prop.delta_rotation_euler.to_quaternion()
    )
    return not np.allclose(np.abs(np.array(turn)), (1, 0, 0, 0), atol=1e-6)


def _depth(prop: bpy.types.Object) -> int:
    """The number of objects above the prop."""
    return 0 if prop.parent is None else 1 + _depth(prop.parent)


def _prop_motion(scene: bpy.types.Scene, prop: bpy.types.Object, frames: range) -> tuple[Floats, Floats]:
    """World matrices (F, 4, 4) of the prop and of its carrier: world = carrier @ basis."""
    worlds, carriers = np.empty((len(frames), 4, 4)), np.empty((len(frames), 4, 4))
    with frame_kept(scene):
        for row, frame in enumerate(frames):
            scene.frame_set(frame)
            shown: Any = prop.evaluated_get(bpy.context.evaluated_depsgraph_get())
            worlds[row] = np.array(shown.matrix_world)
            carriers[row] = np.array(shown.matrix_world @ shown.matrix_basis.inverted_safe())
    return worlds, carriers


def _hand_frames(rig: HandRig, at: Floats) -> Floats:
    """The hand's frame (F, 4, 4) in the world."""
    motion = hand_motion(rig, at)
    found = np.tile(np.eye(4), (len(at), 1, 1))
    found[:, :3, :3], found[:, :3, 3] = motion.turns[HAND], motion.wrist
    return found


def _key_prop(prop: bpy.types.Object, at: Floats, basis: Floats) -> None:
    if prop.animation_data is None or prop.animation_data.action is None:
        prop[_RESTED] = [float(part) for row in prop.matrix_basis for part in row]
    channels = kept_action.working_copy(prop, WHAT)
    fcurves.write_keys(channels, "location", prop.name, fcurves.dense_keys(at, basis[:, :3, 3]))
    turns = basis[:, :3, :3] / np.linalg.norm(basis[:, :3, :3], axis=1, keepdims=True)
    rotations = quaternions.continuous(quaternions.from_matrix(turns))
    if prop.rotation_mode == hand_keys.QUATERNION:
        fcurves.write_keys(channels, "rotation_quaternion", prop.name, fcurves.dense_keys(at, rotations))
        return
    angles = eulers_from_quaternions(rotations[:, None], prop.rotation_mode)[:, 0]
    fcurves.write_keys(channels, "rotation_euler", prop.name, fcurves.dense_keys(at, angles))


def _key_hand(rig: HandRig, at: Floats, frames: Floats, moved: Any) -> None:
    """Key the hand's frames (F, 4, 4) where it was moved (F,); its other keys stay."""
    own = read_track(rig)
    track, there = track_at(own, at)
    led = moved_track(rig, track, frames[:, :3, 3], frames[:, :3, :3])
    rows = moved & there
    if not rows.any():
        return
    first, last = at[rows][0], at[rows][-1]
    whole = rows_of(led, (at >= first) & (at <= last) & there)
    whole = replace(whole, absent_after=whole.absent_after & (whole.frames < last))
    if not kept_action.is_copy(rig.armature, WHAT):  # another prop may have led the hand before
        kept_action.working_copy(rig.armature, WHAT)
    rest = ~inside(own, first, last)
    key_track(rig, merged(whole, rows_of(own, rest)) if rest.any() else whole)
