# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine between two captures: it waits a while for the next one, with everything loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from inference_core.shared.messages import Hello

from .child import Child

IDLE_S: Final = 300.0  # then the engine exits and frees its memory


@dataclass(frozen=True)
class RunningEngine:
    """An engine that has introduced itself, and the command that started it."""

    command: tuple[str, ...]
    child: Child
    hello: Hello


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

    def keep(self, engine: RunningEngine) -> None:
        """Keep the engine of a finished capture for the next one."""
        self.end()
        self._waiting = engine

    def end(self) -> None:
        """End the engine that waits."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.child.kill()
