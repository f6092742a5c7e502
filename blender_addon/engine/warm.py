# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine before and between runs: it waits a while for the next one, with everything loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from inference_core.shared.messages import Hello

from .child import Child

IDLE_S: Final = 300.0  # then the engine exits and frees its memory


@dataclass(frozen=True)
class RunningEngine:
    """An engine and the command that started it. hello: None if its introduction was not read yet."""

    command: tuple[str, ...]
    child: Child
    hello: Hello | None


class WarmEngine:
    """The waiting engine, if any. It exits with Blender, after IDLE_S, and before a new installation."""

    def __init__(self) -> None:
        self._waiting: RunningEngine | None = None

    def take(self, command: Sequence[str]) -> RunningEngine | None:
        """Take the waiting engine, if that command started it and it is still alive."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return None
        if waiting.command == tuple(command) and waiting.child.ending() is None:
            return waiting
        waiting.child.kill()
        return None

    def begin(self, command: Sequence[str], log_path: Path) -> None:
        """Start an engine for a run that is likely to come, unless one waits. EngineError if that is impossible."""
        if self._waiting is None or self._waiting.child.ending() is not None:
            self.keep(RunningEngine(tuple(command), Child(command, log_path), None))

    def keep(self, engine: RunningEngine) -> None:
        """Keep the engine for the next run."""
        self.end()
        self._waiting = engine

    def end(self) -> None:
        """End the engine that waits."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.child.kill()
