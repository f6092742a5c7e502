# SPDX-License-Identifier: GPL-3.0-or-later
"""The Contact panel's values: the parts, and the frames over which contact fades in and out."""

from typing import Final

import bpy
from bpy.props import EnumProperty, IntProperty, PointerProperty

PART_ITEMS: Final = (
    ("thumb", "Thumb", "The thumb's tip"),
    ("index", "Index", "The index finger's tip"),
    ("middle", "Middle", "The middle finger's tip"),
    ("ring", "Ring", "The ring finger's tip"),
    ("pinky", "Pinky", "The little finger's tip"),
    ("palm", "Palm", "The palm"),
)


class DUOHAND_PG_contact(bpy.types.PropertyGroup):
    """Settings of the contact tools in this scene."""

    left: EnumProperty(name="Left", description="The left hand's part", items=PART_ITEMS, default="index")
    right: EnumProperty(name="Right", description="The right hand's part", items=PART_ITEMS, default="index")
    falloff: IntProperty(
        name="Falloff",
        description="Frames before and after the range over which the contact fades in and out",
        default=6,
        min=0,
        max=100,
    )


_register_classes, _unregister_classes = bpy.utils.register_classes_factory((DUOHAND_PG_contact,))


def register() -> None:
    _register_classes()
    bpy.types.Scene.duohand_contact = PointerProperty(type=DUOHAND_PG_contact)


def unregister() -> None:
    del bpy.types.Scene.duohand_contact
    _unregister_classes()
