# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine between two captures: it waits for the next one a while, with all that it has loaded."""

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
    """The one engine that waits, if any. It ends with Blender, after IDLE_S, and before it is installed anew."""

    def __init__(self) -> None:
        self._waiting: RunningEngine | None = None

    def take(self, command: Sequence[str]) -> RunningEngine | None:
        """The waiting engine if that command started it and it is still there; it waits no longer then."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return None
        if waiting.command == tuple(command) and waiting.child.ending() is None:
            return waiting
        waiting.child.kill()
        return None

    def keep(self, engine: RunningEngine) -> None:
        """Have the engine of a capture that is done wait for the next one."""
        self.end()
        self._waiting = engine

    def end(self) -> None:
        """End the engine that waits."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.child.kill()
