# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the lens that the hands of a captured shot suggest. Nothing is captured with it unless the user asks."""

from math import radians
from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as iface_

from inference_core.shared.errors import RequestError
from inference_core.shared.take import load_take

from ..scene.paths import take_file
from ..scene.shot import shots
from ..sidebar import Reports
from .request import shot_of_footage


class DUOHAND_OT_use_lens_by_hands(Reports, bpy.types.Operator):
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

    def run(self, context: bpy.types.Context) -> str:
        shot = shot_of_footage(context.scene)
        if shot is None:
            raise RequestError("The scene has no take of this footage. Capture it first.")
        lens = load_take(take_file(shot)).lens_by_hands_deg
        if lens is None:
            raise RequestError("The take does not tell: its lens was known, or its hands do not show it.")
        capture: Any = context.scene.duohand
        capture.lens, capture.fov = "FOV", radians(lens[0])
        text = iface_("{fov:.0f} degrees ({low:.0f} to {high:.0f}). Capture again to use it")
        return text.format(fov=lens[0], low=lens[1], high=lens[2])


CLASSES = (DUOHAND_OT_use_lens_by_hands,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
