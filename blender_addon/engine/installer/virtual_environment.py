# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's virtual environment, with pip in it even if the Python that creates it has none."""

import re
import subprocess
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from ..system import without_window
from .download import DownloadError, download, text_at
from .pip import indexes
from .plan import Environment, Installation, InstallError


def runs(environment: Environment) -> bool:
    """Whether the environment's Python starts and finds its packages: the Python that created it may have changed."""
    return environment.python.is_file() and _run(environment.python, "-c", "import pip") is None


def make_environment(plan: Installation) -> None:
    """Create the environment from scratch, with pip. InstallError says what the Python lacks."""
    environment = plan.environment
    environment.unmark()
    words = ("-m", "venv", "--clear", "--without-pip", str(environment.folder))
    said = _run(plan.base_python, *words)
    if said is not None:
        raise InstallError(
            f"{plan.base_python} could not create an environment in {environment.folder} ({_last(said)}). Install your "
            "system's package python3-venv, or choose another Python as Engine Python in the preferences."
        )
    _bring_pip(plan, environment.python)


def _bring_pip(plan: Installation, python: Path) -> None:
    """Install pip: from the wheel folder or an index, else the one that came with the Python."""
    try:
        wheel = _pip_wheel(plan)
    except DownloadError as error:
        if _run(python, "-m", "ensurepip", "--default-pip") is None:
            return
        raise InstallError(
            f"{plan.base_python} has no pip (and no ensurepip), and none could be downloaded ({error}). Install your "
            "system's package python3-venv, or choose another Python as Engine Python in the preferences."
        ) from error
    # A pip wheel can be run as a program.
    said = _run(
        python, str(wheel / "pip"), "install", "--no-index", "--no-deps", "--no-cache-dir", str(wheel)
    )
    if said is not None:
        raise InstallError(
            f"pip could not be installed from {wheel} ({_last(said)}). Choose another Python as Engine Python in the "
            "preferences."
        )


def _pip_wheel(plan: Installation) -> Path:
    if plan.wheel_folder is not None:
        wheels = sorted(plan.wheel_folder.glob("pip-*-py3-none-any.whl"))
        if not wheels:
            raise DownloadError(f"there is no pip-...-py3-none-any.whl in {plan.wheel_folder}")
        return wheels[-1]
    name, _, sha256 = plan.pip.partition("#")
    problem = DownloadError("no index is named")
    for index in indexes():
        try:
            download(_link(index, name), sha256, plan.downloads / name, lambda _done, _total: None)
        except DownloadError as error:
            problem = error
            continue
        return plan.downloads / name
    raise problem


def _link(index: str, name: str) -> str:
    """Address of a pip wheel, from the index's page for pip."""
    page = f"{index.rstrip('/')}/pip/"
    found = re.search(rf'href\s*=\s*["\']([^"\']*{re.escape(name)}[^"\']*)', text_at(page))
    if found is None:
        raise DownloadError(f"the package index has no {name}")
    return urllib.parse.urljoin(page, found[1]).partition("#")[0]


def _run(python: Path, *words: str) -> Sequence[str] | None:
    """Run an isolated Python; None on success, else its output."""
    command = (str(python), "-I", "-X", "utf8", *words)
    try:
        ran = subprocess.run(command, capture_output=True, check=False, **without_window())
    except OSError as error:
        return (f"{error.strerror}",)
    said = (ran.stdout + ran.stderr).decode("utf-8", "replace").split("\n")
    return (
        None if ran.returncode == 0 else [line for line in said if line.strip()] or [f"exit {ran.returncode}"]
    )


def _last(lines: Sequence[str]) -> str:
    return lines[-1].strip()
