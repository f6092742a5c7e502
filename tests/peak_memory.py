# SPDX-License-Identifier: GPL-3.0-or-later
"""The peak memory of this process: for tests that start one."""

import sys
from pathlib import Path


def peak_kb() -> int:
    """The most resident memory so far, in kilobytes.

    On Linux ru_maxrss begins with the peak of the process that started this one; VmHWM does not.
    """
    if sys.platform == "win32":
        return 0  # it would take a library to know
    if sys.platform != "linux":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
