# SPDX-License-Identifier: GPL-3.0-or-later
"""A network ready to run: the same call for every runtime, in one place for all networks.

On a CPU, OpenVINO runs it if installed, otherwise torch: the same float32 arithmetic, two to five times
faster. No lower precision is used there: bfloat16 moves landmarks by more than 0.3 % of the hand's box.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from inference_core.runtime.imports_ahead import claimed
from inference_core.runtime.network_graph import NetworkGraph

# Rows that torch runs at once, by device.
_TORCH_ROWS = {"cpu": 4, "cuda": 32, "mps": 8}


class Run(Protocol):
    """Runs a network: rows (N, ...) of each input to rows of each output, float32 on the CPU."""

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]: ...


def ready_to_run(graph: NetworkGraph, device: torch.device, cache: Path | None = None) -> Run:
    """The network on a device. cache: the folder of converted networks; default: the user's.

    Raises what `build` raises for weights that cannot be used.
    """
    if runs_in_openvino(device):
        from inference_core.runtime.openvino_run import OpenVinoRun

        return OpenVinoRun(graph, cache, claimed(graph.name) if cache is None else None)
    return TorchRun(graph.build(), device)


def runs_in_openvino(device: torch.device) -> bool:
    """Whether OpenVINO runs the networks of a device."""
    return device.type == "cpu" and find_spec("openvino") is not None


class TorchRun:
    """Plain torch, float32. If a batch does not fit into the device's memory, smaller ones are tried."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        network = network.eval().requires_grad_(False).to(device)
        self._network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._device = device
        self._rows = _TORCH_ROWS.get(device.type, 4)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        parts: list[tuple[Tensor, ...]] = []
        done, count = 0, len(inputs[0])
        while done < count or not parts:
            try:
                parts.append(self._run([values[done : done + self._rows] for values in inputs]))
            except torch.OutOfMemoryError:
                if self._rows == 1:
                    raise
                self._rows //= 2
            else:
                done += self._rows
        return tuple(torch.cat(values) for values in zip(*parts, strict=True))

    def _run(self, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        with torch.no_grad():
            found = self._network(*(values.to(self._device) for values in inputs))
        values = (found,) if isinstance(found, Tensor) else found
        return tuple(value.float().cpu() for value in values)
