# SPDX-License-Identifier: GPL-3.0-or-later
"""A capture by torch's networks against one by OpenVINO's: rounding differs, and must not grow from frame to frame."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import inference_core
from inference_core.runtime.network_run import runs_in_openvino
from inference_core.shared.take import Take, load_take

DEMO = Path(inference_core.__file__).parent / "demo" / "two_hands.mp4"
_BY_TORCH = """
import sys
from inference_core.runtime import imports_ahead, network_run
network_run.runs_in_openvino = lambda device: False
imports_ahead.find_spec = lambda name: None
from inference_core.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not runs_in_openvino("cpu"), reason="openvino has no wheel here")
@pytest.mark.parametrize("network", ["none", "shipped"])
def test_takes_by_torch_and_by_openvino_agree(tmp_path: Path, network: str) -> None:
    def take(name: str, *program: str) -> Take:
        out = tmp_path / f"{name}.npz"
        arguments = ["reconstruct", str(DEMO), "--frames", "0:48", "--network", network, "--out", str(out)]
        subprocess.run([sys.executable, *program, *arguments], check=True, capture_output=True)
        return load_take(out)

    ours, other = take("openvino", "-m", "inference_core"), take("torch", "-c", _BY_TORCH)
    assert (ours.present == other.present).all() and (ours.present > 0).all()
    apart_mm = 1000 * np.linalg.norm(ours.joints_cam_m - other.joints_cam_m, axis=-1)
    assert apart_mm.mean() < 0.1
