# SPDX-License-Identifier: GPL-3.0-or-later
"""Review operators: jump to the worst frame of the next doubtful span; make a hand active."""

from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as iface_
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.app.translations import pgettext_tip as tip_
from bpy.props import BoolProperty, StringProperty

from inference_core.shared.errors import DuohandError

from ..messages import report
from ..scene.hand_curves import rig_of
from ..scene.hand_keys import PROBABILITIES
from ..scene.rest_bones import side_name
from ..scene.selection import select_only
from ..scene.shot import shots
from ..sidebar import NeedsShot
from .doubts import Doubt, doubts, verdict_here


class DUOHAND_OT_next_uncertain(NeedsShot, bpy.types.Operator):
    """Go to the worst frame of the next span in which a hand is doubtful"""

    bl_idname = "duohand.next_uncertain"
    bl_label = "Next Uncertain"
    bl_options = {"REGISTER"}

    backward: BoolProperty(name="Backward", description="Go to the previous one", default=False)

    def execute(self, context: bpy.types.Context) -> Any:
        try:
            found = doubts(context)
        except DuohandError as error:
            report(self, "ERROR", error)
            return {"CANCELLED"}
        if not found:
            report(self, "INFO", rpt_("No frame is doubtful"))
            return {"CANCELLED"}
        now = context.scene.frame_current
        beyond = [doubt for doubt in found if (doubt.frame < now if self.backward else doubt.frame > now)]
        there = (beyond or found)[-1 if self.backward else 0]
        context.scene.frame_set(there.frame)
        text = _doubts_text(there, [doubt for doubt in found if doubt.frame == there.frame], context.scene)
        if not beyond:
            text += f" ({rpt_('started over')})"
        report(self, "INFO", text)
        return {"FINISHED"}


class DUOHAND_OT_select_hand(bpy.types.Operator):
    """Make this hand the active one, which the clean-up tools work on"""

    bl_idname = "duohand.select_hand"
    bl_label = "Select Hand"
    bl_options = {"REGISTER", "UNDO"}

    armature: StringProperty(name="Armature", description="Name of the hand's armature")

    @classmethod
    def description(cls, context: bpy.types.Context, properties: Any) -> str:
        rig = rig_of(context.scene, properties.armature)
        if rig is None:
            return tip_("Make this hand the active one")
        stated = [rig.armature.get(name) for name in PROBABILITIES]
        if rig.armature.get("presence", 1) and None not in stated:
            return tip_(
                "Joints within 10 mm: {pose:.0%} likely on this frame. Distance within 5%: {distance:.0%}. "
                "Click to make this hand the active one"
            ).format(pose=stated[0], distance=stated[1])
        confidence = verdict_here(rig, context.scene.frame_current)[1]
        return tip_("{confidence:.0%} sure on this frame. Click to make this hand the active one").format(
            confidence=confidence
        )

    def execute(self, context: bpy.types.Context) -> Any:
        rig = rig_of(context.scene, self.armature)
        if rig is None:
            report(self, "ERROR", f"There is no hand {self.armature} in this scene.")
            return {"CANCELLED"}
        select_only(context.view_layer, [rig.armature])
        return {"FINISHED"}


def _doubts_text(there: Doubt, same: list[Doubt], scene: bpy.types.Scene) -> str:
    """The doubts at that frame, for both hands if both are doubtful; with the shot if there are several."""
    hands = ", ".join(
        f"{iface_(side_name(doubt.rig.side))} {iface_(doubt.span.verdict)} ({doubt.span.confidence:.0%})"
        for doubt in same
    )
    shot = f"{there.rig.shot.name}, " if len(shots(scene)) > 1 else ""
    return rpt_("{shot}frame {frame}: {hands}").format(shot=shot, frame=there.frame, hands=hands)


CLASSES = (DUOHAND_OT_next_uncertain, DUOHAND_OT_select_hand)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
