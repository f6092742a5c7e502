# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand poses as assets of the pose library: actions with one key per curve, as Blender's own tools expect them."""

from collections.abc import Iterator
from typing import Any, Final

import bpy
import numpy as np
from mathutils import Euler

from inference_core.shared.errors import RequestError
from inference_core.shared.presence import ABSENT

from ..scene import fcurves, hand_keys
from ..scene.axes import Floats
from ..scene.fcurves import dense_keys
from ..scene.hand_curves import HandRig
from ..scene.rest_bones import bone_names, side_name
from .hand_pose import HandPose
from .pose_picture import SIZE_PX, hand_picture

_KEY_AT: Final = np.array([1.0])


def save_pose(graph: bpy.types.Depsgraph, rig: HandRig, name: str, with_wrist: bool) -> bpy.types.Action:
    """The hand's current pose as a new asset of this file, with a picture.

    The wrist's rotation is only included on request. RequestError if the hand is absent on this frame.
    """
    armature = rig.armature
    if armature.get("presence", 1) == ABSENT:
        raise RequestError(f"{armature.name} is absent on this frame. Go to a frame in which it is seen.")
    channels = fcurves.new_action(armature, name)
    for bone in rig.names[0 if with_wrist else 1 :]:
        turn: Any = armature.pose.bones[bone].matrix_basis.to_quaternion()
        path = hand_keys.rotation_path(bone, hand_keys.QUATERNION)
        fcurves.write_keys(channels, path, bone, dense_keys(_KEY_AT, np.array([turn])))
        if rig.rotation_mode != hand_keys.QUATERNION:  # Blender's own tools apply what the bones are keyed in
            angles = turn.to_euler(rig.rotation_mode)
            path = hand_keys.rotation_path(bone, rig.rotation_mode)
            fcurves.write_keys(channels, path, bone, dense_keys(_KEY_AT, np.array([angles])))
    action: Any = channels.action
    action.asset_mark()
    action.asset_data.tags.new("hand")
    action.asset_data.tags.new(side_name(rig.side).lower())
    _draw_preview(graph, rig, action)
    return action


def pose_of(action: bpy.types.Action, rotation_mode: str) -> HandPose | None:
    """The pose of a hand's bones in the action, at its first frame; None if there is none.

    rotation_mode: the order of its angles, if it has no quaternions.
    """
    order = rotation_mode if rotation_mode != hand_keys.QUATERNION else "XYZ"
    for side in (0, 1):
        found = [_turn(action, bone, order) for bone in bone_names(side)]
        known = np.array([turn is not None for turn in found])
        if known.any():
            rest = np.array([1.0, 0, 0, 0])
            return HandPose(side, np.array([rest if turn is None else turn for turn in found]), known)
    return None


def holds_hand(action: bpy.types.Action) -> bool:
    """Whether the action keys a hand's bone."""
    names = {name for side in (0, 1) for name in bone_names(side)}
    return any(
        curve.data_path.startswith('pose.bones["') and curve.data_path.split('"')[1] in names
        for curve in _curves(action)
    )


def pose_from_library(path: str, name: str, rotation_mode: str) -> HandPose | None:
    """The pose of an asset in another file, of which nothing stays in this one. RequestError if it is not there."""
    libraries: Any = bpy.data.libraries
    known = set(libraries)
    try:
        with libraries.load(path, link=False) as (_there, here):
            here.actions = [name]
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error}") from error
    action: Any = here.actions[0]
    if action is None:
        raise RequestError(f"{path} has no pose {name}.")
    pose = pose_of(action, rotation_mode)
    bpy.data.batch_remove([action, *(set(libraries) - known)])
    return pose


def _turn(action: bpy.types.Action, bone: str, order: str) -> Floats | None:
    """(4,) the bone's rotation in the action, however it is keyed."""
    at = action.frame_range[0]
    quaternion = _values(action, hand_keys.rotation_path(bone, hand_keys.QUATERNION), at)
    if quaternion:
        turn = np.array([quaternion.get(index, float(index == 0)) for index in range(4)])
        return turn / max(float(np.linalg.norm(turn)), 1e-12)
    angles = _values(action, hand_keys.rotation_path(bone, order), at)
    if not angles:
        return None
    euler: Any = Euler([angles.get(index, 0.0) for index in range(3)], order)
    return np.array(euler.to_quaternion(), np.float64)


def _values(action: bpy.types.Action, path: str, frame: float) -> dict[int, float]:
    return {curve.array_index: curve.evaluate(frame) for curve in _curves(action) if curve.data_path == path}


def _curves(action: Any) -> Iterator[bpy.types.FCurve]:
    """All curves of the action, in whatever slot."""
    if not hasattr(action, "layers"):
        yield from action.fcurves
        return
    for layer in action.layers:
        for strip in layer.strips:
            for bag in strip.channelbags:
                yield from bag.fcurves


def _draw_preview(graph: bpy.types.Depsgraph, rig: HandRig, action: Any) -> None:
    """Give the asset a picture of the skin as it is now; none if the skin is not visible."""
    skin = rig.armature.duohand.skin
    if skin is None or not skin.visible_get():
        return
    shown = skin.evaluated_get(graph)
    mesh = shown.to_mesh()
    mesh.calc_loop_triangles()
    points = np.empty(3 * len(mesh.vertices), np.float32)
    triangles = np.empty(3 * len(mesh.loop_triangles), np.int32)
    mesh.vertices.foreach_get("co", points)
    mesh.loop_triangles.foreach_get("vertices", triangles)
    shown.to_mesh_clear()
    # The skin hangs from the armature, without a place of its own.
    bone = np.array(rig.armature.evaluated_get(graph).pose.bones[rig.names[0]].matrix, np.float64)
    seen = (points.reshape(-1, 3) - bone[:3, 3]) @ np.linalg.inv(bone[:3, :3]).T
    preview = action.preview_ensure()
    preview.image_size = (SIZE_PX, SIZE_PX)
    preview.image_pixels_float.foreach_set(hand_picture(seen, triangles.reshape(-1, 3)).ravel())
