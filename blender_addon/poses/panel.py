# SPDX-License-Identifier: GPL-3.0-or-later
"""The Poses panel: saves a hand's pose to the pose library and applies poses from it."""

from typing import Any

import bpy

from ..sidebar import ShotPanel


class DUOHAND_PT_poses(ShotPanel, bpy.types.Panel):
    """Save a frame's pose to the pose library, and apply poses from it"""

    bl_idname = "DUOHAND_PT_poses"
    bl_label = "Poses"
    bl_order = 47
    bl_options = {"DEFAULT_CLOSED"}

    @staticmethod
    def draw_shots(layout: Any, context: bpy.types.Context) -> None:
        fields: Any = context.scene.duohand_poses
        layout.operator("duohand.save_pose", icon="ASSET_MANAGER")
        column = layout.column(align=True)
        column.prop(fields, "pose", text="")
        row = column.row(align=True)
        row.prop(fields, "with_wrist", toggle=True)
        row.prop(fields, "blend")
        column.operator("duohand.apply_pose")


CLASSES = (DUOHAND_PT_poses,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
