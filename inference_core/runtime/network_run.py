# SPDX-License-Identifier: GPL-3.0-or-later
"""A network ready to run: the same call on arrays for every runtime, in one place for all networks.

On a CPU, OpenVINO runs it if installed, otherwise torch: the same float32 arithmetic, two to five times
faster, and without torch's import. No lower precision is used there: bfloat16 moves landmarks by more than 0.3 % of
the hand's box.
"""

from importlib.util import find_spec
from pathlib import Path

from inference_core.runtime.imports_ahead import claimed
from inference_core.runtime.network_graph import NetworkGraph, Run


def ready_to_run(graph: NetworkGraph, device: str, cache: Path | None = None) -> Run:
    """The network on a device. cache: the folder of converted networks; default: the user's.

    Raises what `build` raises for weights that cannot be used.
    """
    if runs_in_openvino(device):
        from inference_core.runtime.openvino_run import OpenVinoRun

        return OpenVinoRun(graph, cache, claimed if cache is None else None)
    from inference_core.runtime.torch_run import TorchRun

    return TorchRun(graph.build(), device)


def runs_in_openvino(device: str) -> bool:
    """Whether OpenVINO runs the networks of a device."""
    return device_kind(device) == "cpu" and find_spec("openvino") is not None


def device_kind(device: str) -> str:
    """The device's kind: "cpu", "cuda" or "mps"."""
    return device.partition(":")[0]
