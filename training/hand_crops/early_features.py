# SPDX-License-Identifier: GPL-3.0-or-later
"""The landmark network's early features of many crops, by the fastest available runtime.

OpenVINO if it is installed (twice as fast as torch on a CPU), else torch; both in bfloat16, which changes features by
about 5 %, as does their 8-bit storage.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference_core.landmarks.formats import CROP_PX
from inference_core.landmarks.landmark_network import LandmarkNetwork

BATCH = 16

# (BATCH, CROP_PX, CROP_PX, 3) uint8 RGB to (BATCH, 112, 14, 14).
Reader = Callable[[NDArray[np.uint8]], Tensor]


def early_features(crops: NDArray[np.uint8], reader: Reader) -> Tensor:
    """(N, 112, 14, 14) float32 of crops (N, CROP_PX, CROP_PX, 3), RGB."""
    parts: list[Tensor] = []
    for start in range(0, len(crops), BATCH):
        part = crops[start : start + BATCH]
        full = np.zeros((BATCH, *part.shape[1:]), np.uint8)
        full[: len(part)] = part
        parts.append(reader(full)[: len(part)].float().clone())
    return torch.cat(parts) if parts else torch.empty(0, 112, 14, 14)


def fastest_reader(network: LandmarkNetwork) -> Reader:
    """OpenVINO's reader on one thread if it is installed, else torch's."""
    return _openvino_reader(network) if find_spec("openvino") is not None else torch_reader(network)


def torch_reader(network: LandmarkNetwork, dtype: torch.dtype = torch.bfloat16) -> Reader:
    """A reader that uses torch, on the network's device."""
    own = LandmarkNetwork()
    own.load_state_dict(network.state_dict())
    device = next(network.parameters()).device
    own = own.eval().to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def read(crops: NDArray[np.uint8]) -> Tensor:
        with torch.inference_mode():
            batch = torch.from_numpy(crops).to(device).permute(0, 3, 1, 2).to(dtype).div_(255)
            return cast(Tensor, own.early_features(batch)).float()

    return read


class _Early(nn.Module):
    """Crops (B, 3, H, W) of 0..255 to early features."""

    def __init__(self, network: LandmarkNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> Tensor:
        return self.network.early_features(crops / 255)


def _openvino_reader(network: LandmarkNetwork) -> Reader:
    runtime: Any = import_module("inference_core.runtime.openvino_run")
    example = np.zeros((BATCH, 3, CROP_PX, CROP_PX), np.float32)
    model = runtime.converted(_Early(network.eval()), (example,))
    settings = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    compiled = runtime.openvino.Core().compile_model(model, "CPU", settings)

    def read(crops: NDArray[np.uint8]) -> Tensor:
        batch = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32)
        return torch.from_numpy(compiled(batch)[0])

    return read
