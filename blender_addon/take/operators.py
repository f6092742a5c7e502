# SPDX-License-Identifier: GPL-3.0-or-later
"""Load Take: a take's hands, camera and plate into the scene. Save Take: the edited motion back into a take."""

from pathlib import Path
from typing import Any, Final

import bpy
import numpy as np
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    StringProperty,
)
from bpy_extras.io_utils import ExportHelper, ImportHelper

from inference_core.shared.picture_sequences import LAST_FRAME
from inference_core.shared.take import load_take, save_take

from ..messages import report
from ..scene.axes import eye_level
from ..scene.motion import EULER_ORDERS
from ..scene.paths import absolute, take_file
from ..scene.properties import MATCH_ITEM, TIMING_ITEMS
from ..scene.shot import active_shot, shots, units_per_metre
from ..sidebar import NeedsShot, Reports
from ..view.views import show_hands
from .apply_take import apply_take
from .files import takes_folder_of
from .rate import follow_rate
from .read_take import read_take
from .settings import ApplySettings

# Reset each time: settings chosen for one shot do not carry over to the next.
_ASKED: Final[Any] = {"SKIP_SAVE"}

ROTATION_ITEMS: Final = (
    ("QUATERNION", "Quaternion", "Four curves per bone, without gimbal lock"),
    *((order, f"{order} Euler", "Three curves per bone, rotated in this order") for order in EULER_ORDERS),
)


