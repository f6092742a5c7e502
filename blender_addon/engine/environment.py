# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks whether a Python has an engine, and whether it fits this add-on."""

import time
from dataclasses import dataclass
from pathlib import Path

from inference_core.shared.messages import PROTOCOL_VERSION, Hello, ProtocolError, decode_message

from .child import Child, EngineError, last_lines
from .job import HELLO_S, other_protocol


@dataclass(frozen=True)
class Engine:
    """An engine that answered: its Python and version, devices, what it runs on by default, and its packages."""

    python: Path
    version: str
    device: str
    devices: tuple[str, ...]
    python_version: str = ""
    torch_version: str = ""

    @property
    def text(self) -> str:
        """The engine in a line."""
        others = [device for device in self.devices if device != self.device]
        also = f", also {', '.join(others)}" if others else ""
        named = (("Python", self.python_version), ("PyTorch", self.torch_version))
        packages = ", ".join(f"{name} {version}" for name, version in named if version)
        return f"Duohand {self.version} on {self.device}{also}" + (f" ({packages})" if packages else "")


def worker_command(python: Path, idle_s: float = 0.0) -> tuple[str, ...]:
    """The command that runs the engine's worker, isolated from the user's own Python settings.

    idle_s: how long it waits for another capture after one.
    """
    return (str(python), "-I", "-m", "inference_core", "worker", *(("--idle", str(idle_s)) if idle_s else ()))


class EngineCheck:
    """Starts an engine, reads its introduction, ends it. `poll` never waits."""

    def __init__(self, python: Path, log_path: Path) -> None:
        if not python.is_file():
            raise EngineError(f"There is no Python at {python}. Choose an engine in the preferences.")
        self._python = python
        self._child: Child | None = Child(worker_command(python), log_path)
        self._started_at = time.monotonic()

    def poll(self) -> Engine | None:
        """The engine once it has answered, None until then; an EngineError says why it cannot be used."""
        child = self._child
        if child is None:
            raise EngineError("This check has ended.")
        try:
            answer = self._answer(child)
        except (EngineError, ProtocolError):
            self.abandon()
            raise
        if answer is not None:
            self.abandon()
        return answer

    def abandon(self) -> None:
        """End the engine, whatever it is doing."""
        if self._child is not None:
            child, self._child = self._child, None
            child.kill()

    def _answer(self, child: Child) -> Engine | None:
        for line in child.lines():
            message = decode_message(line)
            if not isinstance(message, Hello):
                raise EngineError("The engine did not introduce itself. Install it again.")
            if message.protocol != PROTOCOL_VERSION:
                raise EngineError(other_protocol(message))
            torch = message.versions.get("torch", "")
            return Engine(
                self._python, message.version, message.device, message.devices, message.python, torch
            )
        ending = child.ending()
        if ending is not None:
            tail = last_lines(child.log_path)
            raise EngineError(
                f"{self._python} does not run a Duohand engine ({ending.text}).\n{tail}\nLog: {child.log_path}"
            )
        if time.monotonic() - self._started_at > HELLO_S:
            raise EngineError(f"{self._python} did not answer in {HELLO_S:.0f} seconds.")
        return None
