# SPDX-License-Identifier: GPL-3.0-or-later
"""The differences between Linux, macOS and Windows, in one place. Standard library only."""

import contextlib
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import IO

# On Windows, locks block access to the bytes themselves; nothing is ever written there.
_LOCKED_BYTE = 1 << 40
_PR_SET_PDEATHSIG = 1  # prctl(2)
# Linux' control groups, and the one this process is in; a container sees its own at the top.
_GROUPS, _OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_FAULTS = 0xC0000000  # of Windows' exit codes: access violation, stack overflow and the like
REPLACED_WITHIN_S = 2.0
_LOOK_S = 0.05


def try_lock(file: IO[bytes]) -> bool:
    """Whether this process now holds the open file's lock, until it closes the file or ends in any way.

    Raises OSError if the file system does not support locks.
    """
    if sys.platform == "win32":
        import msvcrt

        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_still_at(file: IO[bytes], path: Path) -> bool:
    """Whether `path` is still the open file, not deleted or replaced."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (FileNotFoundError, PermissionError):  # Windows refuses to look at a file that is being deleted
        return False


def replace_file(source: Path, target: Path) -> None:
    """Rename a file over another one. On Windows a virus scanner or an indexer may hold either for a moment: there it
    is tried for REPLACED_WITHIN_S before a PermissionError.
    """
    end_s = time.monotonic() + (REPLACED_WITHIN_S if sys.platform == "win32" else 0)
    while True:
        try:
            source.replace(target)
            return
        except PermissionError:
            if time.monotonic() > end_s:
                raise
        time.sleep(_LOOK_S)


def ended_by_force(code: int, was_asked: bool = False) -> int:
    """The number of the signal, or on Windows of the fault, that ended a process with this exit code; 0 if it exited
    by itself.

    was_asked: this process has asked the other one to end. On Windows, ending one gives it the code 1.
    """
    if sys.platform == "win32":
        return code if code & _FAULTS == _FAULTS or (was_asked and code == 1) else 0
    return max(-code, 0)


def release_before_rename(file: IO[bytes]) -> None:
    """Close the file on systems that cannot rename or delete open files."""
    if sys.platform == "win32":
        file.close()


def die_with_parent() -> None:
    """End this process when its parent ends, however busy it is: on Linux; elsewhere, closed pipes must do."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def open_standard_streams() -> None:
    """Open missing stdin, stdout or stderr on the null device: otherwise the next opened file gets their number, and
    a library's output goes into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def available_cores() -> int:
    """Processor cores that this process may use, at least 1: a container may have fewer than its machine."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    for quota, period in (limit.split() for limit in _limits("cpu.max")):
        if quota != "max":
            cores = min(cores, -(-int(quota) // int(period)))
    return max(cores, 1)


def available_memory() -> int:
    """Bytes of available memory, and no more than a container may have; 4 GiB if the system does not say."""
    available = 4 << 30
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) << 10
    return min([available, *(int(limit) for limit in _limits("memory.max") if limit != "max")])


def _limits(name: str) -> list[str]:
    """What a file says in this process's control group (Linux, version 2) and in those above it."""
    try:
        lines = _OWN_GROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    own = [_GROUPS / line.removeprefix("0::").lstrip("/") for line in lines if line.startswith("0::")]
    groups = [each for path in own for each in (path, *path.parents) if each.is_relative_to(_GROUPS)]
    found: list[str] = []
    for group in groups:
        with contextlib.suppress(OSError):
            found.append((group / name).read_text(encoding="ascii").strip())
    return found


def cameras_here() -> list[int] | None:
    """Numbers of this machine's cameras; None on systems that do not list them."""
    if sys.platform != "linux":
        return None
    found = (re.fullmatch(r"video(\d+)", path.name) for path in Path("/dev").glob("video*"))
    return sorted(int(name[1]) for name in found if name)
