# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the lens that the hands of a captured shot suggest. Nothing is captured with it unless the user asks."""

from math import radians
from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as iface_

from inference_core.shared.errors import DuohandError
from inference_core.shared.take import load_take

from ..messages import report
from ..scene.paths import take_file
from ..scene.shot import shots
from .request import shot_of_footage


class DUOHAND_OT_use_lens_by_hands(bpy.types.Operator):
    """Set the field of view that the hands in the take of this footage suggest, and capture again to use it"""

    bl_idname = "duohand.use_lens_by_hands"
    bl_label = "Use Lens by Hands"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not shots(context.scene):
            cls.poll_message_set("Capture this footage first")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        shot = shot_of_footage(context.scene)
        if shot is None:
            report(self, "ERROR", "The scene has no take of this footage. Capture it first.")
            return {"CANCELLED"}
        try:
            lens = load_take(take_file(shot)).lens_by_hands_deg
        except DuohandError as error:
            report(self, "ERROR", error)
            return {"CANCELLED"}
        if lens is None:
            report(self, "ERROR", "The take does not tell: its lens was known, or its hands do not show it.")
            return {"CANCELLED"}
        capture: Any = context.scene.duohand
        capture.lens, capture.fov = "FOV", radians(lens[0])
        text = iface_("{fov:.0f} degrees ({low:.0f} to {high:.0f}). Capture again to use it")
        report(self, "INFO", text.format(fov=lens[0], low=lens[1], high=lens[2]))
        return {"FINISHED"}


CLASSES = (DUOHAND_OT_use_lens_by_hands,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
