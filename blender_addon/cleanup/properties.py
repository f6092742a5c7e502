# SPDX-License-Identifier: GPL-3.0-or-later
"""The Clean-up panel's values. Its smoothing slider shows, and sets, the smoothing of the current range."""

from typing import Any, Final

import bpy
from bpy.props import (
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from inference_core.shared.errors import DuohandError

from ..scene.paths import RELATIVE
from ..scene.selection import chosen_hands, range_shown
from . import clean_up, smoothing


def _shown(scene: bpy.types.Scene) -> float:
    try:
        rigs = chosen_hands(bpy.context, "ACTIVE")
    except DuohandError:  # nothing to smooth; the rest of the panel says so
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


PART_ITEMS: Final = (
    ("HAND", "Whole Hand", "Wrist and all fingers"),
    ("WRIST", "Wrist", "The hand's position and rotation"),
    ("THUMB", "Thumb", "The thumb"),
    ("INDEX", "Index", "The index finger"),
    ("MIDDLE", "Middle", "The middle finger"),
    ("RING", "Ring", "The ring finger"),
    ("PINKY", "Pinky", "The little finger"),
)


class WristOffset:
    """The wrist's movement: fields of the panel and of the operator."""

    location: FloatVectorProperty(
        name="Shift", description="In the world's axes", subtype="TRANSLATION", size=3
    )
    turn: FloatVectorProperty(
        name="Turn", description="About the wrist's own axes", subtype="EULER", unit="ROTATION", size=3
    )
    along_ray: FloatProperty(
        name="Away from Camera",
        description="Along the camera's line of sight: the picture stays, the depth changes",
        subtype="DISTANCE",
        unit="LENGTH",
    )


class DUOHAND_PG_clean_up(WristOffset, bpy.types.PropertyGroup):
    """Fields of the Clean-up panel."""

    blend: IntProperty(
        name="Blend",
        description="Frames at the ends of the range over which an edit fades in and out",
        default=4,
        min=0,
        max=100,
    )
    part: EnumProperty(name="Part", description="The part to redo", items=PART_ITEMS)
    source: EnumProperty(
        name="From",
        description="Where its motion comes from",
        items=(
            ("RAW", "Raw Motion", "Each frame on its own, before the shot was solved"),
            ("TAKE", "Another Take", "A take of the same footage"),
        ),
    )
    take: StringProperty(
        name="Take", description="A take of the same footage", subtype="FILE_PATH", options=RELATIVE
    )


def register() -> None:
    bpy.utils.register_class(DUOHAND_PG_clean_up)
    bpy.types.Scene.duohand_clean_up = PointerProperty(type=DUOHAND_PG_clean_up)
    bpy.types.Scene.duohand_smoothing = FloatProperty(
        name="Smoothing",
        description="Smooth the range more, or bring back the raw motion's jitter; edits and locked ranges stay",
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
    del bpy.types.Scene.duohand_clean_up
    bpy.utils.unregister_class(DUOHAND_PG_clean_up)
