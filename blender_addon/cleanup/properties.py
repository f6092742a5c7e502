# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scene remembers of clean-up: the smoothing that its slider shows."""

from typing import Any

import bpy
from bpy.props import FloatProperty, StringProperty

from inference_core.shared.errors import DuohandError

from ..scene.hand_curves import hand_rigs
from ..scene.shot import active_shot
from . import clean_up


def _strength_moved(scene: Any, context: bpy.types.Context) -> None:
    try:
        rigs = hand_rigs(active_shot(context))
        if rigs:
            clean_up.smooth(rigs, clean_up.scene_fps(rigs[0]), scene.duohand_smoothing)
        scene.duohand_smoothing_problem = ""
    except DuohandError as error:  # a property's update has no report of its own
        scene.duohand_smoothing_problem = str(error)


def register() -> None:
    bpy.types.Scene.duohand_smoothing = FloatProperty(
        name="Smoothing",
        description="Smooths anew from the raw motion; locked ranges stay",
        default=0.4,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        update=_strength_moved,
    )
    bpy.types.Scene.duohand_smoothing_problem = StringProperty(
        description="Why the motion cannot be smoothed", options={"SKIP_SAVE"}
    )


def unregister() -> None:
    del bpy.types.Scene.duohand_smoothing_problem
    del bpy.types.Scene.duohand_smoothing
