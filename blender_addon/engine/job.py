# SPDX-License-Identifier: GPL-3.0-or-later
"""A capture as a plain job: start, poll from any timer, cancel. One JSON request in, JSON lines out."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

from inference_core.shared.messages import (
    PROTOCOL_VERSION,
    Done,
    Failure,
    Hello,
    Message,
    Notice,
    Profile,
    ProtocolError,
    Request,
    StageProgress,
    Status,
    decode_message,
    encode_request,
)

from .child import Child, Ending, EngineError, last_lines
from .warm import RunningEngine, WarmEngine

HELLO_S: Final = 120.0  # a cold disk and an antivirus can make the first start this slow
SILENCE_S: Final = 300.0  # an engine that is silent for this long hangs


class Phase(Enum):
    """Where a job stands."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


ENDED: Final = frozenset({Phase.DONE, Phase.CANCELLED, Phase.FAILED})


@dataclass(frozen=True)
class JobState:
    """What a panel shows of a job. done of total frames of a stage; seconds_left: None while unknown."""

    phase: Phase = Phase.QUEUED
    text: str = ""
    stage: str = ""
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    device: str = ""
    warnings: tuple[str, ...] = ()
    error: str = ""
    log_path: str = ""

    @property
    def ended(self) -> bool:
        """True once nothing more will come."""
        return self.phase in ENDED

    @property
    def fraction(self) -> float:
        """How far the stage has come, 0..1."""
        return min(self.done / self.total, 1.0) if self.total > 0 else 0.0


class CaptureJob:
    """One run of the engine. `poll` reads new messages and returns; it never waits, and kills an engine that hangs.

    warm: holds an engine that may be waiting, and keeps this one for the next run; None: the engine exits.
    """

    def __init__(
        self,
        command: Sequence[str],
        request: Request,
        log_path: Path,
        hello_s: float = HELLO_S,
        silence_s: float = SILENCE_S,
        warm: WarmEngine | None = None,
    ) -> None:
        self.request = request
        self._command = tuple(command)
        self._log_path = log_path
        self._hello_s, self._silence_s = hello_s, silence_s
        self._child: Child | None = None
        self._warm = warm
        self._hello: Hello | None = None
        self._is_untried = (
            False  # an engine that waited, which may have ended while the request was on its way
        )
        self._heard_at = self._stage_at = 0.0
        self._cancelled = False
        self.state = JobState(log_path=str(log_path))

    @property
    def pid(self) -> int | None:
        """The engine's process id while it runs."""
        return self._child.pid if self._child is not None else None

    def start(self) -> None:
        """Hand the request to the waiting engine or a new one; the job fails if none can be started."""
        waiting = None if self._warm is None else self._warm.take(self._command)
        if waiting is None:
            self._start_engine()
            return
        self._child, self._is_untried = waiting.child, True
        self._send_request(waiting.child)
        if waiting.hello is not None:
            self._greet(waiting.hello)

    def _start_engine(self) -> None:
        try:
            self._child = Child(self._command, self._log_path)
        except EngineError as error:
            self.state = replace(self.state, phase=Phase.FAILED, error=str(error))
            return
        self._hello, self._is_untried = None, False
        self._send_request(self._child)

    def _send_request(self, child: Child) -> None:
        self._heard_at = time.monotonic()
        child.send(encode_request(self.request))
        self.state = replace(
            self.state, phase=Phase.STARTING, text="Starting the engine", log_path=str(child.log_path)
        )

    def poll(self) -> JobState:
        """The job's state now."""
        child = self._child
        if child is None or self.state.ended:
            return self.state
        for line in child.lines():
            if self.state.ended:
                break
            self._take_line(line)
        self._notice_silence()
        ending = child.ending()
        if ending is not None and not self.state.ended:
            if self._cancelled:
                self.state = replace(self.state, phase=Phase.CANCELLED, text="Cancelled")
            elif self._is_untried:
                child.kill()
                self._start_engine()
            else:
                self._fail(_early_ending(ending, self._hello is not None))
        if self.state.ended:
            self._release(child)
        return self.state

    def cancel(self) -> None:
        """Ask the engine to stop; it exits within two seconds, and its results so far are kept for the next run."""
        if self.state.ended:
            return
        self._cancelled = True
        if self._child is None:
            self.state = replace(self.state, phase=Phase.CANCELLED, text="Cancelled")
            return
        self.state = replace(self.state, phase=Phase.CANCELLING, text="Stopping the engine")
        self._child.ask_to_stop(json.dumps({"type": "cancel"}) + "\n")

    def abandon(self) -> None:
        """Kill the engine at once (Blender quits, the add-on is disabled)."""
        self._cancelled = True
        if self._child is not None:
            child, self._child = self._child, None
            child.kill()
        if not self.state.ended:
            self.state = replace(self.state, phase=Phase.CANCELLED, text="Cancelled")

    def _take_line(self, line: str) -> None:
        try:
            message = decode_message(line)
        except ProtocolError as error:
            self._fail(str(error))
            return
        self._heard_at, self._is_untried = time.monotonic(), False
        if self._hello is None:
            self._greet(message)
        else:
            self._take_message(message)

    def _greet(self, message: Message) -> None:
        if isinstance(message, Failure):
            self._fail(message.text)
        elif not isinstance(message, Hello):
            self._fail("The engine did not introduce itself. Install the engine again in the preferences.")
        elif message.protocol != PROTOCOL_VERSION:
            self._fail(other_protocol(message))
        else:
            self._hello = message
            phase = self.state.phase if self._cancelled else Phase.RUNNING
            self.state = replace(self.state, phase=phase, device=message.device, text="Reading the footage")

    def _take_message(self, message: Message) -> None:
        match message:
            case StageProgress(stage, done, total):
                if stage != self.state.stage:
                    self._stage_at = self._heard_at
                left = _seconds_left(self._heard_at - self._stage_at, done, total)
                self.state = replace(self.state, stage=stage, done=done, total=total, seconds_left=left)
            case Status(text):
                self.state = replace(self.state, text=text)
            case Notice(text):
                self.state = replace(self.state, warnings=(*self.state.warnings, text))
            case Done():
                self.state = replace(self.state, phase=Phase.DONE, text="Done")
            case Failure(text=text):
                if self._cancelled:
                    self.state = replace(self.state, phase=Phase.CANCELLED, text="Cancelled")
                else:
                    self._fail(text, with_log=False)
            case Hello():
                self._fail("The engine introduced itself twice; something else restarted it.")
            case Profile():
                pass  # the add-on asks for none

    def _notice_silence(self) -> None:
        if self.state.ended or self._cancelled:
            return
        limit = self._silence_s if self._hello is not None else self._hello_s
        if time.monotonic() - self._heard_at > limit:
            self._fail(f"The engine said nothing for {limit:.0f} seconds and was stopped.")

    def _fail(self, text: str, with_log: bool = True) -> None:
        log_path = self.state.log_path
        tail = last_lines(Path(log_path)) if with_log else ""
        parts = [text, *([f"Its last lines:\n{tail}"] if tail else []), f"Log: {log_path}"]
        self.state = replace(self.state, phase=Phase.FAILED, error="\n".join(parts), text="Failed")

    def _release(self, child: Child) -> None:
        # The last message comes after everything is written: nothing is lost by killing the engine here.
        self._child = None
        if self._warm is not None and self._hello is not None and self.state.phase is Phase.DONE:
            self._warm.keep(RunningEngine(self._command, child, self._hello))
        else:
            child.kill()


