# SPDX-License-Identifier: GPL-3.0-or-later
"""The Props panel: which hand holds what, and when."""

from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..scene.selection import range_shown
from ..sidebar import ShotPanel


class DUOHAND_PT_props(ShotPanel, bpy.types.Panel):
    """Objects that the captured hands hold"""

    bl_idname = "DUOHAND_PT_props"
    bl_label = "Props"
    bl_order = 57
    bl_options = {"DEFAULT_CLOSED"}

    @staticmethod
    def draw_shots(layout: Any, context: bpy.types.Context) -> None:
        kept: Any = context.scene.duohand_props
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(kept, "prop")
        if kept.prop is None:
            return
        column.prop(kept, "hand")
        column.prop(kept, "lead")
        start, end = range_shown(context.scene)
        layout.label(text=iface_("Range: {start} to {end}").format(start=start, end=end))
        layout.operator("duohand.add_grip", icon="ADD")
        for index, grip in enumerate(kept.grips):
            if grip.prop == kept.prop:
                row = layout.row(align=True)
                row.prop(grip, "hand", text="")
                row.prop(grip, "first", text="")
                row.prop(grip, "last", text="")
                row.operator("duohand.remove_grip", text="", icon="X", emboss=False).index = index
        layout.prop(kept, "blend")
        row = layout.row(align=True)
        row.operator("duohand.bake_grips", icon="KEYINGSET")
        row.operator("duohand.release_grips", icon="UNLINKED")


CLASSES = (DUOHAND_PT_props,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
