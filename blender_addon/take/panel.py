# SPDX-License-Identifier: GPL-3.0-or-later
"""The Take panel: load a take, and what is known of the shots that are there."""

from typing import Any

import bpy

from ..scene.shot import armatures, shots
from ..sidebar import SidebarPanel


class DUOHAND_PT_take(SidebarPanel, bpy.types.Panel):
    """Takes in this scene"""

    bl_idname = "DUOHAND_PT_take"
    bl_label = "Take"
    bl_order = 20

    def draw(self, context: bpy.types.Context) -> None:
        layout: Any = self.layout
        layout.operator("duohand.load_take", icon="IMPORT")
        for shot in shots(context.scene):
            hands = " and ".join(("left", "right")[side] for side in armatures(shot)) or "no hand"
            layout.label(text=f"{shot.name}: {hands}", icon="VIEW_PAN")
        layout.operator("duohand.save_take", icon="EXPORT")


CLASSES = (DUOHAND_PT_take,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
