# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties stored in the file: a shot's collection has those of its take, an armature those of its hand."""

from pathlib import Path
from typing import Any

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

from . import plate
from .paths import RELATIVE, absolute

TIMING_ITEMS = (
    ("SECONDS", "Keep Timing", "A second of footage takes a second of the scene, whatever the frame rates"),
    ("FRAMES", "Frame for Frame", "Each frame of the footage falls on one frame of the scene"),
)
MATCH_ITEM = (
    "MATCH",
    "Match",
    "The scene gets the footage's frame rate: every frame of the footage on a whole frame, at its time",
)
SIDE_ITEMS = (
    ("NONE", "None", "Not a hand"),
    ("LEFT", "Left", "A left hand"),
    ("RIGHT", "Right", "A right hand"),
)


def _footage_chosen(shot: Any, _context: bpy.types.Context) -> None:
    file = plate.first_file(Path(absolute(shot.footage))) if shot.footage else None
    if shot.camera is not None and file is not None:
        plate.relink_plate(shot.camera, file)


class DUOHAND_PG_touch(bpy.types.PropertyGroup):
    """Parts of the two hands that touch, or do not, through scene frames first..last, both included."""

    first: IntProperty(name="First", description="First frame of the range")
    last: IntProperty(name="Last", description="Last frame of the range")
    falloff: IntProperty(name="Falloff", description="Frames beyond the range over which it fades in and out")
    kind: StringProperty(description="touch or apart")
    left: StringProperty(name="Left", description="The left hand's part")
    right: StringProperty(name="Right", description="The right hand's part")


class DUOHAND_PG_shot(bpy.types.PropertyGroup):
    """A take in the scene: where it came from, and how it was laid on the scene's frames and units."""

    is_shot: BoolProperty(name="Shot", description="Whether this collection holds a Duohand take")
    take_path: StringProperty(
        name="Take",
        description="The file this shot was loaded from",
        subtype="FILE_PATH",
        options=RELATIVE,
    )
    footage: StringProperty(
        name="Footage",
        description="The footage this shot was captured from; choose it here if it has moved",
        subtype="FILE_PATH",
        options=RELATIVE,
        update=_footage_chosen,
    )
    beside: StringProperty(description="Folder of the .blend that the paths starting with // are relative to")
    footage_key: StringProperty(description="What the take says it was made from: shots are told apart by it")
    start_frame: IntProperty(
        name="Start Frame", description="Scene frame of the take's first frame", default=1
    )
    timing: EnumProperty(
        name="Timing", description="How the footage's time was mapped to scene frames", items=TIMING_ITEMS
    )
    fps: IntProperty(
        name="Frame Rate", description="The scene's frame rate when the take was loaded", default=24
    )
    fps_base: FloatProperty(name="Base", description="What that frame rate was divided by", default=1.0)
    scale: FloatProperty(name="Scale", description="Blender units per metre", default=1.0)
    rotation_mode: StringProperty(description="How its bones' rotations are keyed", default="QUATERNION")
    correctives: BoolProperty(description="Whether its skins have pose correctives", default=True)
    range_first: IntProperty(description="First frame of the scene's range as this shot set it")
    range_last: IntProperty(description="Last frame of the scene's range as this shot set it", default=-1)
    touches: CollectionProperty(
        name="Touches", description="Where the user marked that hands touch, or do not", type=DUOHAND_PG_touch
    )
    place: PointerProperty(name="Place", description="The empty that carries the shot", type=bpy.types.Object)
    camera: PointerProperty(name="Camera", description="The camera that sees the shot", type=bpy.types.Object)
    markers: StringProperty(description="Names and frames of the markers that its take set")
    cuts: StringProperty(description="Scene frames at which its footage is cut, between two pictures each")
    own_camera: BoolProperty(
        name="Scene's Camera", description="Whether the shot is parented to a camera that existed before it"
    )


class DUOHAND_PG_range(bpy.types.PropertyGroup):
    """Scene frames first..last, both included."""

    first: IntProperty(name="First", description="First frame of the range")
    last: IntProperty(name="Last", description="Last frame of the range")
    blend: IntProperty(
        name="Blend", description="Frames beside the range over which other motion blends into it", min=0
    )


class DUOHAND_PG_smoothed(bpy.types.PropertyGroup):
    """Scene frames first..last, both included, and the smoothing, 0..1, that they have now."""

    first: IntProperty(name="First", description="First frame of the range")
    last: IntProperty(name="Last", description="Last frame of the range")
    strength: FloatProperty(name="Strength", description="Smoothing of the range", min=0.0, max=1.0)


class DUOHAND_PG_hand(bpy.types.PropertyGroup):
    """A hand's armature."""

    side: EnumProperty(name="Side", description="Which hand this armature is", items=SIDE_ITEMS)
    skin: PointerProperty(name="Skin", description="The mesh of this hand", type=bpy.types.Object)
    raw_action: PointerProperty(
        name="Raw Motion", description="The motion before the shot was solved", type=bpy.types.Action
    )
    loaded_motion: StringProperty(description="Digest of the motion's keys as its take was loaded")
    loaded_lens: StringProperty(description="On a camera: digest of its lens's keys as its take was loaded")
    loaded_raw: StringProperty(description="Digest of the raw motion's keys as its take was loaded")
    loaded_values: StringProperty(description="On a camera: the values that takes gave it without keys")
    loaded_visibility: StringProperty(
        description="On a skin: digest of the keys that show it where its hand is"
    )
    loaded_skin: StringProperty(description="On a skin: digest of its shape as its take was loaded")
    loaded_surface: StringProperty(description="On a skin: digest of its UVs and more as its mesh was made")
    solved_smoothing: FloatProperty(
        name="Solved Smoothing", description="The smoothing that the take was solved with", default=0.5
    )
    smoothing: CollectionProperty(
        name="Smoothing",
        description="Ranges that were smoothed to another strength",
        type=DUOHAND_PG_smoothed,
    )
    locked: CollectionProperty(
        name="Locked",
        description="Ranges whose motion stays when the shot is smoothed, loaded or captured again",
        type=DUOHAND_PG_range,
    )


CLASSES = (DUOHAND_PG_touch, DUOHAND_PG_shot, DUOHAND_PG_range, DUOHAND_PG_smoothed, DUOHAND_PG_hand)
_register_classes, _unregister_classes = bpy.utils.register_classes_factory(CLASSES)


def register() -> None:
    _register_classes()
    bpy.types.Collection.duohand = PointerProperty(type=DUOHAND_PG_shot)
    bpy.types.Object.duohand = PointerProperty(type=DUOHAND_PG_hand)
    bpy.types.Object.duohand_kept = PointerProperty(type=DUOHAND_PG_shot)  # on a shot's empty, a copy


def unregister() -> None:
    del bpy.types.Object.duohand_kept
    del bpy.types.Object.duohand
    del bpy.types.Collection.duohand
    _unregister_classes()
