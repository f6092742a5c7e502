# SPDX-License-Identifier: GPL-3.0-or-later
"""One `duohand reconstruct` in its own process: time, memory and output."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Cost:
    """Wall-clock and processor seconds, peak memory, and what the process wrote to stderr."""

    wall_s: float
    processor_s: float
    peak_mb: float
    output: str = ""


def timed_reconstruct(
    footage: Path, out: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Cost:
    """The cost of one capture without resuming, on the CPU. SystemExit with its output if it fails."""
    command = [sys.executable, "-m", "inference_core", "reconstruct", str(footage), "--out", str(out)]
    command += ["--device", "cpu", "--no-resume", *options]
    start_s = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start_s
        output.seek(0)
        text = output.read()
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"the run failed:\n{text}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, megabytes(usage.ru_maxrss), text)


def megabytes(peak: int) -> float:
    """A process's ru_maxrss in megabytes: macOS counts it in bytes, Linux in kilobytes."""
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
