# SPDX-License-Identifier: GPL-3.0-or-later
"""The process settings that a plain command makes before NumPy and torch are imported, and those left to the user."""

import os
import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import sys
from inference_core.runtime.process import network_threads, settle_process
settle_process()
assert not {"numpy", "torch"} & set(sys.modules)
import os, torch
print(torch.get_num_threads(), network_threads(), os.environ["OMP_WAIT_POLICY"])
"""


def told(**wanted: str) -> list[str]:
    """torch's threads, the networks' threads and the waiting of a process with such an environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MALLOC_"))}
    kept |= {"PYTHONPATH": str(Path(__file__).parents[2]), **wanted}
    command = [sys.executable, "-c", _SCRIPT]
    return subprocess.run(command, env=kept, check=True, capture_output=True, text=True).stdout.split()


def test_torch_has_one_passive_thread_and_networks_all_cores() -> None:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    assert told() == ["1", str(cores), "PASSIVE"]


def test_the_users_thread_settings_are_kept() -> None:
    assert told(OMP_NUM_THREADS="2", OMP_WAIT_POLICY="ACTIVE") == ["2", "2", "ACTIVE"]


def test_linear_algebra_has_one_thread_whatever_networks_are_given() -> None:
    script = (
        "from inference_core.runtime.process import settle_process\nsettle_process()\nimport os, numpy\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, env=environment, check=True, capture_output=True).stdout.split() == [b"1"]


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom inference_core.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(*({'numpy', 'torch', 'cv2', 'av', 'openvino'} & set(sys.modules)), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert run.stderr.split() == []
