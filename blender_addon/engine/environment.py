# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the engine lives: which Python runs it, whether it fits this add-on, and how it is installed.

The engine is a virtual environment of its own under the extension's user folder. Blender's Python only
makes it (`-m venv`); pip runs in the new environment, never in Blender's.
"""

import platform
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from inference_core.shared.messages import PROTOCOL_VERSION, Hello, ProtocolError, decode_message

from .child import Child, EngineError, last_lines
from .job import HELLO_S, other_protocol

TorchBuild = Literal["cpu", "cuda", "apple"]

# PyTorch's own index: PyPI's Linux and Windows wheels are of one build only.
_TORCH_INDEX: Final = "https://download.pytorch.org/whl/"
_TORCH_INDEX_OF: Final[dict[TorchBuild, str | None]] = {"cpu": "cpu", "cuda": "cu126", "apple": None}


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


@dataclass(frozen=True)
class Installation:
    """What to install and from where.

    folder: the new environment. base_python: makes it. core: the duohand wheel that came with the add-on, or a
    requirement such as `duohand==0.1.0`. wheel_folder: a folder of wheels for a machine
    without a network; None installs from PyPI and PyTorch's index.
    """

    folder: Path
    base_python: Path
    core: str
    torch: TorchBuild
    wheel_folder: Path | None = None


@dataclass(frozen=True)
class InstallState:
    """What a panel shows of an installation: step done of total."""

    step: int
    total: int
    text: str
    detail: str = ""
    ended: bool = False
    error: str = ""

    @property
    def fraction(self) -> float:
        """How far the installation has come, 0..1, by its steps."""
        return min(self.step / self.total, 1.0)


def worker_command(python: Path, idle_s: float = 0.0) -> tuple[str, ...]:
    """The command that runs the engine's worker, isolated from the user's own Python settings.

    idle_s: so long it waits for another capture after one.
    """
    return (str(python), "-I", "-m", "inference_core", "worker", *(("--idle", str(idle_s)) if idle_s else ()))


def engine_python(folder: Path) -> Path:
    """The Python of an engine environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def suggested_torch() -> TorchBuild:
    """The build of torch that suits this machine: Apple's, CUDA where an NVIDIA driver is, else CPU."""
    if sys.platform == "darwin":
        return "apple" if platform.machine() == "arm64" else "cpu"
    drivers = (Path("/proc/driver/nvidia/version"), Path("C:/Windows/System32/nvcuda.dll"))
    return "cuda" if any(driver.exists() for driver in drivers) else "cpu"


class EngineCheck:
    """Starts an engine, reads its introduction, ends it. `poll` never waits."""

    def __init__(self, python: Path, log_path: Path, limit_s: float = HELLO_S) -> None:
        if not python.is_file():
            raise EngineError(f"There is no Python at {python}. Choose an engine in the preferences.")
        self._python, self._limit_s = python, limit_s
        self._child: Child | None = Child(worker_command(python), log_path)
        self._started_at = time.monotonic()

    def poll(self) -> Engine | None:
        """The engine once it answered, None while it has not; an EngineError says why it cannot be used."""
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
                f"{self._python} runs no Duohand engine ({ending.text}).\n{tail}\nLog: {child.log_path}"
            )
        if time.monotonic() - self._started_at > self._limit_s:
            raise EngineError(f"{self._python} did not answer in {self._limit_s:.0f} seconds.")
        return None


def install_commands(plan: Installation) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The steps of an installation: what a panel says, and the command."""
    python = str(engine_python(plan.folder))
    pip = (python, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input")
    install = (*pip, "install", "--progress-bar", "off")
    index = _TORCH_INDEX_OF[plan.torch]
    if plan.wheel_folder is not None:
        source: tuple[str, ...] = ("--no-index", "--find-links", str(plan.wheel_folder))
        torch_source = source
    else:
        source = ()
        torch_source = ("--index-url", _TORCH_INDEX + index) if index else ()
    return (
        ("Making the environment", (str(plan.base_python), "-I", "-m", "venv", "--clear", str(plan.folder))),
        (f"Installing PyTorch ({plan.torch})", (*install, *torch_source, "torch")),
        ("Installing the engine", (*install, *source, plan.core)),
    )


class InstallJob:
    """Runs the steps of an installation one after the other; cancellable, never waits."""

    def __init__(self, plan: Installation, log_path: Path) -> None:
        self._steps = install_commands(plan)
        self._log_path = log_path
        self._child: Child | None = None
        self._cancelled = False
        self.python = engine_python(plan.folder)
        self.state = InstallState(0, len(self._steps), self._steps[0][0])

    def start(self) -> None:
        """Start the first step."""
        self._start_step()

    def poll(self) -> InstallState:
        """The installation's state now."""
        child = self._child
        if child is None or self.state.ended:
            return self.state
        lines = child.lines()
        if lines:
            self.state = replace(self.state, detail=lines[-1].strip()[:160])
        ending = child.ending()
        if ending is None:
            return self.state
        child.close()
        self._child = None
        if self._cancelled:
            self._end("Cancelled. What was installed so far is replaced by the next installation.")
        elif ending.exit_code != 0:
            tail = last_lines(self._log_path)
            self._end(f"{self.state.text} failed ({ending.text}).\n{tail}\nLog: {self._log_path}")
        elif self.state.step + 1 < self.state.total:
            step = self.state.step + 1
            self.state = replace(self.state, step=step, text=self._steps[step][0], detail="")
            self._start_step()
        else:
            done = self.state.total
            self.state = replace(self.state, step=done, text="Installed", detail="", ended=True)
        return self.state

    def cancel(self) -> None:
        """Ask the running step to stop."""
        self._cancelled = True
        if self._child is not None:
            self._child.ask_to_stop()

    def abandon(self) -> None:
        """End the running step at once."""
        if self._child is not None:
            child, self._child = self._child, None
            child.kill()
        if not self.state.ended:
            self._end("Cancelled.")

    def _start_step(self) -> None:
        try:
            self._child = Child(self._steps[self.state.step][1], self._log_path, merge_stderr=True)
        except EngineError as error:
            self._end(str(error))

    def _end(self, error: str) -> None:
        self.state = replace(self.state, ended=True, error=error)
