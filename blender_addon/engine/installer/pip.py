# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs pip in the engine's environment, with the user's own settings, and all its files in the engine's folder."""

import os
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ..system import without_window
from .download import certificates

# A user who sets any of these has chosen where packages come from.
_SOURCES: Final = ("index-url", "extra-index-url", "find-links", "no-index")
PYPI: Final = "https://pypi.org/simple"
_REMEMBERED_LINES: Final = 400


class PipError(Exception):
    """pip ended with an error; `lines` are its output."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)

    @property
    def is_crash(self) -> bool:
        """Whether pip itself crashed."""
        return any(line.startswith("Traceback ") for line in self.lines)


class Pip:
    """The pip of an environment. Its cache and temporary files are under `downloads`, on the engine's disk."""

    def __init__(self, python: Path, downloads: Path, report: Callable[[str], None]) -> None:
        self._command = (
            str(python),
            "-I",
            "-X",
            "utf8",
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
        )
        self._report = report
        self._environment = pip_environment(downloads)

    def install(self, *arguments: str) -> None:
        """`pip install` with these arguments, from wheels only: no compiler is needed. PipError if it fails."""
        self._run("install", "--progress-bar", "off", "--only-binary", ":all:", *arguments)

    def names_a_source(self) -> bool:
        """Whether pip's settings, by environment or file, name a mirror, a further index or a folder."""
        if any(f"PIP_{source.replace('-', '_').upper()}" in os.environ for source in _SOURCES):
            return True
        settings = self._run("config", "list", quiet=True)
        named = {line.partition("=")[0].rpartition(".")[2] for line in settings}
        return not named.isdisjoint(_SOURCES)

    def _run(self, *arguments: str, quiet: bool = False) -> list[str]:
        kept: deque[str] = deque(maxlen=_REMEMBERED_LINES)
        with subprocess.Popen(
            [*self._command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            encoding="utf-8",
            errors="replace",
            **without_window(),
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                kept.append(line.rstrip())
                if not quiet:  # settings may contain passwords
                    self._report(line.rstrip())
        if process.returncode:
            raise PipError([*kept, f"pip ended with {process.returncode}."])
        return list(kept)


def indexes() -> tuple[str, ...]:
    """Addresses of the indexes that pip uses, as far as the environment names them."""
    return (os.environ.get("PIP_INDEX_URL") or PYPI, *os.environ.get("PIP_EXTRA_INDEX_URL", "").split())


def pip_environment(downloads: Path) -> dict[str, str]:
    """pip's environment: the user's, with all of pip's own files under `downloads`."""
    temporary = downloads / "unpacked"
    temporary.mkdir(parents=True, exist_ok=True)
    own = {
        "PIP_CACHE_DIR": str(downloads / "pip"),
        "TMPDIR": str(temporary),
        "TEMP": str(temporary),
        "TMP": str(temporary),
        # With a different target folder, pip would leave the environment empty.
        "PIP_USER": "0",
        "PIP_REQUIRE_VIRTUALENV": "0",
    }
    trusted = certificates(os.environ)
    if trusted is not None:
        own["PIP_CERT"] = trusted
    elsewhere = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_DRY_RUN", "PIP_PYTHON", "PIP_LOG")
    return {**{name: value for name, value in os.environ.items() if name not in elsewhere}, **own}
