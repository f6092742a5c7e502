# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept in the file: a shot's collection holds what is true of its take, an armature what is its hand's."""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

TIMING_ITEMS = (
    ("SECONDS", "Keep Timing", "A second of footage takes a second of the scene, whatever the frame rates"),
    ("FRAMES", "Frame for Frame", "Each frame of the footage falls on one frame of the scene"),
)
SIDE_ITEMS = (
    ("NONE", "None", "Not a hand"),
    ("LEFT", "Left", "A left hand"),
    ("RIGHT", "Right", "A right hand"),
)


class DUOHAND_PG_shot(bpy.types.PropertyGroup):
    """A take in the scene: where it came from, and how it was laid on the scene's frames and units."""

    is_shot: BoolProperty(name="Shot", description="Whether this collection holds a Duohand take")
    take_path: StringProperty(
        name="Take", description="The file this shot was loaded from", subtype="FILE_PATH"
    )
    start_frame: IntProperty(
        name="Start Frame", description="Scene frame of the take's first frame", default=1
    )
    timing: EnumProperty(
        name="Timing", description="How the footage's time became scene frames", items=TIMING_ITEMS
    )
    fps: IntProperty(
        name="Frame Rate", description="The scene's frame rate when the take was loaded", default=24
    )
    fps_base: FloatProperty(name="Base", description="What that frame rate was divided by", default=1.0)
    scale: FloatProperty(name="Scale", description="Blender units to a metre", default=1.0)
    place: PointerProperty(name="Place", description="The empty that carries the shot", type=bpy.types.Object)
    camera: PointerProperty(name="Camera", description="The camera that sees the shot", type=bpy.types.Object)
    own_camera: BoolProperty(
        name="Scene's Camera", description="Whether the shot hangs from a camera that was there before it"
    )


class DUOHAND_PG_range(bpy.types.PropertyGroup):
    """Scene frames first..last, both included."""

    first: IntProperty(name="First", description="First frame of the range")
    last: IntProperty(name="Last", description="Last frame of the range")


class DUOHAND_PG_hand(bpy.types.PropertyGroup):
    """A hand's armature."""

    side: EnumProperty(name="Side", description="Which hand this armature is", items=SIDE_ITEMS)
    skin: PointerProperty(name="Skin", description="The mesh of this hand", type=bpy.types.Object)
    raw_action: PointerProperty(
        name="Raw Motion", description="The motion before the shot was solved", type=bpy.types.Action
    )
    locked: CollectionProperty(
        name="Locked",
        description="Ranges whose motion stays when the shot is smoothed, loaded or captured again",
        type=DUOHAND_PG_range,
    )


CLASSES = (DUOHAND_PG_shot, DUOHAND_PG_range, DUOHAND_PG_hand)
_register_classes, _unregister_classes = bpy.utils.register_classes_factory(CLASSES)


def register() -> None:
    _register_classes()
    bpy.types.Collection.duohand = PointerProperty(type=DUOHAND_PG_shot)
    bpy.types.Object.duohand = PointerProperty(type=DUOHAND_PG_hand)


def unregister() -> None:
    del bpy.types.Object.duohand
    del bpy.types.Collection.duohand
    _unregister_classes()
