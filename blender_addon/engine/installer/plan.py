# SPDX-License-Identifier: GPL-3.0-or-later
"""What to install, from where, and the layout of an engine's folder.

A folder holds environments, each named by a digest of everything that goes into it. An environment counts once its
last file is written, and the previous one stays until then: an interrupted installation leaves the working engine
alone, and the next one resumes it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from inference_core.shared.errors import DuohandError

from ..system import TorchBuild, needed_bytes, python_of

TORCH: Final = "torch==2.13.0"
REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
# The pip that installs, with its digest: the pip that a Python comes with downloads
# each wheel twice, or is missing.
PIP: Final = "pip-26.3-py3-none-any.whl#f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
_PIP_DONE: Final = "pip.done"
_PACKAGES_DONE: Final = "packages.done"
_CORE_DONE: Final = "engine.done"


class InstallError(DuohandError):
    """The engine cannot be installed; one line says what happened and what to do."""


@dataclass(frozen=True)
class Installation:
    """What to install and from where.

    folder: where engines are installed. base_python: creates the environment. core: the duohand wheel that
    came with the add-on, or a requirement such as `duohand==0.1.0`. wheel_folder: a folder of wheels for a
    machine without a network, whatever their versions; None installs from PyPI and PyTorch's index, or from
    the sources in pip's own settings. requirements: versions and digests of the core's dependencies. pip:
    wheel and digest of the pip that installs. room_bytes: the largest disk space in use during it; None is
    what these packages take.
    """

    folder: Path
    base_python: Path
    core: str
    torch: TorchBuild
    wheel_folder: Path | None = None
    requirements: Path = REQUIREMENTS
    pip: str = PIP
    room_bytes: int | None = None

    @property
    def environment(self) -> "Environment":
        """The environment that the installation makes; its name is short, because paths are limited on Windows."""
        parts = (
            self.requirements.read_text(),
            TORCH,
            self.torch,
            str(self.base_python),
            str(self.wheel_folder),
        )
        return Environment(self.folder / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8])

    @property
    def needed_bytes(self) -> int:
        """The largest disk space in use during the installation."""
        return needed_bytes(self.torch) if self.room_bytes is None else self.room_bytes

    @property
    def downloads(self) -> Path:
        """Where files are kept until the engine is complete."""
        return self.folder / "downloads"

    def to_text(self) -> str:
        """The installation as a line of text."""
        return json.dumps(asdict(self), default=str)

    @staticmethod
    def from_text(text: str) -> "Installation":
        """The installation described by such a line."""
        record: dict[str, Any] = json.loads(text)
        wheels = record["wheel_folder"]
        return Installation(
            Path(record["folder"]),
            Path(record["base_python"]),
            record["core"],
            record["torch"],
            Path(wheels) if wheels else None,
            Path(record["requirements"]),
            record["pip"],
            record["room_bytes"],
        )


@dataclass(frozen=True)
class Environment:
    """A virtual environment and how much of it is complete."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its Python."""
        return python_of(self.folder)

    @property
    def has_pip_alone(self) -> bool:
        """Whether it has been created and nothing has been installed into it, not even in part."""
        return (self.folder / _PIP_DONE).is_file()

    def mark_pip(self) -> None:
        """Record that it has been created."""
        (self.folder / _PIP_DONE).touch()

    def unmark_pip(self) -> None:
        """Record that something is being installed into it."""
        (self.folder / _PIP_DONE).unlink(missing_ok=True)

    @property
    def has_packages(self) -> bool:
        """Whether all the engine's dependencies are installed."""
        return (self.folder / _PACKAGES_DONE).is_file()

    def mark_packages(self) -> None:
        """Record that all the engine's dependencies are installed."""
        (self.folder / _PACKAGES_DONE).write_text(TORCH)

    def mark_core(self, core: str) -> None:
        """Record that the engine is complete."""
        (self.folder / _CORE_DONE).write_text(core, encoding="utf-8")

    def unmark_core(self) -> None:
        """Record that the engine is being changed."""
        (self.folder / _CORE_DONE).unlink(missing_ok=True)

    def unmark(self) -> None:
        """Record that nothing in it can be relied on."""
        self.unmark_core()
        self.unmark_pip()
        (self.folder / _PACKAGES_DONE).unlink(missing_ok=True)


def whole_environments(folder: Path) -> list[Environment]:
    """The complete engines in a folder, the newest last."""
    done = sorted(folder.glob(f"*/{_CORE_DONE}"), key=lambda path: path.stat().st_mtime)
    return [Environment(path.parent) for path in done]


def engine_python(folder: Path) -> Path:
    """The Python of the engine installed in the folder; a path that does not exist if none is complete."""
    whole = whole_environments(folder)
    return whole[-1].python if whole else python_of(folder / "not installed")
