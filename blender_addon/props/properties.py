# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hands hold which objects in this scene, and when."""

import bpy
from bpy.props import CollectionProperty, EnumProperty, IntProperty, PointerProperty

SIDE_ITEMS = (
    ("LEFT", "Left", "The left hand"),
    ("RIGHT", "Right", "The right hand"),
)
LEAD_ITEMS = (
    ("HAND", "Object Follows", "The object moves with the hand; a second hand keeps its place on it"),
    ("OBJECT", "Hand Follows", "The hand keeps its place on the object, which keeps its own motion"),
)


class DUOHAND_PG_grip(bpy.types.PropertyGroup):
    """A hand on an object, on frames first..last, both included."""

    prop: PointerProperty(name="Object", description="The object that is held", type=bpy.types.Object)
    hand: EnumProperty(name="Hand", description="Which hand holds it", items=SIDE_ITEMS)
    lead: EnumProperty(name="Lead", description="Who follows whom", items=LEAD_ITEMS)
    first: IntProperty(name="First", description="First frame of the grip")
    last: IntProperty(name="Last", description="Last frame of the grip")


class DUOHAND_PG_props(bpy.types.PropertyGroup):
    """The Props panel's values."""

    prop: PointerProperty(name="Object", description="The object that hands hold", type=bpy.types.Object)
    hand: EnumProperty(name="Hand", description="Which hand holds it", items=SIDE_ITEMS)
    lead: EnumProperty(name="Lead", description="Who follows whom", items=LEAD_ITEMS)
    blend: IntProperty(
        name="Blend",
        description="Frames over which a hand returns to its own motion once it lets go",
        default=8,
        min=0,
        max=100,
    )
    grips: CollectionProperty(type=DUOHAND_PG_grip)


_CLASSES = (DUOHAND_PG_grip, DUOHAND_PG_props)
_register_classes, _unregister_classes = bpy.utils.register_classes_factory(_CLASSES)


def register() -> None:
    _register_classes()
    bpy.types.Scene.duohand_props = PointerProperty(type=DUOHAND_PG_props)


def unregister() -> None:
    del bpy.types.Scene.duohand_props
    _unregister_classes()
