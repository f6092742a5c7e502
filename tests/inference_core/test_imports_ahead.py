# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks imported ahead: the ones that a capture needs, each once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inference_core.runtime.network_run import runs_in_openvino

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not runs_in_openvino("cpu"), reason="openvino has no wheel here")

_LOAD = """
from pathlib import Path
from inference_core.hand_model.load import load_open_hand
from inference_core.landmarks.networks import load_landmark_networks, load_pose_networks
from inference_core.runtime import openvino_run
from inference_core.chosen_network import choose_network
imported, again = openvino_run._imported, []
openvino_run._imported = lambda core, path, rows: again.append(path) or imported(core, path, rows)
choose_network("shipped", load_open_hand(), "cpu").loaded().predictor()
load_landmark_networks(), load_pose_networks()
print(*again, sep="\\n")
"""
_AHEAD = """
from concurrent.futures import wait
from inference_core.pipeline import _HEADS, _NETWORKS
from inference_core.runtime import imports_ahead
imports_ahead.import_ahead((*_NETWORKS, *_HEADS, "dir-s"))
wait(imports_ahead._COMING.values())
"""


def test_all_networks_are_imported_ahead_once(tmp_path: Path) -> None:
    # A cache of this test's own: other tests use other two-hand networks, and the one that ran last comes ahead.
    (tmp_path / "duohand").mkdir()
    for name in set(printed(_LOAD, os.environ)):
        shutil.copy2(name, tmp_path / "duohand")
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    assert printed(_AHEAD + _LOAD + "print(*imports_ahead._COMING)", environment) == []


def printed(script: str, environment: os._Environ[str] | dict[str, str]) -> list[str]:
    """The lines that the script prints, without empty ones."""
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=dict(environment))
    return [line for line in run.stdout.splitlines() if line]


_ANOTHER = """
import gc, weakref
from pathlib import Path
from inference_core.runtime import imports_ahead
imports_ahead.import_ahead(["palm"])
last = weakref.ref(imports_ahead._COMING["palm"].result()[1][0])
print(imports_ahead.claimed("palm", Path("another")), last())
"""


def test_another_version_than_the_wanted_one_is_let_go() -> None:
    # Two in memory at once would be the most that a capture needs.
    printed(_LOAD, os.environ)
    assert printed(_ANOTHER, os.environ) == ["None None"]
