# SPDX-License-Identifier: GPL-3.0-or-later
"""3D views: framed on hands, or viewing through a shot's camera."""

from collections.abc import Sequence
from typing import Any

import bpy

from inference_core.shared.errors import RequestError

from ..scene.selection import select_only
from ..scene.shot import in_file


def show_hands(scene: bpy.types.Scene, hands: Sequence[bpy.types.Object]) -> None:
    """Select the hands, and frame them in the 3D views of the scene that do not view through a camera.

    Does nothing if the user is at work on something else: in another scene, or not in object mode.
    """
    context = bpy.context
    if not hands or context.scene != scene or context.mode != "OBJECT":
        return
    select_only(context.view_layer, hands)
    if bpy.app.background:
        return
    for window in context.window_manager.windows:
        for area in window.screen.areas if window.scene == scene else ():
            space: Any = area.spaces.active
            if area.type != "VIEW_3D" or space.region_3d.view_perspective == "CAMERA":
                continue
            region = next(item for item in area.regions if item.type == "WINDOW")
            with context.temp_override(window=window, area=area, region=region):
                bpy.ops.view3d.view_selected()


def look_through(scene: bpy.types.Scene, shot: bpy.types.Collection, area: Any) -> None:
    """Make the shot's camera the scene's, and view through it in the 3D view `area`, with plate and hands visible.

    RequestError if the shot has no camera.
    """
    camera: Any = in_file(shot.duohand.camera)
    if camera is None:
        raise RequestError(f"{shot.name} has no camera to look through.")
    scene.camera = camera
    camera.data.show_background_images = True
    space = area.spaces.active
    space.use_local_camera = False
    space.region_3d.view_perspective = "CAMERA"
    region = next((item for item in area.regions if item.type == "WINDOW"), None)
    if region is not None and not bpy.app.background:
        with bpy.context.temp_override(area=area, region=region):
            bpy.ops.view3d.view_center_camera()
