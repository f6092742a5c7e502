# SPDX-License-Identifier: GPL-3.0-or-later
"""The armature of one hand: sixteen bones of true length, flexing about their local X."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from .axes import Floats
from .rest_bones import RestBones

# Blender's own colour sets: red for the left hand, blue for the right, as in Rigify.
_SIDE_PALETTES = ("THEME01", "THEME04")
_SAME_PLACE = 1e-6


def refitted(old: bpy.types.Armature, bones: RestBones, side: int) -> bpy.types.Armature:
    """The armature with these bones, in which an animator's own bones, collections and colours stay.

    A copy if something else uses it; a new one if some of these bones are not there.
    """
    if not old.is_editable or not set(bones.names) <= set(old.bones.keys()):
        return _new_armature(old.name, bones, side)
    data: Any = old if old.users == 1 else old.copy()
    _place_bones(data, bones)
    return data


def _new_armature(name: str, bones: RestBones, side: int) -> bpy.types.Armature:
    data = bpy.data.armatures.new(name)
    _place_bones(data, bones)
    for bone in data.bones:
        bone.color.palette = _SIDE_PALETTES[side]
    data.display_type = "OCTAHEDRAL"
    return data


def _place_bones(data: Any, bones: RestBones) -> None:
    with edit_mode(data):
        placed = [data.edit_bones.get(name) or data.edit_bones.new(name) for name in bones.names]
        for bone in placed:
            bone.use_connect = False
        for index, bone in enumerate(placed):
            bone.head, bone.tail = Vector(bones.heads[index]), Vector(bones.tails[index])
            bone.align_roll(Vector(bones.palmward[index]))
            if bones.parents[index] >= 0:
                bone.parent = data.edit_bones[bones.names[bones.parents[index]]]
                bone.use_connect = (bone.parent.tail - bone.head).length < _SAME_PLACE


def rest_frames(data: bpy.types.Armature, names: tuple[str, ...]) -> Floats:
    """Frames (16, 3, 3) of the bones at rest in their armature, columns X, Y, Z."""
    return np.array([np.array(data.bones[name].matrix_local)[:3, :3] for name in names], np.float64)


def fits(data: bpy.types.Armature, bones: RestBones) -> bool:
    """Whether the armature has these bones in these places, and perhaps others of an animator's own."""
    if not set(bones.names) <= set(data.bones.keys()):
        return False
    places = np.array([[*data.bones[name].head_local, *data.bones[name].tail_local] for name in bones.names])
    frames = rest_frames(data, bones.names)
    turned = np.abs((frames[:, :, 2] * bones.palmward).sum(1) - 1).max()
    return bool(np.abs(places - np.hstack([bones.heads, bones.tails])).max() < _SAME_PLACE and turned < 1e-5)


@contextmanager
def edit_mode(data: bpy.types.Armature) -> Iterator[None]:
    """A context with the armature in edit mode, the only way to make bones, through a temporary object.

    The object is in the scene's root collection, which is always editable, whatever else is hidden. Afterwards the
    user's object is in its previous mode again.
    """
    context = bpy.context
    layer, previous = context.view_layer, context.view_layer.objects.active
    mode = previous.mode if previous is not None else "OBJECT"
    if mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    carrier = bpy.data.objects.new(data.name, data)
    context.scene.collection.objects.link(carrier)
    try:
        layer.objects.active = carrier
        bpy.ops.object.mode_set(mode="EDIT")
        yield
        bpy.ops.object.mode_set(mode="OBJECT")
    finally:
        bpy.data.objects.remove(carrier)
        layer.objects.active = previous
        if mode != "OBJECT":
            bpy.ops.object.mode_set(mode=mode)
