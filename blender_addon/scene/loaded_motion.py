# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a hand still moves as its take was loaded. What an animator changed is kept before a take replaces it."""

from typing import Any

import bpy

from inference_core.shared.errors import RequestError

from . import fcurves, shot
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


def keep_edited(collection: bpy.types.Collection) -> list[str]:
    """Keep a copy of the action of each hand of the shot whose motion was edited; a line for each.

    Actions with a fake user stay anyway, because a take is keyed on a copy of them.
    """
    said: list[str] = []
    for side, armature in shot.armatures(collection).items():
        channels = hand_channels(armature)
        if channels is None or is_as_loaded(armature, side):
            continue
        remember(armature, side)
        if channels.action.use_fake_user or not channels.action.is_editable:
            continue
        copy: Any = channels.action.copy()
        copy.name, copy.use_fake_user = f"{armature.name} edited", True
        said.append(f"{armature.name} had been edited: its earlier motion is kept as the action {copy.name}.")
    return said


def _digest(channels: Channels | None, side: int) -> str:
    """A digest of the keys' frames and values; empty if there are none."""
    if channels is None:
        return ""
    paths = moving_paths(channels, bone_names(side))
    return fcurves.digest(curve for curve in channels.fcurves if curve.data_path in paths)
