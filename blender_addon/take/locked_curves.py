# SPDX-License-Identifier: GPL-3.0-or-later
"""Which curves of a shot an update left as they were, because they are locked in the Graph Editor."""

from typing import Any

import bpy

from ..scene import camera as cameras
from ..scene import fcurves, hand_curves, shot
from ..scene.hand_channels import hand_channels
from ..scene.rest_bones import bone_names


def kept(collection: bpy.types.Collection) -> list[str]:
    """A line for each hand of the shot, and for its own camera, that has locked curves."""
    hands = [
        (hand, hand_curves.moving_paths(channels, bone_names(side)), channels)
        for side, hand in shot.armatures(collection).items()
        if (channels := hand_channels(hand)) is not None
    ]
    camera: Any = None if collection.duohand.own_camera else collection.duohand.camera
    owners = [owner for owner in (camera, camera and camera.data) if owner is not None]
    own = [(item, cameras.written_paths(item), fcurves.active_channels(item)) for item in owners]
    found = [(item.name, fcurves.locked_path(channels, paths)) for item, paths, channels in (*hands, *own)]
    return [
        f"Locked curves of {name} stay as they were ({path}), and the rest is the take's. Unlock them in the Graph "
        "Editor and load the take again to have all of it."
        for name, path in found
        if path is not None
    ]
