# SPDX-License-Identifier: GPL-3.0-or-later
"""A child process that never blocks its parent, never outlives it unnoticed, and writes a log."""

import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from inference_core.shared.errors import DuohandError

from .system import guarded, kill_group, own_group, terminate_group

ASK_S: Final = 1.0  # a child has this long to exit after being asked to stop
TERMINATE_S: Final = 0.4  # and this long after SIGTERM, before it is killed
_LINE_LIMIT: Final = (
    1 << 20
)  # longer lines are not messages; they are cut, so that garbage cannot fill memory
_QUEUED_LINES: Final = 10_000
_GUARD: Final = Path(__file__).with_name("guard.py")


class EngineError(DuohandError):
    """The engine is missing, of another version, or ended in an error."""


@dataclass(frozen=True)
class Ending:
    """How a child ended: its exit code, negative for a signal."""

    exit_code: int

    @property
    def text(self) -> str:
        """A description of the ending."""
        if self.exit_code >= 0:
            return f"exit code {self.exit_code}"
        try:
            return f"killed by {signal.Signals(-self.exit_code).name}"
        except ValueError:
            return f"killed by signal {-self.exit_code}"


class Child:
    """One running command: `lines` returns its stdout, its stderr goes to the log.

    It runs in its own process group, so that its children end with it. Its stdin stays open until
    `ask_to_stop`: a child that watches its stdin ends when the parent dies. A guard kills those that do not.
    """

    def __init__(self, command: Sequence[str], log_path: Path, merge_stderr: bool = False) -> None:
        self.log_path = log_path
        program = shutil.which(command[0])
        if program is None:
            raise EngineError(
                f"The engine could not be started: there is no program {command[0]}. "
                "Choose or install an engine in the add-on's preferences."
            )
        try:
            log_path.parent.mkdir(parents=True, exist_ok=True)
            self._log = log_path.open("ab", buffering=0)
        except OSError as error:
            raise EngineError(
                f"The log {log_path} cannot be written ({error.strerror}). "
                "Choose another log folder in the preferences."
            ) from error
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [*guarded(_GUARD), program, *map(str, command[1:])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merge_stderr else self._log,
                env=clean_environment(os.environ),
                **own_group(),
            )
        except OSError as error:
            self._log.close()
            raise EngineError(
                f"The engine could not be started: {command[0]} ({error.strerror}). "
                "Choose or install an engine in the add-on's preferences."
            ) from error
        self._keep_lines = merge_stderr
        self._lines: queue.Queue[str] = queue.Queue(_QUEUED_LINES)
        self._stopping_since: float | None = None
        self._reader = threading.Thread(target=self._read, name="duohand-engine-output", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def send(self, line: str) -> None:
        """Write a line to the child's stdin; a child that is gone is noticed by `ending`, not here."""
        stdin = self._process.stdin
        if stdin is None or stdin.closed:
            return
        try:
            stdin.write(line.encode())
            stdin.flush()
        except OSError:
            return

    def lines(self) -> list[str]:
        """The lines received since the last call; never waits."""
        found: list[str] = []
        while True:
            try:
                found.append(self._lines.get_nowait())
            except queue.Empty:
                return found

    def ending(self) -> Ending | None:
        """How the child ended, once it has and all its lines were read; also advances a requested stop."""
        code = self._process.poll()
        if code is None:
            self._press_on()
            return None
        if self._reader.is_alive():
            # A grandchild may hold stdout open; do not wait for it forever.
            kill_group(self._process)
            self._reader.join(0.05)
            if self._reader.is_alive():
                return None
        if not self._lines.empty():
            return None
        return Ending(code)

    def ask_to_stop(self, line: str = "") -> None:
        """Ask the child to exit; if it does not, `ending` terminates and finally kills it."""
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
            if line:
                self.send(line)
            self._close_stdin()

    def kill(self) -> None:
        """Kill the child and its children now, and wait."""
        kill_group(self._process)
        self._process.wait()
        self.close()

    def close(self) -> None:
        """Close the pipes and the log of a child that has ended."""
        self._close_stdin()
        self._reader.join(0.5)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()
        self._log.close()

    def _press_on(self) -> None:
        if self._stopping_since is None:
            return
        waited = time.monotonic() - self._stopping_since
        if waited > ASK_S + TERMINATE_S:
            kill_group(self._process)
        elif waited > ASK_S:
            terminate_group(self._process)

    def _close_stdin(self) -> None:
        stdin = self._process.stdin
        if stdin is None or stdin.closed:
            return
        try:
            stdin.close()
        except OSError:
            return

    def _read(self) -> None:
        stdout: IO[bytes] | None = self._process.stdout
        if stdout is None:
            return
        while raw := stdout.readline(_LINE_LIMIT):
            if self._keep_lines:
                self._write_log(raw)
            self._lines.put(raw.decode("utf-8", "replace").rstrip("\r\n"))

    def _write_log(self, raw: bytes) -> None:
        try:
            self._log.write(raw)
        except OSError:
            self._keep_lines = False  # a full disk ends the log, not the run


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for another Python: without Blender's own PYTHON* variables.

    Its waiting threads sleep: spinning threads would starve each other while Blender draws.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith("PYTHON") and name not in ("VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    }
    return {"OMP_WAIT_POLICY": "PASSIVE", **kept}


def last_lines(path: Path, count: int = 12) -> str:
    """The last lines of a log, empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-count:])
