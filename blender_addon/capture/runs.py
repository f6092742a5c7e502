# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's runs in this Blender: queued, polled, and their takes loaded into the scenes that requested them.

`step` never waits and may be called from anywhere: by an operator's timer, and by Blender's own timer, which
continues when another file is loaded and the operator is gone.
"""

import atexit
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final

import bpy
from bpy.app.handlers import persistent

from inference_core.shared.errors import DuohandError, TakeError

from ..engine.job import CaptureJob, JobQueue, JobState, Phase
from ..engine.warm import WarmEngine
from ..messages import translated, wrapped
from ..sidebar import redraw
from ..take.settings import ApplySettings
from ..view.views import show_hands
from .landing import Landing, Target
from .progress import status_text

POLL_S: Final = 0.1
_POP_UP_LETTERS: Final = 110
_POP_UP_LINES: Final = 16


@dataclass(frozen=True)
class Outcome:
    """A run's outcome: a line for the user, and whether it is an error."""

    text: str
    is_error: bool = False
    log_path: str = ""


class Runs:
    """All runs of this Blender, one after the other."""

    def __init__(self) -> None:
        self._queue = JobQueue()
        self.warm_engine = WarmEngine()
        self._targets: dict[CaptureJob, Target] = {}
        self._landings: list[tuple[Landing, JobState]] = []
        self.outcomes: list[Outcome] = []
        self._shown: object = None

    @property
    def state(self) -> JobState | None:
        """The running job's state; None if nothing runs or is being loaded."""
        if self._queue.current is not None:
            return self._queue.current.state
        if self._landings:
            return replace(self._landings[0][1], stage="", total=0, text="Bringing the hands in")
        return None

    @property
    def waiting(self) -> int:
        """How many runs wait behind the current one."""
        return self._queue.waiting

    def coming(self) -> set[str]:
        """Paths of the takes that are not in their scenes yet."""
        return {job.request.out for job in self._targets} | {item.path for item, _ in self._landings}

    def add(self, job: CaptureJob, scene: bpy.types.Scene, settings: ApplySettings) -> None:
        """Queue a run whose take goes to the scene."""
        self._targets[job] = Target.of(scene, settings)
        self._queue.add(job)
        if not bpy.app.background and not bpy.app.timers.is_registered(_keep_polling):
            bpy.app.timers.register(_keep_polling, first_interval=POLL_S, persistent=True)

    def step(self) -> list[Outcome]:
        """Poll, and continue loading finished takes. Returns the outcomes since the last call."""
        found = [self._finish(job, self._targets.pop(job)) for job in self._queue.poll()]
        if self._landings:
            found.append(self._land(*self._landings[0]))
        outcomes = [item for item in found if item is not None]
        self.outcomes = [*self.outcomes, *outcomes][-5:]
        for outcome in outcomes:
            if outcome.is_error:
                _pop_up(outcome.text)
        return outcomes

    def show(self) -> None:
        """Redraw the panels if their text has changed."""
        shown = self.state, self.waiting, tuple(self.outcomes)
        if shown != self._shown:
            self._shown = shown
            redraw("VIEW_3D")
            _tell_status_bars(status_text(self.state, self.waiting) if self.state is not None else None)

    def cancel(self) -> None:
        """Ask the current run to stop."""
        if self._queue.current is not None:
            self._queue.current.cancel()

    def abandon(self) -> None:
        """End everything at once."""
        self._queue.abandon_all()
        self.warm_engine.end()
        self._targets.clear()
        self._landings.clear()

    def begin_anew(self) -> None:
        """Blender replaces its data: start over with the loading of takes."""
        for landing, _ in self._landings:
            landing.begin_anew()

    def before_loading(self) -> None:
        """Another file, or the same again, is about to be loaded."""
        self._targets = {job: target.before_loading() for job, target in self._targets.items()}
        for landing, _ in self._landings:
            landing.target = landing.target.before_loading()

    def _finish(self, job: CaptureJob, target: Target) -> Outcome | None:
        state = job.state
        if state.phase is Phase.CANCELLED:
            return Outcome("Capture cancelled; capturing again resumes it")
        if state.phase is not Phase.DONE:
            return Outcome(state.error, is_error=True, log_path=state.log_path)
        self._landings.append((Landing(job.request.out, target), state))
        return None

    def _land(self, landing: Landing, state: JobState) -> Outcome | None:
        self._landings.pop(0)  # whatever happens, it is not tried again and again
        scene = landing.target.scene.now(bpy.data.scenes)
        if scene is None:
            name = landing.target.scene.name
            return Outcome(f"The scene {name} is gone. The take is {landing.path}: Load Take reads it")
        try:
            with _window():
                applied = landing.step(scene)
                if applied is None:
                    self._landings.insert(0, (landing, state))
                    return None
                show_hands(scene, list(applied.armatures.values()))
                if not bpy.app.background:
                    bpy.ops.ed.undo_push(message="Duohand Capture")
        except TakeError as error:
            return Outcome(f"{error}\nLog: {state.log_path}", is_error=True, log_path=state.log_path)
        except DuohandError as error:
            text = f"{error}\nThe take is {landing.path}: Load Take reads it\nLog: {state.log_path}"
            return Outcome(text, is_error=True, log_path=state.log_path)
        notes = "".join(f"\n{warning}" for warning in (*state.warnings, *applied.warnings))
        return Outcome(f"{applied.shot.name}: {_hands(len(applied.armatures))} captured{notes}")


