# SPDX-License-Identifier: GPL-3.0-or-later
"""Check Engine and Install Engine: both run outside Blender and are polled."""

import sys
import time
from pathlib import Path
from typing import Any, Final

import bpy

from inference_core import __version__
from inference_core.shared.errors import DuohandError

from ..capture.runs import RUNS
from ..engine.environment import EngineCheck
from ..engine.install_job import InstallJob, InstallState
from ..engine.installer.plan import Installation
from ..messages import report
from ..preferences import addon_preferences, installed_engine
from ..sidebar import over_sidebar, redraw

POLL_S: Final = 0.2
_CORE_WHEELS: Final = Path(__file__).parents[1] / "engine" / "wheels"


class _Watched:
    """Base of both operators: a step that is called until it reports that it is done."""

    _timer: Any = None

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> Any:
        if bpy.app.background:
            return self.execute(context)
        if not self._begin():
            return {"CANCELLED"}
        manager = context.window_manager
        self._timer = manager.event_timer_add(POLL_S, window=context.window)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        if event.type == "ESC" and event.value == "PRESS" and over_sidebar(context, event):
            self.stop()
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        try:
            ended = self.step(context)
        except DuohandError as error:
            return self._fail(context, error)
        if not ended:
            return {"PASS_THROUGH"}
        self.cancel(context)
        return {"FINISHED"}

    def execute(self, context: bpy.types.Context) -> Any:
        """Run without a window and wait for the end."""
        if not self._begin():
            return {"CANCELLED"}
        try:
            while not self.step(context):
                time.sleep(POLL_S / 4)
        except DuohandError as error:
            return self._fail(context, error)
        return {"FINISHED"}

    def cancel(self, context: bpy.types.Context) -> None:
        self.stop()
        if context.workspace is not None:
            context.workspace.status_text_set(None)
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None

    def _begin(self) -> bool:
        bpy.context.window_manager.duohand_install.problem = ""
        try:
            self.start()
        except DuohandError as error:
            self._show_problem(error)
            return False
        return True

    def _fail(self, context: bpy.types.Context, error: DuohandError) -> Any:
        self.cancel(context)
        self._show_problem(error)
        return {"CANCELLED"}

    def _show_problem(self, error: DuohandError) -> None:
        bpy.context.window_manager.duohand_install.problem = str(error)
        report(self, "ERROR", error)
        redraw("PREFERENCES", "VIEW_3D")


class DUOHAND_OT_check_engine(_Watched, bpy.types.Operator):
    """Start the engine and ask for its version and device"""

    bl_idname = "duohand.check_engine"
    bl_label = "Check Engine"
    bl_options = {"INTERNAL"}

    _check: EngineCheck | None = None

    def start(self) -> None:
        preferences = addon_preferences()
        preferences.engine_facts = ""
        self._check = EngineCheck(preferences.engine_path(), preferences.log_path("check"))

    def step(self, _context: bpy.types.Context) -> bool:
        if self._check is None:
            return True
        engine = self._check.poll()
        if engine is None:
            return False
        addon_preferences().engine_facts = engine.text
        report(self, "INFO", engine.text)
        return True

    def stop(self) -> None:
        if self._check is not None:
            self._check.abandon()
            self._check = None


class DUOHAND_OT_install_engine(_Watched, bpy.types.Operator):
    """Create a separate Python environment for the engine and install Duohand and PyTorch into it"""

    bl_idname = "duohand.install_engine"
    bl_label = "Install Engine"
    bl_options = {"INTERNAL"}

    _job: InstallJob | None = None
    _check: EngineCheck | None = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if RUNS.state is not None:
            cls.poll_message_set("A capture is running. Install when it is done")
            return False
        if context.window_manager.duohand_install.text:
            cls.poll_message_set("The engine is being installed")
            return False
        if not addon_preferences().wheels and not bpy.app.online_access:
            cls.poll_message_set(
                "Blender may not go online. Allow it in the system preferences, or choose a wheel folder"
            )
            return False
        return True

    def start(self) -> None:
        RUNS.warm_engine.end()  # its files are about to be replaced
        preferences = addon_preferences()
        wheels = Path(bpy.path.abspath(preferences.wheels)) if preferences.wheels else None
        plan = Installation(
            installed_engine(), Path(sys.executable), core_requirement(), preferences.torch_build(), wheels
        )
        self._job = InstallJob(plan, preferences.log_path("install"))
        self._job.start()

    def step(self, context: bpy.types.Context) -> bool:
        shown: Any = context.window_manager.duohand_install
        if shown.stop:
            self.stop()
            raise DuohandError("The installation was cancelled.")
        if self._check is not None:
            return self._checked(self._check)
        if self._job is None:
            return True
        state = self._job.poll()
        self._show(context, state)
        if not state.ended:
            return False
        if state.error:
            raise DuohandError(state.error)
        preferences = addon_preferences()
        preferences.engine = ""
        self._check = EngineCheck(preferences.engine_path(), preferences.log_path("check"))
        return False

    def stop(self) -> None:
        bpy.context.window_manager.duohand_install.clear()
        if self._job is not None:
            self._job.cancel()
            self._job.abandon()
            self._job = None
        if self._check is not None:
            self._check.abandon()
            self._check = None

    def _checked(self, check: EngineCheck) -> bool:
        try:
            engine = check.poll()
        except DuohandError:
            if self._job is not None:
                self._job.distrust()
            raise
        if engine is None:
            return False
        addon_preferences().engine_facts = engine.text
        report(self, "INFO", f"Installed: {engine.text}")
        self.stop()
        return True

    def _show(self, context: bpy.types.Context, state: InstallState) -> None:
        text = f"{state.text} ({min(state.step + 1, state.total)}/{state.total}) {state.detail}".strip()
        shown: Any = context.window_manager.duohand_install
        if text == shown.text:
            return
        shown.text, shown.factor = text, state.fraction
        if context.workspace is not None:
            context.workspace.status_text_set(f"Duohand: {text}    the cross stops it")
        redraw("PREFERENCES", "VIEW_3D")


class DUOHAND_OT_cancel_install(bpy.types.Operator):
    """Stop installing the engine"""

    bl_idname = "duohand.cancel_install"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not context.window_manager.duohand_install.text:
            cls.poll_message_set("Nothing is being installed")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> Any:
        context.window_manager.duohand_install.stop = True
        return {"FINISHED"}


def core_requirement() -> str:
    """The core's wheel that came with the add-on, else its name on PyPI."""
    wheels = sorted(_CORE_WHEELS.glob("duohand-*.whl"))
    return str(wheels[-1]) if wheels else f"duohand=={__version__}"


CLASSES = (DUOHAND_OT_check_engine, DUOHAND_OT_install_engine, DUOHAND_OT_cancel_install)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
