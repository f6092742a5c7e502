# SPDX-License-Identifier: GPL-3.0-or-later
"""The Body panel: captured hands on an armature that already moves."""

from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..messages import translated
from ..scene.selection import range_shown
from ..sidebar import ShotPanel
from .join import WHAT
from .kept_action import is_copy

_SURE, _LIKELY = 0.6, 0.3


class DUOHAND_PT_body(ShotPanel, bpy.types.Panel):
    """Put the captured hands onto a body that has its own motion"""

    bl_idname = "DUOHAND_PT_body"
    bl_label = "Onto a Body"
    bl_order = 55
    bl_options = {"DEFAULT_CLOSED"}

    @staticmethod
    def draw_shots(layout: Any, context: bpy.types.Context) -> None:
        chosen: Any = context.scene.duohand_retarget
        kept: Any = context.scene.duohand_body
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        row = column.row(align=True)
        row.prop(chosen, "target", text="Body")
        row.operator("duohand.load_body", text="", icon="FILE_FOLDER")
        column.prop(chosen, "preset")
        if chosen.target is None:
            return
        start, end = range_shown(context.scene)
        layout.label(text=iface_("Range: {start} to {end}").format(start=start, end=end))
        _draw_offset(layout, kept)
        _draw_settings(layout, kept)
        row = layout.row(align=True)
        row.operator("duohand.join_hands", icon="LINKED")
        if is_copy(chosen.target, WHAT):
            row.operator("duohand.separate_hands", icon="UNLINKED")
            for line in kept.report.splitlines():
                layout.label(text=translated(line), icon="ERROR", translate=False)


def _draw_offset(layout: Any, kept: Any) -> None:
    row = layout.row(align=True)
    row.operator("duohand.find_offset", icon="VIEWZOOM")
    row.prop(kept, "offset", text="")
    if kept.sure >= 0 and abs(kept.offset - kept.found) < 1e-3:
        text = iface_("{sureness} ({share:.0%})").format(sureness=_sureness(kept.sure), share=kept.sure)
        layout.label(text=text, icon="CHECKMARK" if kept.sure >= _SURE else "ERROR")


def _sureness(sure: float) -> str:
    if sure >= _SURE:
        return iface_("Sure")
    return iface_("Likely") if sure >= _LIKELY else iface_("A guess: check it")


def _draw_settings(layout: Any, kept: Any) -> None:
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    column.prop(kept, "wrists")
    column.prop(kept, "turns")
    column.prop(kept, "placing")
    if kept.wrists == "HANDS":
        column.prop(kept, "elbow")
    column.prop(kept, "blend")
    switches = layout.column()  # their labels need all of the width
    switches.prop(kept, "spread_twist")
    switches.prop(kept, "bring_hands")


CLASSES = (DUOHAND_PT_body,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
