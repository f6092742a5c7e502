# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between Linux, macOS and Windows, in one place. Standard library only."""

import os
import signal
import sys
from pathlib import Path
from typing import IO

# Windows' locks keep others from the bytes themselves; nothing is ever written there.
_LOCKED_BYTE = 1 << 40
_PR_SET_PDEATHSIG = 1  # prctl(2)


def try_lock(file: IO[bytes]) -> bool:
    """Whether the open file is now this process's alone, until it is closed or the process ends, however it ends.

    Raises OSError if the file system knows no locks.
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
    """Whether `path` names the open file, and not another one that took its place, or none."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def release_before_rename(file: IO[bytes]) -> None:
    """Close the file where the system lets no open one be renamed or deleted."""
    if sys.platform == "win32":
        file.close()


def die_with_parent() -> None:
    """From now on the process ends when the one that started it does, however busy it is. Linux only; others have
    closed pipes to go by.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def open_standard_streams() -> None:
    """Give a process that was started without stdin, stdout or stderr empty ones: else the next file that is opened
    takes the number, and whatever a library prints goes into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def available_memory() -> int:
    """Bytes of memory that programs can still have; 4 GiB where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    return 4 << 30
