# SPDX-License-Identifier: GPL-3.0-or-later
"""How a process that computes waits and keeps its memory. To be settled before torch is imported."""

import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path

# What the user wants, before anything here is settled.
_WANTED_THREADS = os.environ.get("OMP_NUM_THREADS", "")

# mallopt's names in glibc.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
# A picture or a layer's features is given back to the system and taken anew at every use unless it is below these.
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD = 32 << 20, 64 << 20, 16 << 20


def settle_process() -> None:
    """Threads sleep while they wait, so that a busy program beside costs its own share and not several times that, and
    freed memory stays at hand. Whatever the environment says stays as it is.

    torch gets one thread: what it still computes is small, and its threads' waiting for each other costs ten times the
    work where another program takes one of their cores. Networks have threads of their own.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    # Other C libraries than glibc have no mallopt, or one that refuses; they need none.
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for name, value in (
            (_M_MMAP_THRESHOLD, _MMAP_THRESHOLD),
            (_M_TRIM_THRESHOLD, _TRIM_THRESHOLD),
            (_M_TOP_PAD, _TOP_PAD),
            # Each thread would keep freed memory of its own.
            (_M_ARENA_MAX, 1),
        ):
            mallopt(name, value)


def give_back_memory() -> None:
    """Let the system have the memory that earlier work left free, before other work takes its own."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def memory_held() -> int:
    """Bytes of memory that this process holds, after it gave back what it can. 0 where the system does not tell."""
    give_back_memory()
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def network_threads() -> int:
    """How many threads run a network: as many as OMP_NUM_THREADS wants, else one for each core that is ours."""
    if _WANTED_THREADS.isdecimal() and int(_WANTED_THREADS) > 0:
        return int(_WANTED_THREADS)
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