RUNS: Final = Runs()


@persistent
def _data_is_exchanged(*_arguments: object) -> None:
    RUNS.begin_anew()


@persistent
def _file_is_loaded(*_arguments: object) -> None:
    RUNS.before_loading()
    RUNS.begin_anew()


def _handlers() -> tuple[tuple[list[Callable[..., None]], Callable[..., None]], ...]:
    handlers = bpy.app.handlers
    return (
        (handlers.undo_pre, _data_is_exchanged),
        (handlers.redo_pre, _data_is_exchanged),
        (handlers.load_pre, _file_is_loaded),
    )


def _keep_polling() -> float | None:
    RUNS.step()
    RUNS.show()
    return POLL_S if RUNS.state is not None else None


def _pop_up(text: str) -> None:
    """Show an error prominently: its run may have been started long ago, elsewhere."""
    if bpy.app.background:
        return

    def draw(menu: Any, _context: bpy.types.Context) -> None:
        for line in wrapped(translated(text), _POP_UP_LETTERS)[:_POP_UP_LINES]:
            menu.layout.label(text=line)
        menu.layout.operator("duohand.copy_report", icon="COPYDOWN")

    with _window():
        bpy.context.window_manager.popup_menu(draw, title="Duohand", icon="ERROR")


def _window() -> AbstractContextManager[object]:
    """A context with a window, which Blender's timers do not provide."""
    if bpy.context.window is not None or not bpy.context.window_manager.windows:
        return nullcontext()
    return bpy.context.temp_override(window=bpy.context.window_manager.windows[0])


def _tell_status_bars(text: str | None) -> None:
    """Show the text in every window's status bar; None gives the bar back to Blender."""
    for window in bpy.context.window_manager.windows:
        window.workspace.status_text_set(text)


def _hands(count: int) -> str:
    return ("no hand", "one hand", "both hands")[count]


def register() -> None:
    atexit.register(RUNS.abandon)
    for handlers, function in _handlers():
        handlers.append(function)


def unregister() -> None:
    atexit.unregister(RUNS.abandon)
    RUNS.abandon()
    for handlers, function in _handlers():
        handlers.remove(function)
    if bpy.app.timers.is_registered(_keep_polling):
        bpy.app.timers.unregister(_keep_polling)
