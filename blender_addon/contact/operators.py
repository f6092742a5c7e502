# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring hands together, pin parts of them to each other, keep them apart: solved by the engine."""

import time
from typing import Any

import bpy
from bpy.props import EnumProperty, IntProperty

from inference_core.shared.errors import DuohandError, RequestError

from ..messages import report
from ..preferences import addon_preferences
from ..scene import orphans
from ..scene.selection import AS_SHOWN, range_meant
from ..scene.shot import active_shot
from ..sidebar import NeedsShot, Reports
from .properties import PART_ITEMS
from .range_solve import Touch, prepared
from .solves import SOLVES


class _Contact(NeedsShot):
    """Base of the operators: the range shown, the panel's fields, and the engine."""

    bl_options = {"REGISTER"}

    first: IntProperty(name="First", description="First scene frame of the range", default=AS_SHOWN)
    last: IntProperty(name="Last", description="Last scene frame of the range", default=AS_SHOWN)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if SOLVES.text:
            cls.poll_message_set("A range is being solved")
            return False
        if not addon_preferences().engine_path().exists():
            cls.poll_message_set("There is no engine. Install or choose one in the add-on's preferences")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> Any:
        self.first, self.last = AS_SHOWN, AS_SHOWN
        self.take_parts(context.scene.duohand_contact)
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> Any:
        try:
            SOLVES.start(prepared(active_shot(context), self._touch(context.scene), _mano()))
        except DuohandError as error:
            report(self, "ERROR", error)
            return {"CANCELLED"}
        if not bpy.app.background:
            return {"FINISHED"}
        while (outcome := SOLVES.step()) is None:
            time.sleep(0.02)
        report(self, "ERROR" if outcome.is_error else "INFO", outcome.text)
        return {"CANCELLED"} if outcome.is_error else {"FINISHED"}

    def take_parts(self, settings: Any) -> None:
        """Copy the panel's parts, if the operator has fields for them."""

    def parts(self) -> tuple[str, str, str]:
        """The kind of correction, and the parts of the left and the right hand."""
        raise NotImplementedError

    def _touch(self, scene: Any) -> Touch:
        first, last = range_meant(scene, self.first, self.last)
        kind, left, right = self.parts()
        return Touch(kind, first, last, left, right, scene.duohand_contact.falloff)


class DUOHAND_OT_bring_together(_Contact, bpy.types.Operator):
    """Move both hands along their lines of sight until fingertips that meet in the picture touch, in the range"""

    bl_idname = "duohand.bring_together"
    bl_label = "Bring Together"

    def parts(self) -> tuple[str, str, str]:
        return "touch", "nearest", "nearest"


class DUOHAND_OT_pin_parts(_Contact, bpy.types.Operator):
    """Make these parts of both hands touch throughout the range"""

    bl_idname = "duohand.pin_parts"
    bl_label = "Pin"

    left: EnumProperty(name="Left", description="The left hand's part", items=PART_ITEMS, default="index")
    right: EnumProperty(name="Right", description="The right hand's part", items=PART_ITEMS, default="index")

    def take_parts(self, settings: Any) -> None:
        self.left, self.right = settings.left, settings.right

    def parts(self) -> tuple[str, str, str]:
        return "touch", self.left, self.right


class DUOHAND_OT_keep_apart(_Contact, bpy.types.Operator):
    """Keep the hands from being pulled together in the range: they only cross in the picture"""

    bl_idname = "duohand.keep_apart"
    bl_label = "Keep Apart"

    def parts(self) -> tuple[str, str, str]:
        return "apart", "any", "any"


class DUOHAND_OT_forget_touch(NeedsShot, Reports, bpy.types.Operator):
    """Leave this contact out when a range is solved again; the motion stays as it is"""

    bl_idname = "duohand.forget_touch"
    bl_label = "Forget Contact"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    index: IntProperty(description="Which one", default=0, min=0)

    def run(self, context: bpy.types.Context) -> str:
        shot = active_shot(context)
        kept = shot.duohand.touches
        if self.index >= len(kept):
            raise RequestError("There is no such contact.")
        kept.remove(self.index)
        orphans.remember(shot)
        return ""


def _mano() -> str | None:
    preferences = addon_preferences()
    chosen = preferences.hand_model == "MANO" and preferences.mano_folder
    return bpy.path.abspath(preferences.mano_folder) if chosen else None


CLASSES = (
    DUOHAND_OT_bring_together,
    DUOHAND_OT_pin_parts,
    DUOHAND_OT_keep_apart,
    DUOHAND_OT_forget_touch,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
