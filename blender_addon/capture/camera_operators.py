# SPDX-License-Identifier: GPL-3.0-or-later
"""Record from a camera, and end it."""

from typing import Any

import bpy
from bpy.props import BoolProperty

from ..preferences import addon_preferences
from ..sidebar import Reports
from .camera import CAMERA, camera_problem


class DUOHAND_OT_record_camera(Reports, bpy.types.Operator):
    """Show the hands in your camera's picture, in your browser, and record it. The clip becomes the footage"""

    bl_idname = "duohand.record_camera"
    bl_label = "Record from Camera"
    bl_options = {"REGISTER"}

    capture: BoolProperty(
        name="Capture Afterwards", description="Capture the clip when the recording ends", default=True
    )

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        problem = camera_problem()
        if problem:
            cls.poll_message_set(problem)
        return not problem and not CAMERA.runs

    def run(self, context: bpy.types.Context) -> str:
        CAMERA.start(context.scene, addon_preferences().camera, self.capture)
        return ""


class DUOHAND_OT_end_recording(bpy.types.Operator):
    """End the recording and use the clip"""

    bl_idname = "duohand.end_recording"
    bl_label = "End Recording"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if not CAMERA.runs:
            cls.poll_message_set("Nothing is being recorded")
        return CAMERA.runs

    def execute(self, _context: bpy.types.Context) -> Any:
        CAMERA.stop()
        return {"FINISHED"}


CLASSES = (
    DUOHAND_OT_record_camera,
    DUOHAND_OT_end_recording,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
