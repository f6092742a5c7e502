# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads body motion from a file as a keyed armature: BVH by Blender's importer, .npz of the SMPL family by ours."""

from pathlib import Path
from typing import Any, Final, Literal

import bpy
import numpy as np
from mathutils import Vector

from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError

from ..messages import said_by_blender
from ..scene import fcurves, hand_keys
from ..scene.axes import Y_UP_FROM_WORLD, Floats
from ..scene.hand_rig import edit_mode
from ..scene.shot import rate, units_per_metre
from .smplx_file import JOINTS, PARENTS, PELVIS_M, BodyMotion, read_body_motion, rest_joints

_USUAL_HEIGHT_M: Final = 1.7
# Metres, centimetres, millimetres, inches, and the units of the CMU motions.
_BVH_UNITS_M: Final = (1.0, 0.01, 0.001, 0.0254, 0.05644)
_TIP: Final = 0.6  # of the bone before: how long the last bone of a chain is drawn


_Axis = Literal["Y", "Z"]


def load_body(scene: bpy.types.Scene, path: Path) -> bpy.types.Object:
    """An armature with the file's motion, at the scene's frame rate. RequestError if the file cannot be read."""
    if not path.is_file():
        raise RequestError(f"There is no file {path}.")
    if path.suffix.lower() == ".bvh":
        return _load_bvh(scene, path)
    if path.suffix.lower() == ".npz":
        return _build(scene, path.stem, read_body_motion(path))
    raise RequestError(f"{path.name} is neither a .bvh nor an .npz file.")


def _load_bvh(scene: bpy.types.Scene, path: Path) -> bpy.types.Object:
    """BVH says nothing of its units and its up axis: they follow from how a person would stand in it."""
    body = _import_bvh(path, units_per_metre(scene), "Y")
    up, height = _stature(body)
    scale = min(
        _BVH_UNITS_M, key=lambda unit: abs(np.log(unit * height / units_per_metre(scene) / _USUAL_HEIGHT_M))
    )
    if up == "Z" and scale == 1.0:
        return body
    _remove(body)
    return _import_bvh(path, scale * units_per_metre(scene), "Y" if up == "Z" else "Z")


def _import_bvh(path: Path, scale: float, up: _Axis) -> bpy.types.Object:
    before = set(bpy.data.objects)
    try:
        bpy.ops.import_anim.bvh(
            filepath=str(path),
            rotate_mode="NATIVE",
            use_fps_scale=True,
            update_scene_duration=False,
            global_scale=scale,
            axis_up=up,
            axis_forward="-Z" if up == "Y" else "Y",
        )
    except (RuntimeError, AttributeError) as error:
        raise RequestError(f"Blender could not import {path}: {said_by_blender(error)}.") from error
    made = [thing for thing in bpy.data.objects if thing not in before and thing.type == "ARMATURE"]
    if not made:
        raise RequestError(f"Blender found no skeleton in {path}.")
    return made[0]


def _stature(body: bpy.types.Object) -> tuple[_Axis, float]:
    """The axis of the world, Y or Z, along which the resting body stands, and its height along it."""
    data: Any = body.data
    world = np.array(body.matrix_world, np.float64)[:3, :3]
    ends = np.array([end for bone in data.bones for end in (bone.head_local, bone.tail_local)], np.float64)
    heads = [bone for bone in data.bones if "head" in bone.name.lower() or "neck" in bone.name.lower()]
    root = next(bone for bone in data.bones if bone.parent is None)
    extent = np.ptp(ends @ world.T, axis=0)
    trunk = np.zeros(3) if not heads else world @ np.array(heads[0].head_local - root.head_local, np.float64)
    up = 1 if abs(trunk[1]) > abs(trunk[2]) else 2
    return ("Y" if up == 1 else "Z"), float(extent[up]) or 1.0


def _remove(body: bpy.types.Object) -> None:
    data: Any = body.data
    action = body.animation_data.action if body.animation_data else None
    bpy.data.objects.remove(body)
    bpy.data.armatures.remove(data)
    if action is not None:
        bpy.data.actions.remove(action)


def _build(scene: bpy.types.Scene, name: str, motion: BodyMotion) -> bpy.types.Object:
    scale = units_per_metre(scene)
    data = bpy.data.armatures.new(name)
    with edit_mode(data):
        _make_bones(data, scale)
    body = bpy.data.objects.new(name, data)
    scene.collection.objects.link(body)
    bpy.context.view_layer.update()  # an armature without a pose ends Blender when it gets an action's slot
    frames = scene.frame_start + np.arange(len(motion.trans_m)) / motion.fps * rate(scene)
    _key(body, motion, frames, scale)
    return body


def _make_bones(data: Any, scale: float) -> None:
    heads = {joint: place @ Y_UP_FROM_WORLD * scale for joint, place in rest_joints().items()}
    children: dict[str, list[str]] = {}
    for joint, parent in PARENTS.items():
        children.setdefault(parent, []).append(joint)
    for joint in JOINTS:
        bone = data.edit_bones.new(joint)
        bone.head = Vector(heads[joint].tolist())
        bone.tail = Vector(_tail(joint, heads, children).tolist())
        if joint in PARENTS:
            bone.parent = data.edit_bones[PARENTS[joint]]


def _tail(joint: str, heads: dict[str, Floats], children: dict[str, list[str]]) -> Floats:
    """The end of a bone, where its chain continues: at the middle one of several children."""
    below = children.get(joint, [])
    ahead = {"pelvis": "spine1", "spine3": "neck"}.get(joint) or next(
        (name for name in below if name.endswith("middle1")), below[0] if below else None
    )
    if ahead is not None:
        return heads[ahead]
    return heads[joint] + _TIP * (heads[joint] - heads[PARENTS[joint]])


def _key(body: bpy.types.Object, motion: BodyMotion, frames: Floats, scale: float) -> None:
    """Key rotations relative to the parents, converted from the joints' common axes to the bones' own."""
    channels = fcurves.assign_new_action(body, body.name)
    turns = motion.rotations_wxyz.copy()
    places = motion.trans_m + PELVIS_M
    if motion.z_up:  # the file's world is Blender's already: only the joints' own axes have y up
        turns[:, 0] = quaternions.multiply(quaternions.from_matrix(Y_UP_FROM_WORLD), turns[:, 0])
        places = places @ Y_UP_FROM_WORLD.T
    data: Any = body.data
    for index, joint in enumerate(JOINTS):
        rest = np.array(data.bones[joint].matrix_local, np.float64)[:3, :3]
        into = rest.T @ Y_UP_FROM_WORLD.T  # from the joints' axes to the bone's
        turned = np.concatenate([turns[:, index, :1], turns[:, index, 1:] @ into.T], 1)
        path = hand_keys.rotation_path(joint, hand_keys.QUATERNION)
        keys = fcurves.dense_keys(frames, quaternions.continuous(turned))
        fcurves.write_keys(channels, path, joint, keys)
        if joint == JOINTS[0]:
            keys = fcurves.dense_keys(frames, places @ into.T * scale)
            fcurves.write_keys(channels, hand_keys.location_path(joint), joint, keys)
