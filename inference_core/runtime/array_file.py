# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays from safetensors files, whose headers are checked against the file before it is read; without torch."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors.numpy import load_file

from inference_core.runtime.tensor_header import read_checked


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file. Raises WeightsError if it is missing, damaged or another."""
    return read_checked(path, load_file)
