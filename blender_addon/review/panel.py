# SPDX-License-Identifier: GPL-3.0-or-later
"""The Review panel: how good each hand is on this frame, and where to look next."""

from typing import Any, Final

import bpy
from bpy.app.translations import pgettext_iface as iface_

from inference_core.shared.errors import DuohandError

from ..messages import translated
from ..scene.hand_curves import HandRig, hand_rigs
from ..scene.rest_bones import side_name
from ..scene.shot import shots
from ..scene.spans import Verdict
from ..sidebar import ShotPanel
from .doubts import verdict_here

_GREEN, _YELLOW, _RED = "COLLECTION_COLOR_04", "COLLECTION_COLOR_03", "COLLECTION_COLOR_01"
ICONS: Final = {
    Verdict.GOOD: _GREEN,
    Verdict.CHECK: _YELLOW,
    Verdict.FILLED: _YELLOW,
    Verdict.BAD: _RED,
    Verdict.LEAP: _RED,
    Verdict.FLIP: _RED,
    Verdict.ABSENT: "BLANK1",
}


class DUOHAND_PT_review(ShotPanel, bpy.types.Panel):
    """The frames most worth checking"""

    bl_idname = "DUOHAND_PT_review"
    bl_label = "Review"
    bl_order = 30

    @staticmethod
    def draw_shots(layout: Any, context: bpy.types.Context) -> None:
        found = shots(context.scene)
        for shot in found:
            if len(found) > 1:
                layout.label(text=shot.name, icon="VIEW_PAN", translate=False)
            _draw_hands(layout.column(align=True), shot, context.scene.frame_current)
        row = layout.row(align=True)
        row.operator("duohand.next_uncertain", text="Previous", icon="TRIA_LEFT").backward = True
        row.operator("duohand.next_uncertain", text="Next", icon="TRIA_RIGHT").backward = False
        layout.prop(context.window_manager, "duohand_show_confidence")


def _draw_hands(layout: Any, shot: bpy.types.Collection, frame: int) -> None:
    try:
        for rig in hand_rigs(shot):
            _draw_hand(layout, rig, frame)
    except DuohandError as error:
        layout.label(text=translated(str(error)), icon="ERROR", translate=False)


def _draw_hand(layout: Any, rig: HandRig, frame: int) -> None:
    verdict, _ = verdict_here(rig, frame)
    text = f"{iface_(side_name(rig.side))}: {iface_(verdict)}"
    button = layout.operator("duohand.select_hand", text=text, icon=ICONS[verdict], translate=False)
    button.armature = rig.armature.name


CLASSES = (DUOHAND_PT_review,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
