# SPDX-License-Identifier: GPL-3.0-or-later
"""Constraints that make another armature follow the captured hands live, until it is baked or released.

For each mapped bone, a hidden empty is parented to the captured bone, with a rotation that the other bone can copy in
world space. If the hand itself is not driven, the empties are parented to a stand-in whose wrist follows the other
armature's hand: the fingers then move relative to that hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import bpy
import numpy as np
from mathutils import Matrix

from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError

from ..scene import fcurves
from ..scene.axes import Floats
from ..scene.hand_curves import HandRig
from ..scene.range_keys import Span, bone_paths, write_location, write_rotation
from ..scene.unkeyed import frame_kept
from . import arms
from .alignment import Frames, anatomical_frames, carried_rest
from .bone_map import HAND, BoneMap, side_of

MARK: Final = "Duohand"  # the name of our constraints
_CARRIERS: Final = "Duohand retarget"
_LOOKED_AT: Final = 5  # frames on which the result of a bake is compared
_OFF_RAD: Final = 0.01


@dataclass(frozen=True)
class RetargetSettings:
    """What is driven besides the fingers: the hand's rotation and location."""

    with_hand: bool = True
    with_location: bool = False


@dataclass(frozen=True)
class HandAtRest:
    """Bones of one hand of an armature at rest in the world, by our names without the side."""

    heads: dict[str, Floats]
    tails: dict[str, Floats]
    turns: dict[str, Floats]


def follow(rig: HandRig, target: bpy.types.Object, bones: BoneMap, settings: RetargetSettings) -> int:
    """Constrain the target's mapped bones of the rig's side; how many there are. Earlier constraints are replaced."""
    mine = {name[:-2]: bone for name, bone in bones.items() if side_of(name) == rig.side and bone}
    missing = [bone for bone in mine.values() if bone not in target.pose.bones]
    if missing:
        raise RequestError(f"{target.name} has no bone {missing[0]}. Correct the bone map.")
    if target == rig.armature:
        raise RequestError("The captured hand cannot follow itself. Choose another armature.")
    if not target.is_editable:
        raise RequestError(f"{target.name} is linked from another file. Make a library override of it first.")
    arm = arms.arm_of(target, mine.get(HAND, ""))
    release(target, [*mine.values(), *([arm.chain.fore[-1]] if arm is not None else [])])
    source, other = (
        hand_at_rest(rig.armature, {name[:-2]: name for name in rig.names}),
        hand_at_rest(target, mine),
    )
    frames = anatomical_frames(source.heads, source.tails, rig.side)
    target_frames = anatomical_frames(other.heads, other.tails, rig.side)
    collection = _carrier_collection(rig.shot)
    leader = rig.armature
    if not settings.with_hand:
        leader = _stand_in(rig, target, mine, (frames, target_frames), source, collection)
    suffix = rig.names[0][-2:]
    followed = 0
    for name, bone in mine.items():
        if name == HAND and not settings.with_hand:
            continue
        turn = carried_rest(frames[name], target_frames[name], other.turns[bone])
        empty = _carrier(leader, f"{name}{suffix}", f"{target.name} {bone}", turn, collection)
        _copy(target.pose.bones[bone], "COPY_ROTATION", empty)
        followed += 1
        if name == HAND and settings.with_location and arm is not None:
            arms.follow_by_arm(rig, target, arm, MARK, collection)
            followed += len(arm.chain.upper) + len(arm.chain.fore)
        elif name == HAND and settings.with_location:
            copy = _copy(target.pose.bones[bone], "COPY_LOCATION", leader)
            copy.subtarget = f"{name}{suffix}"
    return followed


def with_hands_in_use(bones: BoneMap, target: bpy.types.Object) -> BoneMap:
    """The map with each Rigify hand replaced by the control that currently moves it: FK or IK."""
    found = dict(bones)
    for name, bone in bones.items():
        side = bone.removeprefix("hand_fk")
        switch = target.pose.bones.get(f"upper_arm_parent{side}")
        control = f"hand_ik{side}"
        if bone == f"hand_fk{side}" and switch is not None and control in target.pose.bones:
            found[name] = control if float(switch.get("IK_FK", 1.0)) < 0.5 else bone
    return found


@dataclass(frozen=True)
class Baked:
    """How many bones were keyed; those that show something else afterwards, with what is in the way."""

    bones: int
    off: dict[str, str]


