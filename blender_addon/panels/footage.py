# SPDX-License-Identifier: GPL-3.0-or-later
"""The Footage panel: what to capture from, and what is known of it."""

from typing import Any

import bpy

from inference_core import __version__

from ..capture.footage import thumbnail
from .sidebar import SidebarPanel

_LENS_VALUES = {"FOV": ("fov",), "FOCAL": ("focal_mm", "sensor_mm"), "CLIP": ("clip",)}


class DUOHAND_PT_footage(SidebarPanel, bpy.types.Panel):
    """The movie or image sequence that shows the hands"""

    bl_idname = "DUOHAND_PT_footage"
    bl_label = "Footage"
    bl_order = 10

    def draw_header_preset(self, _context: bpy.types.Context) -> None:
        layout: Any = self.layout
        layout.label(text=__version__)

    def draw(self, context: bpy.types.Context) -> None:
        layout: Any = self.layout
        capture: Any = context.scene.duohand
        row = layout.row(align=True)
        row.prop(capture, "footage", text="")
        row.operator("duohand.choose_footage", text="", icon="FILE_MOVIE")
        if capture.problem:
            layout.label(text=capture.problem, icon="ERROR")
            return
        if not capture.footage:
            layout.label(text="Choose a movie or drop it here", icon="INFO")
            return
        icon = thumbnail(bpy.path.abspath(capture.footage))
        if icon:
            layout.template_icon(icon, scale=6.0)
        layout.label(text=capture.facts_text)
        layout.use_property_split = True
        layout.use_property_decorate = False
        if capture.is_sequence:
            layout.prop(capture, "sequence_fps")
        layout.prop(capture, "use_range")
        if capture.use_range:
            column = layout.column(align=True)
            column.prop(capture, "first")
            column.prop(capture, "last")
            column.prop(capture, "step")
        layout.prop(capture, "lens")
        for name in _LENS_VALUES.get(capture.lens, ()):
            layout.prop(capture, name)


CLASSES = (DUOHAND_PT_footage,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
