# SPDX-License-Identifier: GPL-3.0-or-later
"""The values of the Footage and Capture panels, stored in the scene."""

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

from inference_core.shared.picture_sequences import LAST_FRAME

from ..scene.paths import RELATIVE
from ..scene.properties import MATCH_ITEM, TIMING_ITEMS
from ..take.settings import usual_timing
from ..translations import CONTEXT
from .footage import FootageFacts, read_facts

LENS_ITEMS = (
    ("DEFAULT", "Unknown", "From the footage's metadata, otherwise 60 degrees across the wider side"),
    ("FOV", "Field of View", "The angle across the wider side of the picture"),
    ("FOCAL", "Focal Length", "Focal length and width of the sensor as filmed"),
    ("CAMERA", "Scene's Camera", "The lens of the scene's active camera"),
    ("CLIP", "Tracked Clip", "The lens of a movie clip that the motion tracker solved"),
)
# Lenses of cameras whose motion can be taken as well.
MOVING_LENSES = ("CAMERA", "CLIP")
HANDS_ITEMS = (
    ("BOTH", "Both", "Capture both hands"),
    ("LEFT", "Left", "Capture the left hand only"),
    ("RIGHT", "Right", "Capture the right hand only"),
)
CAPTURE_TIMING_ITEMS = (MATCH_ITEM, *TIMING_ITEMS)
_TIMINGS = tuple(item[0] for item in CAPTURE_TIMING_ITEMS)


def _timing(capture: Any) -> int:
    """The chosen value, else this file's default."""
    return _TIMINGS.index(capture.timing_chosen or usual_timing(capture.id_data))


def _choose_timing(capture: Any, value: int) -> None:
    capture.timing_chosen = _TIMINGS[value]


def _footage_chosen(capture: Any, _context: bpy.types.Context) -> None:
    if capture.footage.startswith("//") and not bpy.data.filepath:
        return  # written for a .blend that is about to be saved for the first time
    path = bpy.path.abspath(capture.footage)
    if path != capture.described or capture.problem:  # not if only the notation of the path has changed
        capture.described = path
        capture.set_facts(read_facts(path))


class DUOHAND_PG_clip(bpy.types.PropertyGroup):
    """Footage that is captured after the first, as a shot of its own."""

    footage: StringProperty(
        name="Footage",
        description="A movie, or the first picture of a numbered sequence",
        subtype="FILE_PATH",
        options=RELATIVE,
    )