class JobQueue:
    """Captures one after the other: a second one waits for the first."""

    def __init__(self) -> None:
        self._jobs: list[CaptureJob] = []

    @property
    def current(self) -> CaptureJob | None:
        """The job that runs or has just ended; None when there is none."""
        return self._jobs[0] if self._jobs else None

    @property
    def waiting(self) -> int:
        """How many jobs wait behind the current one."""
        return max(len(self._jobs) - 1, 0)

    def add(self, job: CaptureJob) -> None:
        """Put a job at the end; the first one starts at once."""
        self._jobs.append(job)
        if len(self._jobs) == 1:
            job.start()

    def poll(self) -> list[CaptureJob]:
        """Jobs that ended since the last call, in order; starts the next one."""
        ended: list[CaptureJob] = []
        while self._jobs and self._jobs[0].poll().ended:
            ended.append(self._jobs.pop(0))
            if self._jobs:
                self._jobs[0].start()
        return ended

    def abandon_all(self) -> None:
        """End everything at once."""
        for job in self._jobs:
            job.abandon()
        self._jobs.clear()


def other_protocol(hello: Hello) -> str:
    """The message for an engine of another version."""
    return (
        f"The engine is Duohand {hello.version} and speaks protocol {hello.protocol}, this add-on speaks "
        f"{PROTOCOL_VERSION}. Install the engine again in the add-on's preferences."
    )


def _early_ending(ending: Ending, has_started: bool) -> str:
    if has_started:
        return (
            f"The engine ended before it was done ({ending.text}). Try again: a capture resumes where it was."
        )
    return (
        f"The engine ended before it had started ({ending.text}). "
        "Choose or install an engine in the add-on's preferences."
    )


def _seconds_left(elapsed_s: float, done: int, total: int) -> float | None:
    if done <= 0 or total <= 0 or elapsed_s < 1.0:
        return None
    return elapsed_s / done * max(total - done, 0)
