# SPDX-License-Identifier: GPL-3.0-or-later
"""The Contact panel: where hands touch and do not."""

from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as iface_

from inference_core.shared.errors import DuohandError

from ..messages import translated, wrapped
from ..preferences import addon_preferences
from ..scene.selection import range_shown
from ..scene.shot import active_shot
from ..sidebar import ShotPanel
from .solves import SOLVES


class DUOHAND_PT_contact(ShotPanel, bpy.types.Panel):
    """Make hands that touch in the picture touch in depth"""

    bl_idname = "DUOHAND_PT_contact"
    bl_label = "Contact"
    bl_order = 45
    bl_options = {"DEFAULT_CLOSED"}

    @staticmethod
    def draw_shots(layout: Any, context: bpy.types.Context) -> None:
        settings: Any = context.scene.duohand_contact
        if addon_preferences().engine_path().exists():
            SOLVES.expect()
        else:
            layout.label(text="Needs the engine: see the preferences", icon="INFO")
        start, end = range_shown(context.scene)
        layout.label(text=iface_("Range: {start} to {end}").format(start=start, end=end))
        layout.operator("duohand.bring_together")
        row = layout.row(align=True)
        row.prop(settings, "left", text="")
        row.prop(settings, "right", text="")
        row.operator("duohand.pin_parts")
        layout.prop(settings, "falloff")
        layout.operator("duohand.keep_apart")
        if SOLVES.text:
            layout.label(text=SOLVES.text, icon="SORTTIME")
        elif SOLVES.last is not None:
            for line in wrapped(translated(SOLVES.last.text))[:8]:
                layout.label(text=line, icon="ERROR" if SOLVES.last.is_error else "CHECKMARK")
        _draw_touches(layout, context)


def _draw_touches(layout: Any, context: bpy.types.Context) -> None:
    try:
        kept = active_shot(context).duohand.touches
    except DuohandError:
        return
    for index, item in enumerate(kept):
        row = layout.row(align=True)
        what = "apart" if item.kind == "apart" else f"{item.left} - {item.right}"
        row.label(text=f"{item.first} - {item.last}: {what}")
        row.operator("duohand.forget_touch", text="", icon="X", emboss=False).index = index


CLASSES = (DUOHAND_PT_contact,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
