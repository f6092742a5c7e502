# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of a safetensors file against the file itself, without torch."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from safetensors import SafetensorError

from inference_core.shared.errors import WeightsError
from inference_core.shared.json_record import json_object

Loaded = TypeVar("Loaded")

_LARGEST_HEADER = 16 << 20
_LARGEST_FILE = 4 << 30
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def check_tensor_header(path: Path) -> None:
    """Raises WeightsError unless every tensor in the header lies within the file and has its shape's length."""
    try:
        _check(path)
    except (OSError, ValueError) as error:
        raise not_tensors(path, error) from error


def read_checked(path: Path, load: Callable[[Path], dict[str, Loaded]]) -> dict[str, Loaded]:
    """What `load` reads from a safetensors file, header checked. Raises WeightsError if it is missing or damaged."""
    check_tensor_header(path)
    try:
        return load(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise not_tensors(path, error) from error


def not_tensors(path: Path, error: Exception) -> WeightsError:
    """The error for a file that does not contain tensors."""
    return WeightsError(f"{path} is truncated or not a safetensors file ({error}). Copy it again.")


def _check(path: Path) -> None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        room = path.stat().st_size - 8 - length
        if not 0 < length <= _LARGEST_HEADER or not 0 <= room <= _LARGEST_FILE:
            raise ValueError("its header does not fit the file")
        header = json_object(file.read(length).decode("utf-8"))
    for name, entry in header.items():
        if name != "__metadata__" and not (isinstance(entry, dict) and _fits(entry, room)):
            raise ValueError(f"its tensor {name[:80]} does not fit the file")


def _fits(entry: dict[str, Any], room: int) -> bool:
    shape, offsets, dtype = entry.get("shape"), entry.get("data_offsets"), entry.get("dtype")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2 or dtype not in list(_WIDTHS):
        return False
    start, stop = offsets
    return start <= stop <= room and stop - start == math.prod(shape) * _WIDTHS[dtype]


def _are_sizes(values: object) -> TypeGuard[list[int]]:
    return (
        isinstance(values, list)
        and len(values) <= 8
        and all(type(size) is int and size >= 0 for size in values)
    )
