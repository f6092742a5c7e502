# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads and memory of a computing process, configured before NumPy and torch are imported."""

import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path

from inference_core.shared.system import available_cores

# The user's setting, read before this module changes it.
_WANTED_THREADS = os.environ.get("OMP_NUM_THREADS", "")


def settle_process() -> None:
    """Make waiting threads sleep, so that another busy program costs only its own share. Settings in the environment
    take precedence.

    Linear algebra gets one thread, however many OMP_NUM_THREADS asks for: its matrices are small, and if another
    program occupies a core, its threads spend ten times the work on waiting for each other. Networks have their own
    threads.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def give_back_memory() -> None:
    """Return freed memory to the system before other work allocates its own. Takes milliseconds, however many values
    stay between.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def memory_held() -> int:
    """Bytes of memory that this process holds after returning what it can. 0 if the system does not say."""
    gc.collect()
    give_back_memory()
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def network_threads() -> int:
    """The number of threads for a network: OMP_NUM_THREADS, else one per available core."""
    if _WANTED_THREADS.isdecimal() and int(_WANTED_THREADS) > 0:
        return int(_WANTED_THREADS)
    return available_cores()
