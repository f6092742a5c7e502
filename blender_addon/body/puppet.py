# SPDX-License-Identifier: GPL-3.0-or-later
"""Leads bones to given positions and rotations in the world while they are read, so that Blender computes their keys.

A rig's controls are children of bones that follow other controls. A temporary armature has a bone for each led one,
aligned with the world's axes at rest and keyed with its target; the led bones copy it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import bpy

from inference_core.shared import quaternions

from ..scene import fcurves, hand_keys
from ..scene.axes import Floats
from ..scene.hand_rig import edit_mode
from ..scene.shot import remove_object

_NAME: Final = "Duohand puppet"
_LENGTH: Final = 0.1


@contextmanager
def led(
    scene: bpy.types.Scene,
    target: bpy.types.Object,
    frames: Floats,
    turns: Mapping[str, Floats],
    places: Mapping[str, Floats],
) -> Iterator[None]:
    """While the context is open, the target's bones have these turns (F, 3, 3) and places (F, 3) on frames (F,)."""
    puppet = _puppet(scene, list(turns))
    constraints: list[tuple[str, Any]] = []
    try:
        channels = fcurves.assign_new_action(puppet, _NAME)
        for bone, matrices in turns.items():
            rotation = quaternions.continuous(quaternions.from_matrix(matrices))
            path = hand_keys.rotation_path(bone, hand_keys.QUATERNION)
            fcurves.write_keys(channels, path, bone, fcurves.dense_keys(frames, rotation))
            constraints.append((bone, _copy(target, bone, "COPY_ROTATION", puppet)))
            if bone in places:
                keys = fcurves.dense_keys(frames, places[bone])
                fcurves.write_keys(channels, hand_keys.location_path(bone), bone, keys)
                constraints.append((bone, _copy(target, bone, "COPY_LOCATION", puppet)))
        yield
    finally:
        for bone, constraint in constraints:
            target.pose.bones[bone].constraints.remove(constraint)
        remove_object(puppet)


def _puppet(scene: bpy.types.Scene, bones: list[str]) -> bpy.types.Object:
    data = bpy.data.armatures.new(_NAME)
    with edit_mode(data):
        for bone in bones:
            made = data.edit_bones.new(bone)
            made.head, made.tail, made.roll = (0, 0, 0), (0, _LENGTH, 0), 0
    puppet = bpy.data.objects.new(_NAME, data)
    scene.collection.objects.link(puppet)
    puppet.hide_render = True
    bpy.context.view_layer.update()
    return puppet


def _copy(target: bpy.types.Object, bone: str, kind: str, puppet: bpy.types.Object) -> Any:
    constraints: Any = target.pose.bones[bone].constraints
    constraint = constraints.new(kind)
    constraint.name = _NAME
    constraint.target, constraint.subtarget = puppet, bone
    constraint.target_space = constraint.owner_space = "WORLD"
    return constraint
