# SPDX-License-Identifier: GPL-3.0-or-later
"""Review: jump to the next span in which a hand is uncertain."""

from typing import Any

import bpy
import numpy as np
from bpy.props import BoolProperty

from inference_core.shared.errors import DuohandError
from inference_core.shared.presence import FILLED, SEEN

from ..scene.hand_curves import hand_rigs, read_track
from ..scene.rest_bones import side_name
from ..scene.shot import active_shot
from ..scene.spans import uncertain_spans
from ..sidebar import NeedsShot


def uncertain_frames(context: bpy.types.Context) -> list[tuple[float, str]]:
    """First scene frame and description of every uncertain span of the active shot, in time order."""
    found: list[tuple[float, str]] = []
    for rig in hand_rigs(active_shot(context)):
        track = read_track(rig)
        present = np.where(track.filled, FILLED, SEEN)[:, None]
        for span in uncertain_spans(track.confidence[:, None], present):
            text = f"{side_name(rig.side)} hand, {span.confidence:.0%} sure"
            found.append((float(track.frames[span.first]), text))
    return sorted(found)


class DUOHAND_OT_next_uncertain(NeedsShot, bpy.types.Operator):
    """Go to the next frames in which a hand is least certain"""

    bl_idname = "duohand.next_uncertain"
    bl_label = "Next Uncertain"
    bl_options = {"REGISTER"}

    backward: BoolProperty(name="Backward", description="Go to the one before", default=False)

    def execute(self, context: bpy.types.Context) -> Any:
        try:
            spans = uncertain_frames(context)
        except DuohandError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        now = context.scene.frame_current
        beyond = [item for item in spans if (item[0] < now - 0.5 if self.backward else item[0] > now + 0.5)]
        if not beyond:
            self.report(
                {"INFO"}, "There is no uncertain span further on" if spans else "No span is uncertain"
            )
            return {"CANCELLED"}
        frame, text = beyond[-1] if self.backward else beyond[0]
        context.scene.frame_set(round(frame))
        self.report({"INFO"}, f"Frame {round(frame)}: {text}")
        return {"FINISHED"}


CLASSES = (DUOHAND_OT_next_uncertain,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
