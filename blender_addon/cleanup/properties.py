# SPDX-License-Identifier: GPL-3.0-or-later
"""The smoothing that the Clean-up panel's slider shows: that of the range shown, and setting it changes just that."""

from typing import Any

import bpy
from bpy.props import FloatProperty, StringProperty

from inference_core.shared.errors import DuohandError

from ..scene.selection import chosen_hands, range_shown
from . import clean_up, smoothing


def _shown(scene: bpy.types.Scene) -> float:
    try:
        rigs = chosen_hands(bpy.context, "ACTIVE")
    except DuohandError:  # nothing to smooth: the panel says so by its other parts
        return 0.0
    return smoothing.strength_of(rigs[0], *range_shown(scene))


def _choose(scene: Any, strength: float) -> None:
    try:
        rigs = chosen_hands(bpy.context, "ACTIVE")
        clean_up.smooth(rigs, clean_up.scene_fps(rigs[0]), strength, *range_shown(scene))
        problem = ""
    except DuohandError as error:  # a property has no report of its own
        problem = str(error)
    if scene.duohand_smoothing_problem != problem:
        scene.duohand_smoothing_problem = problem


def register() -> None:
    bpy.types.Scene.duohand_smoothing = FloatProperty(
        name="Smoothing",
        description="Smooths the range more, or brings back shake of the raw motion; edits and locked ranges stay",
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        get=_shown,
        set=_choose,
    )
    bpy.types.Scene.duohand_smoothing_problem = StringProperty(
        description="Why the motion cannot be smoothed", options={"SKIP_SAVE"}
    )


def unregister() -> None:
    del bpy.types.Scene.duohand_smoothing_problem
    del bpy.types.Scene.duohand_smoothing
