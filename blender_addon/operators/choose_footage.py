# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose Footage: by file browser, or by dropping a movie or picture on a 3D view."""

from typing import Any

import bpy
from bpy.props import StringProperty
from bpy_extras.io_utils import ImportHelper

from ..capture.footage import IMAGE_SUFFIXES, MOVIE_SUFFIXES


class DUOHAND_OT_choose_footage(bpy.types.Operator, ImportHelper):
    """Choose the movie, or the first picture of the sequence, that shows the hands"""

    bl_idname = "duohand.choose_footage"
    bl_label = "Choose Footage"
    bl_options = {"REGISTER", "UNDO"}

    filter_glob: StringProperty(
        default=";".join(f"*{suffix}" for suffix in (*MOVIE_SUFFIXES, *IMAGE_SUFFIXES)), options={"HIDDEN"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        # A dropped file comes with its path; the file browser starts without one.
        return self.execute(context) if self.filepath else ImportHelper.invoke(self, context, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        capture: Any = context.scene.duohand
        capture.footage = self.filepath
        if capture.problem:
            self.report({"ERROR"}, capture.problem)
            return {"CANCELLED"}
        self.report({"INFO"}, capture.facts_text)
        return {"FINISHED"}


class DUOHAND_FH_footage(bpy.types.FileHandler):
    """Footage dropped on the sidebar becomes the footage to capture."""

    bl_idname = "DUOHAND_FH_footage"
    bl_label = "Duohand Footage"
    bl_import_operator = "duohand.choose_footage"
    bl_file_extensions = ";".join((*MOVIE_SUFFIXES, *IMAGE_SUFFIXES))

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D" and context.region.type == "UI"


CLASSES = (DUOHAND_OT_choose_footage, DUOHAND_FH_footage)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