def bake(scene: bpy.types.Scene, target: bpy.types.Object, frames: range) -> Baked:
    """Key the motion of the target's following bones on these frames and remove the constraints.

    Bones keep their rotation modes, and keys outside the frames stay.
    """
    bones = following(target)
    if not bones:
        raise RequestError(f"{target.name} follows no captured hand. Retarget it first.")
    if not target.visible_get():  # Blender does not evaluate constraints of hidden objects
        raise RequestError(
            f"{target.name} is hidden or in no collection of this view layer. Show it to bake it."
        )
    fcurves.check_unlocked(target, fcurves.active_channels(target), bone_paths(bones))
    shown = shown_motion(scene, target, bones, frames)
    channels = _local_channels(target)
    span = Span(np.array(frames, np.float64), (False, False))
    for bone, (locations, turns) in shown.items():
        pose_bone = target.pose.bones[bone]
        if any(item.type == "COPY_LOCATION" for item in _ours(pose_bone)):
            write_location(channels, pose_bone, span, locations)
        write_rotation(channels, pose_bone, span, turns)
    release(target, bones)
    return Baked(len(bones), _off(scene, target, shown, frames))


def _off(
    scene: bpy.types.Scene,
    target: bpy.types.Object,
    baked: Mapping[str, tuple[Floats, Floats]],
    frames: range,
) -> dict[str, str]:
    """Bones that do not show what was keyed on some of the frames, with what is in the way."""
    rows = np.unique(np.linspace(0, len(frames) - 1, _LOOKED_AT).astype(int))
    off: dict[str, str] = {}
    for row in rows.tolist():
        now = shown_motion(scene, target, list(baked), frames[row : row + 1])
        for bone, (_, turns) in baked.items():
            if quaternions.angle_between(turns[row], now[bone][1][0]) > _OFF_RAD:
                off.setdefault(bone, _in_the_way(target, bone))
    return off


def _in_the_way(target: bpy.types.Object, bone: str) -> str:
    """What changes a keyed bone's rotation."""
    data: Any = target.animation_data
    if any(driver.data_path in bone_paths([bone]) for driver in data.drivers):
        return "a driver"
    constraints: Any = target.pose.bones[bone].constraints
    active = next((item for item in constraints if not item.mute and item.influence > 0), None)
    if active is not None:
        return f"the constraint {active.name}"
    return "an NLA track, a muted curve or another bone's inverse kinematics"


def _local_channels(target: bpy.types.Object) -> fcurves.Channels:
    """The target's curves in this file. An action from a library, whose new keys would be lost, is copied first; so is
    one that also moves something else.
    """
    channels = fcurves.active_channels(target)
    if channels is None:
        return fcurves.assign_new_action(target, f"{target.name} hands")
    shared = channels.action.library is not None or fcurves.moves_others(channels, (target,))
    return fcurves.assign_copy(target, channels) if shared else channels


def following(target: bpy.types.Object) -> list[str]:
    """Names of the target's bones that follow a captured hand, and of the arms that reach for one."""
    found: list[str] = []
    for bone in target.pose.bones:
        for constraint in _ours(bone):
            count = constraint.chain_count if constraint.type == "IK" else 1
            found += [item.name for item in arms.reaching(bone, count)]
    return list(dict.fromkeys(found))


def release(target: bpy.types.Object, bones: list[str]) -> None:
    """Remove these bones' constraints, and the helpers that only they used."""
    carriers: list[bpy.types.Object] = []
    for name in bones:
        pose_bone = target.pose.bones[name]
        for constraint in _ours(pose_bone):
            if constraint.type == "COPY_ROTATION" and constraint.target is not None:
                carriers.append(constraint.target)
            if constraint.type == "IK":
                arms.loosen(arms.reaching(pose_bone, constraint.chain_count))
            if constraint.type == "IK" and constraint.pole_target is not None:
                arms.remove_pole(constraint.pole_target)
            pose_bone.constraints.remove(constraint)
    leaders = {carrier.parent for carrier in carriers}
    for carrier in dict.fromkeys(carriers):
        bpy.data.objects.remove(carrier)
    for leader in leaders:
        if leader is not None and leader.get("duohand_stand_in") and not leader.children:
            _remove_stand_in(leader)


