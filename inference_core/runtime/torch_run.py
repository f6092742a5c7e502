# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks run by torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

# Rows that torch runs at once, by device.
_ROWS = {"cpu": 4, "cuda": 32, "mps": 8}


class TorchRun:
    """Plain torch, float32. If a batch does not fit into the device's memory, smaller ones are tried."""

    def __init__(self, network: nn.Module, device: str) -> None:
        self._device = torch.device(device)
        network = network.eval().requires_grad_(False).to(self._device)
        self._network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._rows = _ROWS.get(self._device.type, 4)

    def __call__(self, *inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
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
        return tuple(torch.cat(values).numpy() for values in zip(*parts, strict=True))

    def _run(self, inputs: list[NDArray[Any]]) -> tuple[Tensor, ...]:
        with torch.no_grad():
            found = self._network(*(torch.from_numpy(values).to(self._device) for values in inputs))
        values = (found,) if isinstance(found, Tensor) else found
        return tuple(value.float().cpu() for value in values)
