# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks imported while torch is: the ones that a capture needs, each once."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from inference_core.hand_model.load import load_open_hand
from inference_core.runtime.network_run import runs_in_openvino
from inference_core.stages import choose_network

pytestmark = pytest.mark.skipif(
    not runs_in_openvino(torch.device("cpu")), reason="openvino has no wheel here"
)

_SCRIPT = """
import sys
from inference_core.pipeline import _NETWORKS, _SHIPPED_NETWORKS
from inference_core.runtime import imports_ahead
imports_ahead.import_ahead((*_NETWORKS, *_SHIPPED_NETWORKS))
for coming in imports_ahead._COMING.values():
    coming.result()
assert "torch" not in sys.modules, "torch came with them"
import torch
from inference_core.hand_model.load import load_open_hand
from inference_core.landmarks.weights import load_landmark_networks, load_pose_networks
from inference_core.runtime import openvino_run
from inference_core.stages import choose_network
imported = openvino_run._imported
again = []
openvino_run._imported = lambda core, path, rows: again.append(path.name) or imported(core, path, rows)
choose_network("shipped", load_open_hand(), torch.device("cpu"))
load_landmark_networks(), load_pose_networks()
print(again, list(imports_ahead._COMING))
"""


def test_all_networks_of_a_capture_come_ahead_without_torch_and_none_is_imported_twice() -> None:
    choose_network("shipped", load_open_hand(), torch.device("cpu"))  # prepares them where nothing did
    command = [sys.executable, "-c", _SCRIPT]
    root = Path(__file__).parents[2]
    run = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    assert run.stdout == "[] []\n"