class DUOHAND_PG_capture(bpy.types.PropertyGroup):
    """Footage and settings of the next capture in this scene."""

    footage: StringProperty(
        name="Footage",
        description="A movie, or the first picture of a numbered sequence",
        subtype="FILE_PATH",
        options=RELATIVE,
        update=_footage_chosen,
    )
    clips: CollectionProperty(
        name="More Clips", description="Footage that is captured after this one", type=DUOHAND_PG_clip
    )
    described: StringProperty(description="The footage that the facts are of")
    described_first: IntProperty(description="Its first frame")
    described_last: IntProperty(description="Its last frame")
    problem: StringProperty(description="Why the footage cannot be used, where it cannot")
    width: IntProperty(name="Width", description="Width of the footage in pixels", min=0)
    height: IntProperty(name="Height", description="Height of the footage in pixels", min=0)
    fps: FloatProperty(name="Frame Rate", description="Frames a second of the footage", min=0.0)
    is_sequence: BoolProperty(name="Sequence", description="Whether the footage is a sequence of pictures")

    use_range: BoolProperty(
        name="Frame Range", description="Capture a part of the footage only", default=False
    )
    first: IntProperty(name="First", description="First frame of the footage to capture", min=0)
    last: IntProperty(name="Last", description="Last frame of the footage to capture", min=0)
    step: IntProperty(name="Step", description="Capture every Nth frame", default=1, min=1, max=100)
    sequence_fps: FloatProperty(
        name="Frame Rate", description="Frames a second of the pictures", default=24.0, min=0.1, max=1000.0
    )

    lens: EnumProperty(
        name="Lens", description="How the lens is determined", items=LENS_ITEMS, translation_context=CONTEXT
    )
    fov: FloatProperty(
        translation_context=CONTEXT,
        name="Field of View",
        description="Angle across the wider side of the picture",
        subtype="ANGLE",
        default=1.0471976,
        min=0.02,
        max=3.0,
    )
    focal_mm: FloatProperty(
        name="Focal Length", description="In millimetres", default=28.0, min=0.5, max=2000.0
    )
    sensor_mm: FloatProperty(
        name="Sensor", description="Width of the sensor in millimetres", default=36.0, min=1.0, max=200.0
    )
    clip: PointerProperty(
        name="Clip", description="The movie clip whose solved lens is used", type=bpy.types.MovieClip
    )
    use_camera_motion: BoolProperty(
        name="Camera Motion",
        description="Take the camera's motion too: the hands are smoothed in the world instead of in the picture, and "
        "stand where this camera saw them",
        default=False,
    )

    hands: EnumProperty(
        name="Hands",
        description="Which hands to capture",
        items=HANDS_ITEMS,
        translation_context=CONTEXT,
    )
    use_hand_length: BoolProperty(
        name="Hand Length",
        description="Whether the length of the hands is known; otherwise an average is assumed",
        default=False,
    )
    hand_length_mm: FloatProperty(
        name="Hand Length",
        description="From the wrist crease to the tip of the middle finger in millimetres",
        default=185.0,
        min=80.0,
        max=300.0,
        precision=0,
    )
    smooth: FloatProperty(
        name="Smoothing",
        description="How much jitter is removed; accents and fast motion are kept",
        default=0.5,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    use_network: BoolProperty(
        name="Two-Hand Network",
        description="Refine every hand with networks trained on two hands: better depth and rotation, above all "
        "where hands overlap. Capture takes about twice as long",
        default=True,
    )
    start_frame: IntProperty(
        name="Start Frame",
        description="Scene frame of the first captured frame",
        default=1,
        min=-LAST_FRAME,
        max=LAST_FRAME,
    )
    timing: EnumProperty(
        name="Timing",
        description="How the footage's time maps to scene frames",
        items=CAPTURE_TIMING_ITEMS,
        translation_context=CONTEXT,
        get=_timing,
        set=_choose_timing,
    )
    timing_chosen: StringProperty(description="The timing that was chosen; as usual where empty")
    set_markers: BoolProperty(
        name="Markers", description="Mark the least certain spans on the timeline", default=True
    )
    new_shot: BoolProperty(
        name="New Shot",
        description="Add another shot instead of updating an earlier one of this footage",
        default=False,
    )
    use_scene_camera: BoolProperty(
        name="Parent to Scene Camera",
        description="Parent the hands to the scene's camera, which may move, instead of making a new one",
        default=False,
    )
    take_folder: StringProperty(
        name="Takes",
        description="Folder for the take; beside the .blend file if empty",
        subtype="DIR_PATH",
        options=RELATIVE,
    )

    @property
    def rate(self) -> float:
        """Frames per second of the footage; 0 if unknown."""
        return self.sequence_fps if self.is_sequence else self.fps

    @property
    def facts(self) -> FootageFacts:
        """The facts about the footage that a capture needs."""
        size = (self.width, self.height)
        is_unknown = bool(self.footage) and not self.problem and not self.width
        return FootageFacts(
            size,
            self.fps,
            self.described_first,
            self.described_last,
            self.is_sequence,
            self.problem,
            is_unknown,
        )

    @property
    def facts_text(self) -> str:
        """The footage described in one line."""
        return self.facts.text

    def set_facts(self, facts: FootageFacts) -> None:
        """Store the facts about the footage, and set the range to all of it."""
        self.width, self.height = facts.size_px
        self.fps, self.is_sequence = facts.fps, facts.is_sequence
        self.first, self.last = facts.first, facts.last
        self.described_first, self.described_last = facts.first, facts.last
        self.problem = facts.problem


CLASSES = (DUOHAND_PG_clip, DUOHAND_PG_capture)
_register_classes, _unregister_classes = bpy.utils.register_classes_factory(CLASSES)


def register() -> None:
    _register_classes()
    bpy.types.Scene.duohand = PointerProperty(type=DUOHAND_PG_capture)


def unregister() -> None:
    del bpy.types.Scene.duohand
    _unregister_classes()
