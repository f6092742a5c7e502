# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of an installation, one after the other."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from inference_core.shared.system import try_lock

from ..system import is_full, torch_index
from .download import DownloadError, certificates, text_at
from .failures import AGAIN, explained
from .fetch import fetch
from .pip import PYPI, Pip, PipError, indexes
from .plan import TORCH, Environment, Installation, InstallError
from .virtual_environment import make_environment, runs

STEPS: Final = 5
_MISSING: Final = re.compile(r"No matching distribution found for ([\w.-]+)")


def main(arguments: Sequence[str]) -> int:
    """Install according to the plan on the command line; 0, or 2 after a line that says why it failed."""
    plan = Installation.from_text(arguments[0])
    try:
        with _alone(plan.folder):
            install(plan)
    except InstallError as error:
        return _fail(str(error))
    except PipError as error:
        asked = () if plan.wheel_folder is not None else indexes()
        return _fail(explained([*error.lines, *_index_problems(error, asked)], plan.folder))
    except OSError as error:
        return _fail(_refusal(error, plan.folder))
    return 0


def _index_problems(error: PipError, asked: Sequence[str]) -> Iterator[str]:
    """Why an index did not answer, if pip reports only that it found nothing."""
    missing = next((found[1] for line in error.lines if (found := _MISSING.search(line))), None)
    if missing is None:
        return
    for index in asked:
        try:
            text_at(f"{index.rstrip('/')}/{missing.lower()}/")
        except DownloadError as problem:
            if not problem.is_absence:
                yield str(problem)


def install(plan: Installation) -> None:
    """Install the plan's engine; complete parts stay, and downloaded files are not downloaded again."""
    environment = plan.environment
    _check_certificates()
    _check_room(plan)
    plan.downloads.mkdir(parents=True, exist_ok=True)
    pip = Pip(environment.python, plan.downloads, _pass_on)
    if plan.wheel_folder is not None or not (environment.has_packages and runs(environment)):
        _tell(0, "Making the environment")
        if not (environment.has_pip_alone and runs(environment)):
            make_environment(plan)
            environment.mark_pip()
        _install_packages(plan, pip)
        environment.mark_packages()
    _tell(4, "Installing the engine")
    environment.unmark_core()
    pip.install("--force-reinstall", "--no-deps", *_wheel_folder(plan), plan.core)
    environment.mark_core(plan.core)
    _clear(plan.folder, environment)


def _install_packages(plan: Installation, pip: Pip) -> None:
    """Install the engine's dependencies: PyTorch by version, since every source has its
    own build, the others by digest.
    """
    environment = plan.environment
    if plan.wheel_folder is not None:
        _tell(3, f"Installing PyTorch ({plan.torch})")
        environment.unmark_pip()
        pip.install(*_wheel_folder(plan), "torch", plan.core)
        return
    index = None if pip.names_a_source() else torch_index(plan.torch)
    source = ("--index-url", index, "--extra-index-url", PYPI) if index else ()
    versions = plan.downloads / "versions.txt"
    versions.write_text("\n".join(versions_of(plan.requirements.read_text())))
    _tell(1, "Fetching the packages")
    found = fetch(pip, plan.downloads, _show_download, *source, "-r", str(versions), TORCH) or source
    environment.unmark_pip()
    _tell(2, "Installing the packages")
    pip.install(*found, "--no-deps", "--require-hashes", "-r", str(plan.requirements))
    _tell(3, f"Installing PyTorch ({plan.torch})")
    pip.install(*found, TORCH)


def versions_of(requirements: str) -> Iterator[str]:
    """The requirements without their digests, for which pip would have to download each file."""
    for line in requirements.splitlines():
        if line and not line.startswith((" ", "#")):
            yield line.partition(" --hash")[0].removesuffix("\\").strip()


def _wheel_folder(plan: Installation) -> tuple[str, ...]:
    return ("--no-index", "--find-links", str(plan.wheel_folder)) if plan.wheel_folder is not None else ()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """A context that locks the folder for this installation."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as lock:
        try:
            alone = try_lock(lock)
        except OSError:
            alone = True  # a file system without locks
        if not alone:
            raise InstallError(
                f"Another Blender is installing the engine into {folder}. Wait until it has finished."
            )
        yield


def _check_certificates() -> None:
    """InstallError if the environment names a certificate file that does not exist."""
    trusted = certificates(os.environ)
    if trusted is not None and not Path(trusted).exists():
        raise InstallError(
            f"There is no certificate file {trusted}. Correct PIP_CERT, REQUESTS_CA_BUNDLE or SSL_CERT_FILE and start "
            "Blender again."
        )


def _check_room(plan: Installation) -> None:
    """InstallError if the disk lacks the space for the rest of the installation."""
    environment = plan.environment
    if plan.wheel_folder is not None or environment.has_packages:
        return
    needed = plan.needed_bytes - _size(plan.downloads) - _size(environment.folder)
    free = shutil.disk_usage(plan.folder).free
    if free < needed:
        raise InstallError(
            f"The disk of {plan.folder} has {free / 1e9:.1f} GB left, and the engine takes {needed / 1e9:.1f} GB. Make "
            f"room there or choose another Engine Folder in the preferences. {AGAIN}"
        )


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*")) if folder.is_dir() else 0


def _clear(folder: Path, environment: Environment) -> None:
    """Delete downloads and earlier engines. One that is still running on Windows stays until the next time."""
    for path in folder.iterdir():
        if path.is_dir() and path != environment.folder:
            shutil.rmtree(path, ignore_errors=True)


def _refusal(error: OSError, folder: Path) -> str:
    if is_full(error):
        return explained(["No space left on device"], folder)
    where = error.filename or folder
    return f"{where} cannot be written ({error.strerror or error}). Choose another Engine Folder in the preferences."


def _tell(step: int, text: str) -> None:
    _say({"step": step, "total": STEPS, "text": text})


def _show_download(name: str, done_mb: int, total_mb: int) -> None:
    _say({"detail": f"{name}: {done_mb} of {total_mb} MB"})


def _fail(text: str) -> int:
    _say({"error": text})
    return 2


def _say(record: dict[str, object]) -> None:
    _pass_on(json.dumps(record))


def _pass_on(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
