# SPDX-License-Identifier: GPL-3.0-or-later
"""A character's arms: their length, where their hands would be, and how they follow by inverse kinematics."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import bpy
import numpy as np
from mathutils import Matrix, Vector

from inference_core.shared.errors import RequestError
from inference_core.shared.take import TakeError, load_take

from ..scene import fcurves
from ..scene.axes import Floats
from ..scene.hand_curves import HandRig, read_track
from ..scene.paths import take_file
from ..scene.shot import cut_frames, place_of, shot_timing
from .arm_chain import ArmChain, arm_chain
from .bone_map import HAND, SUFFIXES, BoneMap
from .elbows import Forearms, forearms_of, poles

# An adult's arm from shoulder to wrist, in the proportion of the takes' hands.
USUAL_ARM_M: Final = 0.55
# Hands are held in front of the chest and below the shoulders by these shares of the arm.
_BEFORE, _BELOW = 0.6, 0.35
_BACK = 0.6  # the elbow points down, and backwards by this share
_STRAIGHT_RAD, _BENT_RAD = 0.05, 0.3
_LOCKS: Final = "duohand_ik_locks"
_AXES: Final = ("lock_ik_x", "lock_ik_y", "lock_ik_z")
_MEETS: Final = 0.05  # ends of bones closer than this share of their length are one joint


@dataclass(frozen=True)
class Arm:
    """An arm's bones, and its joints (3,) at rest in the world."""

    chain: ArmChain
    shoulder: Floats
    elbow: Floats
    wrist: Floats

    @property
    def length(self) -> float:
        """From shoulder to wrist, stretched."""
        return float(np.linalg.norm(self.elbow - self.shoulder) + np.linalg.norm(self.wrist - self.elbow))


def arm_of(target: bpy.types.Object, hand: str) -> Arm | None:
    """The arm that ends in the hand bone, if its bones are joined end to end; else None."""
    data: Any = target.data
    chain = arm_chain(data, hand) if hand in data.bones else None
    if chain is None:
        return None
    bones = [data.bones[name] for name in (*chain.upper, *chain.fore, hand)]
    if not all(_joined(first, second) for first, second in pairwise(bones)):
        return None
    world = target.matrix_world
    ends = (bones[0], data.bones[chain.fore[0]], bones[-1])
    return Arm(chain, *(np.array(world @ item.head_local, np.float64) for item in ends))


def place_at(
    collection: bpy.types.Collection, rigs: list[HandRig], target: bpy.types.Object, bones: BoneMap
) -> float:
    """Place the shot in front of the character's chest, with its orientation and scaled
    to its arms; returns the scale.

    The filmed person faces the camera; then so does the character. RequestError if it does not have two arms.
    """
    left, right = (_arm_at(target, bones.get(f"{HAND}{suffix}", "")) for suffix in SUFFIXES)
    if left is None or right is None:
        raise RequestError(
            f"{target.name} has no two arms of upper arm, forearm and hand joined end to end. "
            "Place the shot's empty by hand."
        )
    place_of(collection).matrix_world, scale = placement(rigs, left, right)
    return scale


def _arm_at(target: bpy.types.Object, hand: str) -> Arm | None:
    """The arm that ends in the hand bone, or, where that is a control of its own, in another bone at its place."""
    data: Any = target.data
    bone = data.bones.get(hand)
    if bone is None:
        return None
    near = [
        item
        for item in data.bones
        if (item.head_local - bone.head_local).length < _MEETS * max(bone.length, 1e-9)
    ]
    arms = (arm_of(target, item.name) for item in (bone, *near))
    return next((arm for arm in arms if arm is not None), None)


