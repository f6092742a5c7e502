# SPDX-License-Identifier: GPL-3.0-or-later
"""The Export panel: the motion for other programs."""

from typing import Any

import bpy

from ..sidebar import ShotPanel


class DUOHAND_PT_export(ShotPanel, bpy.types.Panel):
    """The hands' motion for other programs"""

    bl_idname = "DUOHAND_PT_export"
    bl_label = "Export"
    bl_order = 60

    @staticmethod
    def draw_shots(layout: Any, context: bpy.types.Context) -> None:
        column = layout.column(align=True)
        column.operator_menu_enum("duohand.export_fbx", "preset", text="FBX", icon="ARMATURE_DATA")
        column.operator("duohand.export_glb", text="GLB")
        column.operator("duohand.export_usd", text="USD")
        column.operator("duohand.export_bvh", text="BVH")


CLASSES = (DUOHAND_PT_export,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
