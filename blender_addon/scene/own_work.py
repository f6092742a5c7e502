# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an animator has built on an object that a take made: then it stays though the take has no use for it."""

from collections.abc import Collection
from typing import Any, Final

import bpy

from . import camera as cameras
from . import fcurves, plate

_BONES: Final = 16


def on_hand(armature: bpy.types.Object) -> bool:
    """Whether the hand has bones, constraints, strips or modifiers besides its own, or other objects depend on it."""
    skin: Any = armature.duohand.skin
    things: list[Any] = [armature] if skin is None else [armature, skin]
    bones: Any = armature.pose.bones if armature.pose is not None else ()
    return (
        len(bones) > _BONES
        or any(bone.constraints or bone.custom_shape is not None for bone in bones)
        or _layers(armature, {armature.duohand.raw_action})
        or (skin is not None and any(item.type != "ARMATURE" for item in skin.modifiers))
        or any(thing.constraints for thing in things)
        or _used_elsewhere(things)
    )


def on_camera(camera: bpy.types.Object) -> bool:
    """Whether the camera has keys, constraints or strips besides its take's, or other objects depend on it."""
    data: Any = camera.data
    own = {*cameras.written_paths(camera), *cameras.written_paths(data), plate.offset_path(camera)}
    keyed = {curve.data_path for owner in (camera, data) for curve in fcurves.all_curves(owner)}
    return bool(keyed - own) or bool(camera.constraints) or _used_elsewhere([camera])


def _layers(owner: Any, known: Collection[Any]) -> bool:
    """Whether the owner has strips of other actions, or drivers."""
    data = owner.animation_data
    if data is None:
        return False
    strips = [strip for track in data.nla_tracks for strip in track.strips]
    return len(data.drivers) > 0 or any(strip.action not in known for strip in strips)


def _used_elsewhere(things: list[Any]) -> bool:
    """Whether other objects depend on these: children, constraints, modifiers, drivers."""
    users = bpy.data.user_map(subset=things, value_types={"OBJECT"})
    return any(
        user not in things and not user.duohand_kept.is_shot for thing in things for user in users[thing]
    )