def shown_motion(
    scene: bpy.types.Scene, target: bpy.types.Object, bones: list[str], frames: range
) -> dict[str, tuple[Floats, Floats]]:
    """Locations (F, 3) and rotations (F, 4) of each bone relative to rest, as constrained."""
    found = {bone: (np.empty((len(frames), 3)), np.empty((len(frames), 4))) for bone in bones}
    with frame_kept(scene):
        for row, frame in enumerate(frames):
            scene.frame_set(frame)
            shown: Any = target.evaluated_get(bpy.context.evaluated_depsgraph_get())
            for bone, (locations, turns) in found.items():
                pose_bone = shown.pose.bones[bone]
                basis = shown.convert_space(
                    pose_bone=pose_bone, matrix=pose_bone.matrix, from_space="POSE", to_space="LOCAL"
                )
                locations[row], turns[row] = basis.to_translation(), basis.to_quaternion()
    return found


def hand_at_rest(armature: bpy.types.Object, bones: Mapping[str, str]) -> HandAtRest:
    """The bones at rest in the world; twist bones have both names."""
    world = np.array(armature.matrix_world.normalized(), np.float64)
    data: Any = armature.data
    heads, tails, turns = {}, {}, {}
    for name, bone_name in bones.items():
        bone = data.bones[bone_name]
        heads[name] = world[:3, :3] @ np.array(bone.head_local) + world[:3, 3]
        tails[name] = world[:3, :3] @ np.array(bone.tail_local) + world[:3, 3]
        turn = world[:3, :3] @ np.array(bone.matrix_local, np.float64)[:3, :3]
        turns[name] = turns[bone_name] = turn
    return HandAtRest(heads, tails, turns)


def _carrier(
    leader: bpy.types.Object, bone: str, name: str, turn: Floats, collection: bpy.types.Collection
) -> bpy.types.Object:
    """A hidden empty fixed to the leader's bone, with rotation `turn` in the world while that bone is at rest."""
    empty = bpy.data.objects.new(f"{MARK} {name}", None)
    collection.objects.link(empty)
    empty.parent, empty.parent_type, empty.parent_bone = leader, "BONE", bone
    data: Any = leader.data
    rest = np.array(leader.matrix_world.normalized() @ data.bones[bone].matrix_local, np.float64)[:3, :3]
    empty.matrix_basis = Matrix((rest.T @ turn).tolist()).to_4x4()
    empty.empty_display_size = 0.01
    empty.hide_viewport = empty.hide_render = True
    return empty


def _copy(pose_bone: bpy.types.PoseBone, kind: str, target: bpy.types.Object) -> Any:
    constraints: Any = pose_bone.constraints
    constraint = constraints.new(kind)
    constraint.name = MARK
    constraint.target = target
    constraint.target_space = constraint.owner_space = "WORLD"
    return constraint


def _ours(pose_bone: bpy.types.PoseBone) -> list[Any]:
    return [item for item in pose_bone.constraints if item.name.startswith(MARK)]


def _stand_in(
    rig: HandRig,
    target: bpy.types.Object,
    mine: Mapping[str, str],
    frames: tuple[Frames, Frames],
    source: HandAtRest,
    collection: bpy.types.Collection,
) -> bpy.types.Object:
    """A copy of the captured armature whose wrist rotates with the target's hand."""
    if HAND not in mine:
        raise RequestError("To move only the fingers, the bone map must name the hand. Add it.")
    stand_in: Any = rig.armature.copy()
    stand_in.name = f"{MARK} stand-in {rig.armature.name}"
    stand_in["duohand_stand_in"] = True
    stand_in.duohand.side = "NONE"
    collection.objects.link(stand_in)
    stand_in.hide_viewport = stand_in.hide_render = True
    turn = carried_rest(frames[1][HAND], frames[0][HAND], source.turns[HAND])
    empty = _carrier(target, mine[HAND], f"{stand_in.name} wrist", turn, collection)
    _copy(stand_in.pose.bones[rig.names[0]], "COPY_ROTATION", empty)
    return stand_in


def _remove_stand_in(stand_in: bpy.types.Object) -> None:
    for pose_bone in stand_in.pose.bones:
        for constraint in _ours(pose_bone):
            bpy.data.objects.remove(constraint.target)
    bpy.data.objects.remove(stand_in)


def _carrier_collection(shot: bpy.types.Collection) -> bpy.types.Collection:
    """The shot's collection of helper empties."""
    for child in shot.children:
        if child.name.startswith(_CARRIERS):
            return child
    made = bpy.data.collections.new(_CARRIERS)
    shot.children.link(made)
    return made
