# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose footage, by file browser or by dropping it; capture it; stop; copy the last error."""

import time
from typing import Any

import bpy
from bpy.props import StringProperty
from bpy_extras.io_utils import ImportHelper

from inference_core.shared.errors import DuohandError
from inference_core.shared.footage_listing import MOVIE_SUFFIXES

from ..engine.environment import worker_command
from ..engine.job import CaptureJob
from ..engine.warm import IDLE_S
from ..preferences import addon_preferences
from ..sidebar import over_sidebar
from .footage import IMAGE_SUFFIXES
from .request import apply_settings, capture_request
from .runs import POLL_S, RUNS, Outcome


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


def start_capture(scene: bpy.types.Scene) -> None:
    """Queue a capture of the scene's footage; a DuohandError says what is missing."""
    preferences = addon_preferences()
    log = preferences.log_path(time.strftime("capture-%Y%m%d-%H%M%S"))
    command = worker_command(preferences.engine_path(), IDLE_S)
    job = CaptureJob(command, capture_request(scene, RUNS.coming), log, warm=RUNS.warm_engine)
    RUNS.add(job, scene, apply_settings(scene))


class DUOHAND_OT_capture(bpy.types.Operator):
    """Find both hands in the footage and bring them into the scene, rigged and keyed. Esc over the panel stops it"""

    bl_idname = "duohand.capture"
    bl_label = "Capture Hands"
    bl_options = {"REGISTER"}

    _timer: Any = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        capture: Any = context.scene.duohand
        if not capture.footage:
            cls.poll_message_set("Choose footage first")
            return False
        if capture.problem:
            cls.poll_message_set(capture.problem)
            return False
        if not addon_preferences().engine_path().exists():
            cls.poll_message_set("There is no engine. Install or choose one in the add-on's preferences")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> Any:
        if bpy.app.background:
            return self.execute(context)
        if not self._start(context):
            return {"CANCELLED"}
        manager = context.window_manager
        self._timer = manager.event_timer_add(POLL_S, window=context.window)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        if event.type == "ESC" and event.value == "PRESS" and over_sidebar(context, event):
            RUNS.cancel()
            return {"RUNNING_MODAL"}
        if event.type == "TIMER":
            self._report(RUNS.step())
            RUNS.show()
            if RUNS.state is None:
                self._drop_timer(context)
                return {"FINISHED"}
        return {"PASS_THROUGH"}

    def cancel(self, context: bpy.types.Context) -> None:
        # Blender ends the operator (it quits, or loads a file); the run itself goes on in runs' own timer.
        self._drop_timer(context)

    def execute(self, context: bpy.types.Context) -> Any:
        """Capture and wait for the end, for scripts and for a Blender without a window."""
        if not self._start(context):
            return {"CANCELLED"}
        outcomes: list[Outcome] = []
        while RUNS.state is not None:
            outcomes += RUNS.step()
            time.sleep(0.02)
        self._report(outcomes)
        return {"CANCELLED"} if any(outcome.is_error for outcome in outcomes) else {"FINISHED"}

    def _start(self, context: bpy.types.Context) -> bool:
        try:
            start_capture(context.scene)
        except DuohandError as error:
            self.report({"ERROR"}, str(error))
            return False
        return True

    def _report(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self.report({"ERROR"} if outcome.is_error else {"INFO"}, outcome.text)

    def _drop_timer(self, context: bpy.types.Context) -> None:
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None


class DUOHAND_OT_cancel_capture(bpy.types.Operator):
    """Stop the running capture; capturing again goes on from what it had"""

    bl_idname = "duohand.cancel_capture"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if RUNS.state is None:
            cls.poll_message_set("Nothing is being captured")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> Any:
        RUNS.cancel()
        return {"FINISHED"}


class DUOHAND_OT_copy_report(bpy.types.Operator):
    """Copy the last error, with the path of its log, to the clipboard"""

    bl_idname = "duohand.copy_report"
    bl_label = "Copy Report"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if not RUNS.outcomes:
            cls.poll_message_set("Nothing has been captured yet")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> Any:
        context.window_manager.clipboard = RUNS.outcomes[-1].text
        return {"FINISHED"}


CLASSES = (
    DUOHAND_OT_choose_footage,
    DUOHAND_FH_footage,
    DUOHAND_OT_capture,
    DUOHAND_OT_cancel_capture,
    DUOHAND_OT_copy_report,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
