# SPDX-License-Identifier: GPL-3.0-or-later
"""View Through Camera; Render over Footage."""

import bpy

from inference_core.shared.errors import RequestError

from ..scene.shot import active_shot
from ..sidebar import NeedsShot, Reports
from .compositor import render_over_footage
from .views import look_through


class DUOHAND_OT_view_through_camera(NeedsShot, Reports, bpy.types.Operator):
    """Look through the shot's camera, the footage behind the hands"""

    bl_idname = "duohand.view_through_camera"
    bl_label = "View Through Camera"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context: bpy.types.Context) -> str:
        screen = context.screen
        views = [area for area in (screen.areas if screen else ()) if area.type == "VIEW_3D"]
        area = context.area if context.area in views else next(iter(views), None)
        if area is None:
            raise RequestError("There is no 3D view to show the camera in.")
        look_through(context.scene, active_shot(context), area)
        return ""


class DUOHAND_OT_render_over_footage(NeedsShot, Reports, bpy.types.Operator):
    """Set up transparent film and the compositor, so that rendering (F12) shows the hands over the footage"""

    bl_idname = "duohand.render_over_footage"
    bl_label = "Render over Footage"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context: bpy.types.Context) -> str:
        said = render_over_footage(context.scene, active_shot(context))
        return " ".join(["F12 renders over the footage now.", *said])


CLASSES = (DUOHAND_OT_view_through_camera, DUOHAND_OT_render_over_footage)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
