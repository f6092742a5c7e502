# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose footage, by file browser or by dropping it; capture it; stop; copy the last error."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import bpy
from bpy.app.translations import pgettext_iface as iface_
from bpy.props import CollectionProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from inference_core.shared.errors import DuohandError
from inference_core.shared.footage_listing import MOVIE_SUFFIXES

from ..engine.environment import worker_command
from ..engine.job import CaptureJob
from ..engine.warm import IDLE_S
from ..messages import report
from ..preferences import addon_preferences
from ..scene.paths import absolute, footage_key
from ..sidebar import over_sidebar
from ..take.settings import ApplySettings
from .footage import IMAGE_SUFFIXES, clips_among
from .request import apply_settings, capture_request
from .runs import POLL_S, RUNS, Outcome

_FOOTAGE_FILES: Final = ";".join(f"*{suffix}" for suffix in (*MOVIE_SUFFIXES, *IMAGE_SUFFIXES))


class _ChooseFiles(ImportHelper):
    """Base of the operators that choose footage: one file, several, or a folder."""

    filter_glob: StringProperty(default=_FOOTAGE_FILES, options={"HIDDEN"})
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})
    directory: StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})

    def clips(self) -> list[Path]:
        """The footage that was chosen."""
        named = [Path(self.directory) / item.name for item in self.files if item.name]
        return clips_among(named or [Path(self.filepath or self.directory)])


class DUOHAND_OT_choose_footage(bpy.types.Operator, _ChooseFiles):
    """Choose the movie, or the first picture of the sequence, that shows the hands"""

    bl_idname = "duohand.choose_footage"
    bl_label = "Choose Footage"
    bl_options = {"REGISTER", "UNDO"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        # A dropped file comes with its path; the file browser starts without one.
        dropped = self.filepath or self.files
        return self.execute(context) if dropped else ImportHelper.invoke(self, context, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        capture: Any = context.scene.duohand
        several = self.clips() if len(self.files) > 1 else []
        capture.footage = str(several[0]) if several else self.filepath or str(self.clips()[0])
        if several:
            set_clips(capture, several[1:])
        if capture.problem:
            report(self, "ERROR", capture.problem)
            return {"CANCELLED"}
        report(self, "INFO", capture.facts_text)
        return {"FINISHED"}


class DUOHAND_OT_add_clips(bpy.types.Operator, _ChooseFiles):
    """Add more clips, each of which becomes its own shot: several files, or everything in a folder"""

    bl_idname = "duohand.add_clips"
    bl_label = "Add Clips"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        capture: Any = context.scene.duohand
        found = self.clips()
        if not found:
            report(self, "ERROR", f"There is no movie and no numbered picture in {self.directory}.")
            return {"CANCELLED"}
        there = [capture.footage, *(clip.footage for clip in capture.clips)]
        known = {footage_key(absolute(path)) for path in there if path}
        new = [path for path in found if footage_key(str(path)) not in known]
        if new and not capture.footage:
            capture.footage = str(new.pop(0))
        set_clips(capture, [*(clip.footage for clip in capture.clips), *new])
        report(self, "INFO", f"{len(capture.clips) + 1} clips")
        return {"FINISHED"}


class DUOHAND_OT_remove_clip(bpy.types.Operator):
    """Remove this clip from the list"""

    bl_idname = "duohand.remove_clip"
    bl_label = "Remove Clip"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    index: IntProperty(name="Index", description="Index of the clip", default=0, min=0)

    def execute(self, context: bpy.types.Context) -> set[str]:
        clips: Any = context.scene.duohand.clips
        if self.index < len(clips):
            clips.remove(self.index)
        return {"FINISHED"}


def set_clips(capture: Any, paths: Sequence[Path | str]) -> None:
    """Set the clips to capture after the first."""
    kept = [str(path) for path in paths]
    capture.clips.clear()
    for path in kept:
        capture.clips.add().footage = path


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
    """Queue a capture of the scene's footage and one of each further clip; a DuohandError says what is missing.

    If one of them cannot be queued, none is.
    """
    preferences = addon_preferences()
    command = worker_command(preferences.engine_path(), IDLE_S)
    jobs: list[tuple[CaptureJob, ApplySettings]] = []
    coming = RUNS.coming()
    for clip in ("", *(item.footage for item in scene.duohand.clips)):
        request = capture_request(scene, coming, clip)
        coming.add(request.out)
        job = CaptureJob(command, request, preferences.new_log("capture"), warm=RUNS.warm_engine)
        jobs.append((job, apply_settings(scene, clip)))
    for job, settings in jobs:
        RUNS.add(job, scene, settings)


def capture_problem(scene: bpy.types.Scene) -> str:
    """The reason why nothing can be captured now; empty if it can."""
    capture: Any = scene.duohand
    if not capture.footage:
        return iface_("Choose footage first")
    if capture.problem:
        return capture.problem
    if not addon_preferences().engine_path().exists():
        return iface_("There is no engine. Install or choose one in the add-on's preferences")
    return ""


class DUOHAND_OT_capture(bpy.types.Operator):
    """Find both hands in the footage and bring them into the scene, rigged and keyed. Esc over the panel stops it"""

    bl_idname = "duohand.capture"
    bl_label = "Capture Hands"
    bl_options = {"REGISTER"}

    _timer: Any = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        problem = capture_problem(context.scene)
        if problem:
            cls.poll_message_set(problem)
        return not problem

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
            # RUNS pops errors up by itself, whoever polls them; reported as errors they would pop up twice.
            self._report(RUNS.step(), "WARNING")
            RUNS.show()
            if RUNS.state is None:
                self._drop_timer(context)
                return {"FINISHED"}
        return {"PASS_THROUGH"}

    def cancel(self, context: bpy.types.Context) -> None:
        # Blender ends the operator (it quits, or loads a file); the run continues in runs' own timer.
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
            report(self, "ERROR", error)
            return False
        return True

    def _report(self, outcomes: list[Outcome], error_level: str = "ERROR") -> None:
        for outcome in outcomes:
            report(self, error_level if outcome.is_error else "INFO", outcome.text)

    def _drop_timer(self, context: bpy.types.Context) -> None:
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None


class DUOHAND_OT_cancel_capture(bpy.types.Operator):
    """Stop the running capture; capturing again resumes it"""

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
    DUOHAND_OT_add_clips,
    DUOHAND_OT_remove_clip,
    DUOHAND_FH_footage,
    DUOHAND_OT_capture,
    DUOHAND_OT_cancel_capture,
    DUOHAND_OT_copy_report,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
