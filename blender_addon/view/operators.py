# SPDX-License-Identifier: GPL-3.0-or-later
"""View Through Camera; Render over Footage."""

import bpy

from inference_core.shared.errors import DuohandError

from ..messages import report
from ..scene.shot import active_shot
from ..sidebar import NeedsShot
from .compositor import render_over_footage
from .views import look_through


class DUOHAND_OT_view_through_camera(NeedsShot, bpy.types.Operator):
    """Look through the shot's camera, the footage behind the hands"""

    bl_idname = "duohand.view_through_camera"
    bl_label = "View Through Camera"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        screen = context.screen
        views = [area for area in (screen.areas if screen else ()) if area.type == "VIEW_3D"]
        area = context.area if context.area in views else next(iter(views), None)
        if area is None:
            report(self, "ERROR", "There is no 3D view to show the camera in.")
            return {"CANCELLED"}
        try:
            look_through(context.scene, active_shot(context), area)
        except DuohandError as error:
            report(self, "ERROR", error)
            return {"CANCELLED"}
        return {"FINISHED"}


class DUOHAND_OT_render_over_footage(NeedsShot, bpy.types.Operator):
    """Set up transparent film and the compositor, so that rendering (F12) shows the hands over the footage"""

    bl_idname = "duohand.render_over_footage"
    bl_label = "Render over Footage"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            said = render_over_footage(context.scene, active_shot(context))
        except DuohandError as error:
            report(self, "ERROR", error)
            return {"CANCELLED"}
        report(self, "INFO", " ".join(["F12 renders over the footage now.", *said]))
        return {"FINISHED"}


CLASSES = (DUOHAND_OT_view_through_camera, DUOHAND_OT_render_over_footage)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
