# SPDX-License-Identifier: GPL-3.0-or-later
"""Tensors from safetensors files, whose headers are checked against the file before it is read."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from inference_core.runtime.tensor_header import check_tensor_header, not_tensors


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU. Raises WeightsError if it is missing, damaged or another."""
    check_tensor_header(path)
    try:
        return load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise not_tensors(path, error) from error
