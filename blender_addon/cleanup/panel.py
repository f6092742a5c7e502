# SPDX-License-Identifier: GPL-3.0-or-later
"""The Clean-up panel: ranges, smoothing, keys."""

from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..messages import translated
from ..scene.selection import range_shown
from ..sidebar import ShotPanel


class DUOHAND_PT_clean_up(ShotPanel, bpy.types.Panel):
    """Correct what the capture got wrong"""

    bl_idname = "DUOHAND_PT_clean_up"
    bl_label = "Clean-up"
    bl_order = 40
    bl_options = {"DEFAULT_CLOSED"}

    @staticmethod
    def draw_shots(layout: Any, context: bpy.types.Context) -> None:
        scene: Any = context.scene
        layout.prop(scene, "duohand_smoothing", slider=True)
        if scene.duohand_smoothing_problem:
            layout.label(text=translated(scene.duohand_smoothing_problem), icon="ERROR", translate=False)
        start, end = range_shown(scene)
        preview = scene.use_preview_range
        text = (
            "Range: {start} to {end}" if preview else "Range: {start} to {end} (all; P sets a preview range)"
        )
        layout.label(text=iface_(text).format(start=start, end=end))
        grid = layout.grid_flow(columns=3, align=True, even_columns=True)
        for name in (
            "hold_range",
            "delete_range",
            "refill_range",
            "swap_sides",
            "lock_range",
            "unlock_range",
        ):
            grid.operator(f"duohand.{name}")
        fields = scene.duohand_clean_up
        layout.prop(fields, "blend")
        _draw_offset(layout, fields)
        _draw_redo(layout, fields)
        row = layout.row(align=True)
        row.operator("duohand.reduce_keys")
        row.operator("duohand.bake_keys")
        layout.operator("duohand.euler_filter")


def _draw_offset(layout: Any, fields: Any) -> None:
    box = layout.box().column(align=True)
    for name in ("location", "turn"):
        box.row(align=True).prop(fields, name)
    box.prop(fields, "along_ray")
    box.operator("duohand.offset_wrist")


def _draw_redo(layout: Any, fields: Any) -> None:
    box = layout.box().column(align=True)
    row = box.row(align=True)
    row.prop(fields, "part", text="")
    row.prop(fields, "source", text="")
    if fields.source == "TAKE":
        box.prop(fields, "take", text="")
    box.operator("duohand.redo_part")


CLASSES = (DUOHAND_PT_clean_up,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
