# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's runs of this Blender: queued, polled, and their takes laid into the scenes they were asked for.

`step` never waits. It may be called from anywhere as often as wanted: an operator's timer, and Blender's own
timer that goes on when another file is loaded and the operator is gone.
"""

import atexit
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

import bpy

from inference_core.errors import DuohandError
from inference_core.take import load_take

from ..engine.job import CaptureJob, JobQueue, JobState, Phase
from ..scene.apply_take import ApplySettings, apply_take

POLL_S: Final = 0.1


@dataclass(frozen=True)
class Outcome:
    """What came of a run: a line for the user, and whether it is an error."""

    text: str
    is_error: bool = False
    log_path: str = ""


@dataclass(frozen=True)
class _Target:
    """Where a take goes. The scene is known by number: undo and loading make its Python object stale."""

    scene_uid: int
    scene_name: str
    settings: ApplySettings


class Runs:
    """All runs of this Blender, one after the other."""

    def __init__(self) -> None:
        self._queue = JobQueue()
        self._targets: dict[CaptureJob, _Target] = {}
        self.outcomes: list[Outcome] = []

    @property
    def state(self) -> JobState | None:
        """The running job's state; None when nothing runs."""
        return self._queue.current.state if self._queue.current is not None else None

    @property
    def waiting(self) -> int:
        """How many runs wait behind the current one."""
        return self._queue.waiting

    def add(self, job: CaptureJob, scene: bpy.types.Scene, settings: ApplySettings) -> None:
        """Queue a run whose take goes to the scene."""
        self._targets[job] = _Target(scene.session_uid, scene.name, settings)
        self._queue.add(job)
        if not bpy.app.background and not bpy.app.timers.is_registered(_keep_polling):
            bpy.app.timers.register(_keep_polling, first_interval=POLL_S, persistent=True)

    def step(self) -> list[Outcome]:
        """Poll; lay ended runs' takes into their scenes. What came of them since the last call."""
        ended = [self._finish(job, self._targets.pop(job)) for job in self._queue.poll()]
        self.outcomes = [*self.outcomes, *ended][-5:]
        return ended

    def cancel(self) -> None:
        """Ask the current run to stop."""
        if self._queue.current is not None:
            self._queue.current.cancel()

    def abandon(self) -> None:
        """End everything at once."""
        self._queue.abandon_all()
        self._targets.clear()

    def _finish(self, job: CaptureJob, target: _Target) -> Outcome:
        state = job.state
        if state.phase is Phase.CANCELLED:
            return Outcome("Capture cancelled; capturing again goes on from what there is")
        if state.phase is not Phase.DONE:
            return Outcome(state.error, is_error=True, log_path=state.log_path)
        scene = next((item for item in bpy.data.scenes if item.session_uid == target.scene_uid), None)
        path = job.request.out
        if scene is None:
            return Outcome(f"The scene {target.scene_name} is gone. The take is {path}: Load Take reads it")
        try:
            take = load_take(path)
            with _window():
                applied = apply_take(scene, take, path, target.settings)
                if not bpy.app.background:
                    bpy.ops.ed.undo_push(message="Duohand Capture")
        except DuohandError as error:
            return Outcome(str(error), is_error=True, log_path=state.log_path)
        notes = "".join(f"\n{warning}" for warning in (*state.warnings, *applied.warnings))
        return Outcome(f"{applied.shot.name}: {_hands(len(applied.armatures))} captured{notes}")


RUNS: Final = Runs()


def _keep_polling() -> float | None:
    RUNS.step()
    redraw("VIEW_3D")
    return POLL_S if RUNS.state is not None else None


def redraw(*kinds: str) -> None:
    """Let every area of these kinds show what is new."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in kinds:
                area.tag_redraw()


def _window() -> AbstractContextManager[object]:
    """A window to work in, where Blender calls from its timer and gives none."""
    if bpy.context.window is not None or not bpy.context.window_manager.windows:
        return nullcontext()
    return bpy.context.temp_override(window=bpy.context.window_manager.windows[0])


def _hands(count: int) -> str:
    return ("no hand", "one hand", "both hands")[count]


def register() -> None:
    atexit.register(RUNS.abandon)


def unregister() -> None:
    atexit.unregister(RUNS.abandon)
    RUNS.abandon()
    if bpy.app.timers.is_registered(_keep_polling):
        bpy.app.timers.unregister(_keep_polling)
