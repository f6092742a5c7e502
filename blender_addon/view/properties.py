# SPDX-License-Identifier: GPL-3.0-or-later
"""The View panel's values: each reads and writes the skins' materials, and stores nothing itself."""

from typing import Any

import bpy
from bpy.props import BoolProperty, FloatProperty, PointerProperty

from . import look


class DUOHAND_PG_look(bpy.types.PropertyGroup):
    """How a shot's skins look."""

    opacity: FloatProperty(
        name="Skin Opacity",
        description="How opaque the hands are: less shows the footage behind them",
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        get=lambda self: look.opacity(_shot(self)),
        set=lambda self, value: look.set_opacity(_shot(self), value),
    )
    wire: BoolProperty(
        name="Wire",
        description="Show the skins' wireframes",
        get=lambda self: look.has_wire(_shot(self)),
        set=lambda self, value: look.set_wire(_shot(self), value),
    )
    tints: BoolProperty(
        name="Left and Right Tints",
        description="Tint the left hand red and the right one blue",
        get=lambda self: look.has_tints(_shot(self)),
        set=lambda self, value: look.set_tints(_shot(self), value),
    )


def _shot(own: Any) -> Any:
    return own.id_data


CLASSES = (DUOHAND_PG_look,)
_register_classes, _unregister_classes = bpy.utils.register_classes_factory(CLASSES)


def register() -> None:
    _register_classes()
    bpy.types.Collection.duohand_look = PointerProperty(type=DUOHAND_PG_look)


def unregister() -> None:
    del bpy.types.Collection.duohand_look
    _unregister_classes()