def placement(rigs: list[HandRig], left: Arm, right: Arm) -> tuple[Matrix, float]:
    """The world's matrix of a shot before the chest between these arms, and its scale.

    The filmed person faces the camera; so does the character then.
    """
    length = (left.length + right.length) / 2
    scale = length / (USUAL_ARM_M * rigs[0].shot.duohand.scale)
    across = left.shoulder - right.shoulder
    up = np.array([0.0, 0.0, 1.0])
    forward = np.cross(across, up)
    forward /= max(float(np.linalg.norm(forward)), 1e-9)
    chest = (left.shoulder + right.shoulder) / 2 + length * (_BEFORE * forward - _BELOW * up)
    angle = float(np.arctan2(forward[0], -forward[1]))  # from -Y, where a filmed person looks
    turn = Matrix.Rotation(angle, 4, "Z") @ Matrix.Scale(scale, 4)
    middle = turn.to_3x3() @ _middle_of(rigs)
    turn.translation = Matrix.Translation(chest.tolist()).translation - middle
    return turn, scale


def follow_by_arm(
    rig: HandRig, target: bpy.types.Object, arm: Arm, name: str, collection: bpy.types.Collection
) -> None:
    """Let the forearm reach for the captured wrist, with the elbow as in the take, else as at rest."""
    pole: Any = bpy.data.objects.new(f"{name} {target.name} {arm.chain.fore[0]} elbow", None)
    collection.objects.link(pole)
    pole.empty_display_size = 0.01
    pole.hide_viewport = pole.hide_render = True
    usual = usual_elbow(rig.side, arm)
    local: Any = target.matrix_world.inverted() @ Vector((arm.elbow + arm.length * usual).tolist())
    forearms = filmed_forearms(rig)
    if forearms is None:
        pole.parent = target
        pole.matrix_basis = Matrix.Translation(local)
    else:
        _key_pole(rig, pole, arm, forearms, usual)
    _bend(target, arm, local)
    last: Any = target.pose.bones[arm.chain.fore[-1]]
    reach = last.constraints.new("IK")
    reach.name, reach.target, reach.subtarget = name, rig.armature, rig.names[0]
    above = [last, *last.parent_recursive]
    reach.chain_count = 1 + [bone.name for bone in above].index(arm.chain.upper[0])
    reach.use_stretch = False
    for bone in above[: reach.chain_count]:
        if bone.name not in (arm.chain.upper[0], arm.chain.fore[0]):
            _stiffen(bone)
    reach.pole_target, reach.pole_angle = pole, _pole_angle(target, arm, local)


def _stiffen(bone: Any) -> None:
    """Let the bone turn with its parent: an arm bends at shoulder and elbow alone. `loosen` restores it."""
    bone[_LOCKS] = [int(getattr(bone, lock)) for lock in _AXES]
    for lock in _AXES:
        setattr(bone, lock, True)


def loosen(bones: Iterable[Any]) -> None:
    """Give bones that were stiffened their own settings back."""
    for bone in bones:
        if bone.get(_LOCKS) is not None:
            for lock, value in zip(_AXES, bone[_LOCKS], strict=True):
                setattr(bone, lock, bool(value))
            del bone[_LOCKS]


def reaching(bone: Any, chain_count: int) -> list[Any]:
    """The bones of an arm that reaches by a constraint on this, its last one."""
    return [bone, *bone.parent_recursive][:chain_count]


def remove_pole(pole: bpy.types.Object) -> None:
    """Delete the target that an elbow pointed to, with its keys."""
    channels = fcurves.active_channels(pole)
    bpy.data.objects.remove(pole)
    if channels is not None:
        fcurves.remove_if_unused(channels.action)


def usual_elbow(side: int, arm: Arm) -> Floats:
    """(3,) the direction of the elbow at rest; down and back if the arm is straight."""
    across = arm.wrist - arm.shoulder
    out = arm.elbow - arm.shoulder
    out = out - (out @ across) / max(float(across @ across), 1e-12) * across
    if np.linalg.norm(out) > _STRAIGHT_RAD / 4 * arm.length:  # bent by more than that at the elbow
        return out / np.linalg.norm(out)
    up = np.array([0.0, 0.0, 1.0])
    back = np.cross(up, across) * (-1.0 if side else 1.0)
    return _BACK * back / max(float(np.linalg.norm(back)), 1e-9) - up


