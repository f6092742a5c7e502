# SPDX-License-Identifier: GPL-3.0-or-later
"""Tensors from safetensors files, whose headers are checked against the file before it is read."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from inference_core.runtime.tensor_header import read_checked


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU. Raises WeightsError if it is missing, damaged or another."""
    return read_checked(path, load_file)
