# SPDX-License-Identifier: GPL-3.0-or-later
"""The Review panel: how sure each hand is here, and where to look next."""

from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..scene.rest_bones import side_name
from ..scene.shot import armatures, shots
from ..sidebar import SidebarPanel, shows_no_shot

_PRESENCE = ("away", "seen", "filled")


class DUOHAND_PT_review(SidebarPanel, bpy.types.Panel):
    """Where a look is most worth the while"""

    bl_idname = "DUOHAND_PT_review"
    bl_label = "Review"
    bl_order = 30

    def draw(self, context: bpy.types.Context) -> None:
        layout: Any = self.layout
        if shows_no_shot(layout, context.scene):
            return
        for shot in shots(context.scene):
            for side, armature in armatures(shot).items():
                _draw_hand(layout, armature, side_name(side))
        row = layout.row(align=True)
        row.operator("duohand.next_uncertain", text="Previous", icon="TRIA_LEFT").backward = True
        row.operator("duohand.next_uncertain", text="Next", icon="TRIA_RIGHT").backward = False


def _draw_hand(layout: bpy.types.UILayout, armature: Any, name: str) -> None:
    presence = int(armature.get("presence", 1))
    confidence = float(armature.get("confidence", 1.0)) if presence else 0.0
    state = iface_("{presence}, {confidence:.0%} sure").format(
        presence=iface_(_PRESENCE[presence]), confidence=confidence
    )
    layout.progress(factor=confidence, text=f"{iface_(name)}: {state}")


CLASSES = (DUOHAND_PT_review,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
