# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a hand or a shot's own camera still moves as its take was loaded. What an animator changed is kept before a
take replaces it.
"""

from collections.abc import Collection
from typing import Any

import bpy

from inference_core.shared.errors import RequestError

from . import camera as cameras
from . import fcurves, plate, shot
from .fcurves import Channels
from .hand_channels import hand_channels
from .hand_curves import moving_paths
from .rest_bones import bone_names


def remember(armature: bpy.types.Object, side: int) -> None:
    """Note the hand's current motion as its take's."""
    armature.duohand.loaded_motion = _digest(hand_channels(armature), side)


def is_as_loaded(armature: bpy.types.Object, side: int) -> bool:
    """Whether no key of the hand's motion has changed since a take was loaded; not where the NLA mutes it."""
    try:
        return armature.duohand.loaded_motion == _digest(hand_channels(armature), side)
    except RequestError:
        return False


def remember_raw(armature: bpy.types.Object) -> None:
    """Note the hand's current motion before the solve as its take's."""
    armature.duohand.loaded_raw = _raw_digest(armature)


def raw_is_as_loaded(armature: bpy.types.Object) -> bool:
    """Whether no key of the hand's motion before the solve has changed since a take was loaded."""
    return armature.duohand.loaded_raw == _raw_digest(armature)


def remember_camera(collection: bpy.types.Collection) -> None:
    """Note the current motion, lens and plate of the shot's own camera as its take's."""
    kept = collection.duohand
    if kept.camera is not None and not kept.own_camera:
        owner = kept.camera.duohand
        owner.loaded_motion, owner.loaded_lens = _camera_digests(kept.camera)


def camera_is_as_loaded(collection: bpy.types.Collection) -> bool:
    """Whether no key that a take gave the shot's own camera has changed since."""
    return not _edited_camera(collection)


def keep_edited(collection: bpy.types.Collection) -> list[str]:
    """Keep a copy of the action of each hand and own camera of the shot whose motion was edited; a line for each.

    Actions with a fake user stay anyway, because a take is keyed on a copy of them.
    """
    found: dict[Any, str] = {}  # camera and lens may share an action
    for side, armature in shot.armatures(collection).items():
        raw = armature.duohand.raw_action
        if raw is not None and armature.duohand.loaded_raw and not raw_is_as_loaded(armature):
            remember_raw(armature)
            found.setdefault(raw, f"{armature.name} raw")
        channels = hand_channels(armature)
        if channels is None or is_as_loaded(armature, side):
            continue
        remember(armature, side)
        found.setdefault(channels.action, armature.name)
    for name, channels in _edited_camera(collection).items():
        found.setdefault(channels.action, name)
    said: list[str] = []
    for action, name in found.items():
        if action.use_fake_user or not action.is_editable:
            continue
        copy = action.copy()
        copy.name, copy.use_fake_user = f"{name} edited", True
        said.append(f"{name} had been edited: its earlier motion is kept as the action {copy.name}.")
    return said


def _edited_camera(collection: bpy.types.Collection) -> dict[str, Channels]:
    """The curves of the shot's own camera, and of its lens, of which keys changed since a take gave them."""
    kept = collection.duohand
    if kept.camera is None or kept.own_camera:
        return {}
    camera = kept.camera
    loaded = camera.duohand.loaded_motion, camera.duohand.loaded_lens
    owners = {camera.name: camera, f"{camera.name} lens": camera.data}
    return {
        name: channels
        for (name, owner), before, now in zip(owners.items(), loaded, _camera_digests(camera), strict=True)
        if before != now and (channels := fcurves.active_channels(owner)) is not None
    }


def _camera_digests(camera: bpy.types.Object) -> tuple[str, str]:
    """Digests of the keys that a take gives the camera, and of those that it gives its lens and plate."""
    data: Any = camera.data
    path = _digest_of(fcurves.active_channels(camera), {*cameras.written_paths(camera), "rotation_euler"})
    lens = {*cameras.written_paths(data), plate.offset_path(camera)}
    return path, _digest_of(fcurves.active_channels(data), lens)


def _raw_digest(armature: bpy.types.Object) -> str:
    action = armature.duohand.raw_action
    return "" if action is None else fcurves.digest(fcurves.channels_of(action, armature).fcurves)


def _digest(channels: Channels | None, side: int) -> str:
    return "" if channels is None else _digest_of(channels, moving_paths(channels, bone_names(side)))


def _digest_of(channels: Channels | None, paths: Collection[str]) -> str:
    """A digest of the paths' keys; empty if there are none."""
    curves = () if channels is None else channels.fcurves
    return fcurves.digest(curve for curve in curves if curve.data_path in paths)