class DUOHAND_OT_load_take(Reports, bpy.types.Operator, ImportHelper):
    """Load a Duohand take: rigged and keyed hands, the camera and the footage behind them"""

    bl_idname = "duohand.load_take"
    bl_label = "Load Take"
    bl_options = {"REGISTER", "UNDO", "PRESET"}

    filename_ext = ".npz"
    filter_glob: StringProperty(default="*.npz", options={"HIDDEN"})
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})
    directory: StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    existing: EnumProperty(
        name="Existing",
        description="What happens to a shot of the same footage",
        items=(
            (
                "UPDATE",
                "Update in Place",
                "Replace the shot's motion by the take; everything else about the shot stays",
            ),
            ("NEW", "New Shot", "Keep the earlier shot and make another beside it"),
        ),
    )
    name: StringProperty(name="Shot", description="Name of the shot; the footage's if empty")
    start_frame: IntProperty(
        options=_ASKED,
        name="Start Frame",
        description="Scene frame of the take's first frame",
        default=1,
        min=-LAST_FRAME,
        max=LAST_FRAME,
    )
    timing: EnumProperty(
        options=_ASKED,
        name="Timing",
        description="How the footage's time maps to scene frames",
        items=(
            (
                "USUAL",
                "Automatic",
                "Match if nothing in the file is animated yet, otherwise Keep Timing; an updated shot keeps its own",
            ),
            MATCH_ITEM,
            *TIMING_ITEMS,
        ),
    )
    set_rate: BoolProperty(
        name="Set Frame Rate", description="Give the scene the footage's frame rate", default=False
    )
    set_range: BoolProperty(
        options=_ASKED,
        name="Set Range",
        description="Set the scene's range to the take and the shots beside it",
        default=True,
    )
    set_resolution: BoolProperty(
        options=_ASKED,
        name="Set Resolution",
        description="Give the scene the footage's size in pixels",
        default=True,
    )
    camera: EnumProperty(
        options=_ASKED,
        name="Camera",
        description="The camera that sees the hands as the footage does",
        items=(
            ("NEW", "New Camera", "A new camera with the take's lens and the footage behind it"),
            ("SCENE", "Scene's Camera", "Parent the hands to the scene's camera, which may move"),
        ),
    )
    place: EnumProperty(
        options=_ASKED,
        name="Place",
        description="Where a new shot's camera stands",
        items=(
            (
                "EYES",
                "Eye Level",
                "1.5 m above the world's origin, looking along +Y: clear of a new file's cube",
            ),
            ("ORIGIN", "World Origin", "At the origin, looking along +Y"),
            ("CURSOR", "3D Cursor", "At the 3D cursor, looking along its Y axis"),
        ),
    )
    scale: FloatProperty(
        options=_ASKED,
        name="Scale",
        description="Blender units per metre; 0: the scene's unit scale",
        default=0.0,
        min=0.0,
        max=1000.0,
    )
    rotation_mode: EnumProperty(
        options=_ASKED,
        name="Rotation",
        description="How the bones' rotations are keyed",
        items=ROTATION_ITEMS,
    )
    correctives: BoolProperty(
        options=_ASKED,
        name="Pose Correctives",
        description="Driven shape keys that keep the hand's volume where it bends",
        default=True,
    )
    show_footage: BoolProperty(
        options=_ASKED,
        name="Show Footage",
        description="Put the footage behind the camera's view",
        default=True,
    )
    set_markers: BoolProperty(
        name="Markers", description="Mark the least certain spans on the timeline", default=True
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        if self.filepath or self.files:  # dropped
            return self.execute(context)
        folder = takes_folder_of(context.scene)
        if folder.is_dir():
            self.filepath = str(folder / "")
        return ImportHelper.invoke(self, context, event)

    def run(self, context: bpy.types.Context) -> str:
        named = [str(Path(self.directory) / item.name) for item in self.files if item.name]
        for path in named or [absolute(self.filepath)]:
            self._load(context, path)
        return ""

    def _load(self, context: bpy.types.Context, path: str) -> None:
        applied = apply_take(context.scene, load_take(path), path, self._settings(context))
        for warning in applied.warnings:
            report(self, "WARNING", warning)
        show_hands(context.scene, list(applied.armatures.values()))
        hands = " and ".join(("left", "right")[side] for side in applied.armatures) or "no"
        report(self, "INFO", f"{applied.shot.name}: {hands} hand loaded")

    def _settings(self, context: bpy.types.Context) -> ApplySettings:
        scale = self.scale or units_per_metre(context.scene)
        cursor: Any = context.scene.cursor.matrix
        places = {"EYES": eye_level(scale), "ORIGIN": np.eye(4), "CURSOR": np.array(cursor)}
        return ApplySettings(
            name=self.name,
            existing=self.existing,
            start_frame=self._asked("start_frame"),
            timing=None if self.timing == "USUAL" else self.timing,
            set_rate=self.set_rate,
            set_range=self._asked("set_range"),
            set_resolution=self._asked("set_resolution"),
            camera=self._asked("camera"),
            place=places[self.place],
            scale=self.scale or None,
            rotation_mode=self._asked("rotation_mode"),
            correctives=self._asked("correctives"),
            show_footage=self._asked("show_footage"),
            set_markers=self.set_markers,
        )

    def _asked(self, name: str) -> Any:
        """The property's value if it was set; None if not: an existing shot then keeps its own."""
        return getattr(self, name) if self.properties.is_property_set(name) else None


class DUOHAND_FH_take(bpy.types.FileHandler):
    """Takes dropped on a 3D view are loaded into the scene."""

    bl_idname = "DUOHAND_FH_take"
    bl_label = "Duohand Take"
    bl_import_operator = "duohand.load_take"
    bl_file_extensions = ".npz"

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


class DUOHAND_OT_follow_rate(NeedsShot, Reports, bpy.types.Operator):
    """Move the shot's keys, markers and plate to the right times at the scene's frame rate"""

    bl_idname = "duohand.follow_rate"
    bl_label = "Move Keys Along"
    bl_options = {"REGISTER", "UNDO"}

    shot: StringProperty(name="Shot", description="Name of the shot; the active one if empty")

    def run(self, context: bpy.types.Context) -> str:
        named = next((item for item in shots(context.scene) if item.name == self.shot), None)
        return " ".join(follow_rate(context.scene, named or active_shot(context)))


class DUOHAND_OT_save_take(NeedsShot, Reports, bpy.types.Operator, ExportHelper):
    """Write the hands' current motion to a take file"""

    bl_idname = "duohand.save_take"
    bl_label = "Save Take"
    bl_options = {"REGISTER"}

    filename_ext = ".npz"
    filter_glob: StringProperty(default="*.npz", options={"HIDDEN"})

    def run(self, context: bpy.types.Context) -> str:
        path = absolute(self.filepath)
        shot = active_shot(context)
        base = load_take(take_file(shot))
        save_take(read_take(context.scene, shot, base), path)
        return f"{shot.name} saved to {path}"


CLASSES = (
    DUOHAND_OT_load_take,
    DUOHAND_FH_take,
    DUOHAND_OT_follow_rate,
    DUOHAND_OT_save_take,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
