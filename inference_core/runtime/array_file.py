# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays from safetensors files, whose headers are checked against the file before it is read; without torch."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from inference_core.runtime.tensor_header import check_tensor_header, not_tensors


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file. Raises WeightsError if it is missing, damaged or another."""
    check_tensor_header(path)
    try:
        return load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise not_tensors(path, error) from error
