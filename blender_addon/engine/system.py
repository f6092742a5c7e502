# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's differences between Linux, macOS and Windows, in one place. Standard library only."""

import errno
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Literal

TorchBuild = Literal["cpu", "cuda", "apple"]

# PyTorch's own index, because PyPI's Linux and Windows wheels are of a single build.
_TORCH_INDEX: Final = "https://download.pytorch.org/whl/"
_TORCH_INDEX_OF: Final[dict[TorchBuild, str | None]] = {"cpu": "cpu", "cuda": "cu126", "apple": None}
# Size of the downloads and of the environment made from them, measured and rounded up.
_NEEDED_BYTES: Final[dict[TorchBuild, int]] = {"cpu": 3 << 30, "cuda": 12 << 30, "apple": 3 << 30}

_WINDOWS_DISK_FULL: Final = (39, 112)  # ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL
_FULL: Final = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


def python_of(environment: Path) -> Path:
    """The Python of a virtual environment."""
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def suggested_torch() -> TorchBuild:
    """The PyTorch build that suits this machine: Apple's, CUDA if there is an NVIDIA driver, else CPU."""
    if sys.platform == "darwin":
        return "apple" if platform.machine() == "arm64" else "cpu"
    drivers = (Path("/proc/driver/nvidia/version"), Path("C:/Windows/System32/nvcuda.dll"))
    return "cuda" if any(driver.exists() for driver in drivers) else "cpu"


def torch_index(build: TorchBuild) -> str | None:
    """Address of the index that has that build; None for PyPI."""
    name = _TORCH_INDEX_OF[build]
    return None if name is None or sys.platform == "darwin" else _TORCH_INDEX + name


def needed_bytes(build: TorchBuild) -> int:
    """The largest disk space in use during an installation."""
    return _NEEDED_BYTES[build]


def machine() -> str:
    """System, processor and Python in words."""
    return f"{platform.system()} {platform.machine()} and Python {platform.python_version()}"


def is_full(error: OSError) -> bool:
    """Whether the error means that the disk, or the user's quota, is full."""
    return error.errno in _FULL or getattr(error, "winerror", None) in _WINDOWS_DISK_FULL


def own_group() -> dict[str, Any]:
    """Arguments of subprocess.Popen that put a child into its own process group."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def without_window() -> dict[str, Any]:
    """Arguments of subprocess.Popen that keep a console window from opening."""
    return {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}


def terminate_group(process: subprocess.Popen[bytes]) -> None:
    """Ask a child and all in its group to end. Windows has no such signal: there they are killed."""
    if sys.platform == "win32":
        kill_group(process)
    else:
        _signal_group(process, signal.SIGTERM)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a child and everything that it started."""
    if sys.platform == "win32":
        tree = ("taskkill", "/T", "/F", "/PID", str(process.pid))
        subprocess.run(tree, capture_output=True, check=False, **without_window())
        process.kill()
    else:
        _signal_group(process, signal.SIGKILL)


def guarded(guard: Path) -> tuple[str, ...]:
    """A prefix for a command so that it ends with this process. Empty on Windows,
    which has no process groups to kill.
    """
    if sys.platform == "win32" or not sys.executable:
        return ()
    return (sys.executable, "-I", "-S", str(guard), str(os.getpid()))


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
