# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene's settings for joining hands to a body. The body and its bone map are those of the Retarget panel."""

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from .settings import JoinSettings

WRISTS_ITEMS = (
    ("BODY", "Body's", "The body keeps its arms; hands and fingers are put onto its wrists"),
    ("HANDS", "Hands'", "The body's arms follow the captured hands"),
)
TURNS_ITEMS = (
    ("HANDS", "Hands'", "The hands rotate as captured"),
    ("BODY", "Body's", "The hands rotate as in the body's motion; only the fingers are captured"),
)
PLACING_ITEMS = (
    (
        "WRISTS",
        "By the Wrists",
        "The hands move with the chest, aligned with the body's own hands on average: for footage that shows only the "
        "hands",
    ),
    (
        "CHEST",
        "Before the Chest",
        "The hands move with the chest, placed in front of it as by Place Shot at Armature",
    ),
    ("PLACED", "As Placed", "The hands stay where the shot is: for a single camera that filmed both"),
)
ELBOW_ITEMS = (
    ("BODY", "Body's", "Elbows bend as in the body's motion"),
    ("HANDS", "Take's", "Elbows bend as in the footage, where they are visible"),
)


class DUOHAND_PG_body(bpy.types.PropertyGroup):
    """The Body panel's values."""

    offset: FloatProperty(
        name="Time Offset",
        description="Frames by which the hands are shifted in time to match the body",
        default=0.0,
        step=10,
        precision=2,
    )
    sure: FloatProperty(description="How sure the offset that was found is, 0 to 1", default=-1.0)
    found: FloatProperty(description="The offset that was found")
    wrists: EnumProperty(name="Wrists", description="Whose wrist positions are used", items=WRISTS_ITEMS)
    turns: EnumProperty(name="Rotation", description="Whose hand rotations are used", items=TURNS_ITEMS)
    placing: EnumProperty(
        name="Placement",
        description="How the captured hands are placed relative to the body",
        items=PLACING_ITEMS,
    )
    elbow: EnumProperty(name="Elbows", description="Which way the elbows bend", items=ELBOW_ITEMS)
    blend: IntProperty(
        name="Blend",
        description="Frames over which the hands fade in and out at the ends of the range and where they are absent",
        default=6,
        min=0,
        max=100,
    )
    spread_twist: BoolProperty(
        name="Spread Twist",
        description="Spread the hand's twist over the forearm's twist bones, where there are any",
        default=True,
    )
    bring_hands: BoolProperty(
        name="Bring Captured Hands",
        description="Also move the captured hands to the body's wrists",
        default=True,
    )
    report: StringProperty(description="What to know of the last join: a line for each arm that is too short")

    def settings(self) -> JoinSettings:
        """The values as one record."""
        return JoinSettings(
            self.offset,
            self.wrists,
            self.turns,
            self.placing,
            self.elbow,
            self.blend,
            self.spread_twist,
            self.bring_hands,
        )


_register_classes, _unregister_classes = bpy.utils.register_classes_factory((DUOHAND_PG_body,))


def register() -> None:
    _register_classes()
    bpy.types.Scene.duohand_body = PointerProperty(type=DUOHAND_PG_body)


def unregister() -> None:
    del bpy.types.Scene.duohand_body
    _unregister_classes()