def filmed_forearms(rig: HandRig) -> Forearms | None:
    """The forearm of the take's own arm; None if the take is gone or has none."""
    try:
        take = load_take(take_file(rig.shot))
    except TakeError:
        return None
    frames = shot_timing(rig.shot).scene_frames(take.time_s, take.frame)
    return forearms_of(take, rig.side, np.asarray(frames, np.float64), cut_frames(rig.shot))


def _key_pole(rig: HandRig, pole: Any, arm: Arm, forearms: Forearms, usual: Floats) -> None:
    """Parent the pole to the shot's empty, which may be moved later, and key it on the hand's frames."""
    pole.parent = rig.shot.duohand.place
    local = np.array(pole.parent.matrix_world.inverted(), np.float64)
    wrists = _wrists(rig) @ local[:3, :3].T + local[:3, 3]
    shoulder = local[:3, :3] @ arm.shoulder + local[:3, 3]
    track = read_track(rig)
    points = poles(forearms, track.frames, wrists, shoulder, local[:3, :3] @ usual)
    keys = fcurves.dense_keys(track.frames, points)
    keys.interpolation[track.apart_after] = fcurves.CONSTANT
    channels = fcurves.assign_new_action(pole, pole.name)
    fcurves.write_keys(channels, "location", pole.name, keys)


def _bend(target: bpy.types.Object, arm: Arm, pole: Vector) -> None:
    """Bend a straight arm slightly, away from the pole: inverse kinematics cannot bend a straight one."""
    data: Any = target.data
    upper, fore = data.bones[arm.chain.upper[-1]], data.bones[arm.chain.fore[0]]
    along = fore.tail_local - fore.head_local
    if along.angle(upper.tail_local - upper.head_local) > _STRAIGHT_RAD:
        return
    axis = fore.matrix_local.to_3x3().inverted() @ (pole - fore.head_local).cross(along)
    target.pose.bones[arm.chain.fore[0]].matrix_basis = Matrix.Rotation(_BENT_RAD, 4, axis.normalized())


def out_of_reach(rig: HandRig, arm: Arm) -> int:
    """The number of keyed frames on which the captured wrist is farther from the shoulder than the arm is long."""
    return int((np.linalg.norm(_wrists(rig) - arm.shoulder, axis=-1) > arm.length).sum())


def _pole_angle(target: bpy.types.Object, arm: Arm, pole: Vector) -> float:
    """The pole angle at which the arm at rest is not twisted about its length."""
    data: Any = target.data
    upper, fore = data.bones[arm.chain.upper[0]], data.bones[arm.chain.fore[-1]]
    normal = (fore.tail_local - upper.head_local).cross(pole - upper.head_local)
    along = upper.tail_local - upper.head_local
    towards = normal.cross(along)
    x_axis = upper.matrix_local.to_3x3().col[0]
    angle = x_axis.angle(towards)
    return -angle if x_axis.cross(towards).angle(along) < 1 else angle


def _joined(first: Any, second: Any) -> bool:
    return (first.tail_local - second.head_local).length < _MEETS * first.length


def _wrists(rig: HandRig) -> Floats:
    """(K, 3) the wrist in the world on the keyed frames."""
    data: Any = rig.armature.data
    carrier = np.array(rig.armature.matrix_world @ data.bones[rig.names[0]].matrix_local, np.float64)
    return read_track(rig).location @ carrier[:3, :3].T + carrier[:3, 3]


def _middle_of(rigs: list[HandRig]) -> Any:
    """The wrists' mean position over the shot, in the axes of the shot's empty."""
    place = place_of(rigs[0].shot).matrix_world.copy()
    points = np.concatenate([_wrists(rig) for rig in rigs])
    return place.inverted() @ Matrix.Translation(np.median(points, axis=0).tolist()).translation
