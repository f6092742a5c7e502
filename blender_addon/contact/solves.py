# SPDX-License-Identifier: GPL-3.0-or-later
"""The running solve of a range, one at a time: polled by Blender's timer, its result keyed on arrival."""

import atexit
import contextlib
import math
import time
from pathlib import Path
from typing import Final

import bpy

from inference_core.shared.errors import DuohandError

from ..capture.runs import RUNS, Outcome
from ..engine.child import EngineError
from ..engine.environment import worker_command
from ..engine.job import CaptureJob, Phase
from ..engine.warm import IDLE_S
from ..preferences import addon_preferences
from ..sidebar import redraw
from .range_solve import RangeSolve, brought_back

POLL_S: Final = 0.05


class Solves:
    """The current solve in this Blender, if any, and the outcome of the last one."""

    def __init__(self) -> None:
        self._running: tuple[RangeSolve, CaptureJob] | None = None
        self._shown_s = -math.inf
        self.last: Outcome | None = None

    @property
    def text(self) -> str:
        """The current activity; empty if there is none."""
        return "" if self._running is None else self._running[1].state.text

    def start(self, solve: RangeSolve) -> None:
        """Hand the range to the engine; Blender's timer does the rest."""
        job = CaptureJob(_command(), solve.request, _log(), warm=RUNS.warm_engine)
        self._running, self.last = (solve, job), None
        job.start()
        if not bpy.app.background and not bpy.app.timers.is_registered(_keep_polling):
            bpy.app.timers.register(_keep_polling, first_interval=POLL_S, persistent=True)

    def expect(self) -> None:
        """The panel is shown: if it has just been opened, have an engine ready. Returns at once."""
        now_s = time.monotonic()
        if now_s - self._shown_s > IDLE_S and not bpy.app.background:
            bpy.app.timers.register(_get_ready)
        self._shown_s = now_s

    def get_ready(self) -> None:
        """Start an engine that waits for the solve, unless there is one."""
        if self._running is None and RUNS.state is None:
            with contextlib.suppress(EngineError):  # the solve itself says what is wrong
                RUNS.warm_engine.begin(_command(), _log())

    def step(self) -> Outcome | None:
        """The outcome of the solve, once it has ended."""
        if self._running is None:
            return None
        solve, job = self._running
        if not job.poll().ended:
            return None
        self._running = None
        self.last = self._concluded(solve, job)
        solve.forget_files()
        return self.last

    def abandon(self) -> None:
        """Stop it at once; nothing is keyed."""
        if self._running is not None:
            solve, job = self._running
            self._running = None
            job.abandon()
            solve.forget_files()

    def _concluded(self, solve: RangeSolve, job: CaptureJob) -> Outcome:
        state = job.state
        if state.phase is not Phase.DONE:
            return Outcome(
                state.error or "The solve was cancelled", state.phase is Phase.FAILED, state.log_path
            )
        try:
            text = brought_back(solve)
        except DuohandError as error:
            return Outcome(str(error), is_error=True, log_path=state.log_path)
        if not bpy.app.background:
            bpy.ops.ed.undo_push(message="Duohand Contact")
        return Outcome("\n".join([text, *state.warnings]))


SOLVES: Final = Solves()


def _get_ready() -> None:
    SOLVES.get_ready()


def _command() -> tuple[str, ...]:
    return worker_command(addon_preferences().engine_path(), IDLE_S)


def _log() -> Path:
    return addon_preferences().new_log("solve")


def _keep_polling() -> float | None:
    SOLVES.step()
    redraw("VIEW_3D")
    return POLL_S if SOLVES.text else None


def register() -> None:
    atexit.register(SOLVES.abandon)


def unregister() -> None:
    atexit.unregister(SOLVES.abandon)
    SOLVES.abandon()
    for timer in (_keep_polling, _get_ready):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
