# SPDX-License-Identifier: GPL-3.0-or-later
"""An installation of the engine as a plain job: start, poll from any timer, cancel."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from inference_core import __file__ as core_file

from .child import Child, EngineError
from .installer.plan import Installation, engine_python

_ADDON: Final = Path(__file__).parents[1]
_CORE: Final = Path(str(core_file)).parents[1]
# Blender's own folders of modules stay out of the installer's Python, apart from these two, which come last.
_PROGRAM: Final = (
    "import sys; sys.path += sys.argv[1:3]\n"
    "from engine.installer.program import main\n"
    "sys.exit(main(sys.argv[3:]))\n"
)


@dataclass(frozen=True)
class InstallState:
    """What a panel shows of an installation: step done of total."""

    step: int = 0
    total: int = 1
    text: str = "Starting"
    detail: str = ""
    ended: bool = False
    error: str = ""

    @property
    def fraction(self) -> float:
        """Progress of the installation, 0..1, by its steps."""
        return min(self.step / self.total, 1.0)


class InstallJob:
    """Runs the installer; cancellable, never waits."""

    def __init__(self, plan: Installation, log_path: Path) -> None:
        self._plan, self._log_path = plan, log_path
        self._child: Child | None = None
        self._cancelled = False
        self.state = InstallState()

    @property
    def python(self) -> Path:
        """The installed engine's Python."""
        return engine_python(self._plan.folder)

    def start(self) -> None:
        """Start the installer."""
        python = str(self._plan.base_python)
        command = (python, "-I", "-X", "utf8", "-c", _PROGRAM, str(_ADDON), str(_CORE), self._plan.to_text())
        try:
            self._child = Child(command, self._log_path, merge_stderr=True)
        except EngineError as error:
            self._end(str(error))

    def poll(self) -> InstallState:
        """The installation's current state."""
        child = self._child
        if child is None or self.state.ended:
            return self.state
        for line in child.lines():
            self._take_line(line)
        ending = child.ending()
        if ending is None:
            return self.state
        child.close()
        self._child = None
        if self._cancelled:
            self._end("Cancelled. The next installation resumes from what is there.")
        elif self.state.error:
            self._end(f"{self.state.text} failed. {self.state.error} Log: {self._log_path}")
        elif ending.exit_code != 0:
            self._end(
                f"{self.state.text} ended early ({ending.text}; {self.state.detail or 'it said nothing'}). Press "
                f"Install Engine again: it resumes from what is there. Log: {self._log_path}"
            )
        else:
            done = self.state.total
            self.state = replace(self.state, step=done, text="Installed", detail="", ended=True)
        return self.state

    def cancel(self) -> None:
        """Ask the installer to stop; its downloads are kept for the next installation."""
        self._cancelled = True
        if self._child is not None:
            self._child.ask_to_stop()

    def abandon(self) -> None:
        """End the installer at once."""
        if self._child is not None:
            child, self._child = self._child, None
            child.kill()
        if not self.state.ended:
            self._end("Cancelled.")

    def distrust(self) -> None:
        """Record that the installed engine does not run: the next installation starts over."""
        self._plan.environment.unmark()

    def _take_line(self, line: str) -> None:
        record = _record(line)
        if record is None:
            self.state = replace(self.state, detail=line.strip()[:160] or self.state.detail)
            return
        known = {
            name: record[name] for name in ("step", "total", "text", "detail", "error") if name in record
        }
        self.state = replace(self.state, **{"detail": "", **known})

    def _end(self, error: str) -> None:
        self.state = replace(self.state, ended=True, error=error)


def _record(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None
