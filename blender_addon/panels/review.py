# SPDX-License-Identifier: GPL-3.0-or-later
"""The Review panel: how sure each hand is here, and where to look next."""

from typing import Any

import bpy

from ..scene.rest_bones import side_name
from ..scene.shot import armatures, shots
from .sidebar import SidebarPanel

_PRESENCE = ("away", "seen", "filled")


class DUOHAND_PT_review(SidebarPanel, bpy.types.Panel):
    """Where a look is most worth the while"""

    bl_idname = "DUOHAND_PT_review"
    bl_label = "Review"
    bl_order = 30

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        found = shots(context.scene)
        if not found:
            layout.label(text="Capture or load a take first", icon="INFO")
            return
        for shot in found:
            for side, armature in armatures(shot).items():
                _draw_hand(layout, armature, side_name(side))
        row = layout.row(align=True)
        row.operator("duohand.next_uncertain", text="Previous", icon="TRIA_LEFT").backward = True
        row.operator("duohand.next_uncertain", text="Next", icon="TRIA_RIGHT").backward = False


def _draw_hand(layout: bpy.types.UILayout, armature: Any, name: str) -> None:
    presence = int(armature.get("presence", 1))
    confidence = float(armature.get("confidence", 1.0)) if presence else 0.0
    layout.progress(factor=confidence, text=f"{name}: {_PRESENCE[presence]}, {confidence:.0%} sure")


CLASSES = (DUOHAND_PT_review,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
