# SPDX-License-Identifier: GPL-3.0-or-later
"""numpy's arrays in a pickle, as stand-ins made by runtime.inert_pickle, and the plain arrays that these describe.

numpy itself sees no byte of the file before shape, kind and length have been checked here.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.runtime.inert_pickle import Make, StandIn

_NUMBER_TYPES = frozenset(
    {"f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"}
)  # as numpy's pickles name them
_MOST_DIMENSIONS, _LONGEST_SIDE = 8, 1 << 24


class ArrayStandIn(StandIn):
    """numpy.ndarray."""


class BufferStandIn(StandIn):
    """numpy's _frombuffer, as pickles of protocol 5 hold arrays: bytes, dtype, shape, order."""


class ScalarStandIn(StandIn):
    """numpy's scalar: dtype, bytes."""


class TypeStandIn(StandIn):
    """numpy.dtype."""


NUMPY_NAMES: dict[str, Make] = {
    **{
        f"numpy.{core}.multiarray.{name}": make
        for core in ("core", "_core")
        for name, make in (("_reconstruct", ArrayStandIn), ("scalar", ScalarStandIn))
    },
    "numpy.core.numeric._frombuffer": BufferStandIn,
    "numpy._core.numeric._frombuffer": BufferStandIn,
    "numpy.ndarray": ArrayStandIn,
    "numpy.dtype": TypeStandIn,
}


def plain_array(value: StandIn, most_numbers: int) -> NDArray[Any]:
    """The array of numbers described by an ArrayStandIn or a BufferStandIn; ValueError if there is none."""
    if isinstance(value, BufferStandIn):
        if len(value.parts) != 4:
            raise ValueError("an array without contents")
        raw, kind, shape, order = value.parts
        return numbers(raw, kind, shape, order == "F", most_numbers)
    _, shape, kind, fortran, raw = array_state(value)
    return numbers(raw, kind, shape, bool(fortran), most_numbers)


def array_state(value: StandIn) -> tuple[Any, ...]:
    """An ndarray's state: version, shape, dtype, Fortran order, raw bytes or a list of objects."""
    if not isinstance(value.state, tuple) or len(value.state) != 5:
        raise ValueError("an array without contents")
    return value.state


def numbers(raw: Any, kind: Any, shape: Any, fortran: bool, most_numbers: int) -> NDArray[Any]:
    """The array of this dtype stand-in and shape from the bytes; ValueError if their length differs."""
    dtype, sizes = number_type(kind), sizes_of(shape, most_numbers)
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    if not isinstance(raw, bytes | bytearray) or len(raw) != math.prod(sizes) * dtype.itemsize:
        raise ValueError("an array whose length does not match its header")
    plain = np.frombuffer(raw, dtype).reshape(sizes, order="F" if fortran else "C")
    return plain.astype(dtype.newbyteorder("="))


def number_type(value: Any) -> np.dtype[Any]:
    """The type described by a dtype's stand-in; ValueError unless it is numeric."""
    if not isinstance(value, TypeStandIn) or not value.parts:
        raise ValueError("an array of other values than numbers")
    name = value.parts[0]
    if not isinstance(name, str) or name not in _NUMBER_TYPES:
        raise ValueError("an array of other values than numbers")
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "="
    if not isinstance(order, str) or order not in ("<", ">", "|", "="):
        raise ValueError("an array of unknown byte order")
    return np.dtype(name).newbyteorder(order)


def sizes_of(value: Any, most_numbers: int) -> tuple[int, ...]:
    """A shape; ValueError if it is invalid, or has more numbers than the limit."""
    if (
        not isinstance(value, tuple | list)
        or len(value) > _MOST_DIMENSIONS
        or not all(isinstance(n, int) and 0 <= n < _LONGEST_SIDE for n in value)
    ):
        raise ValueError("an invalid shape")
    if math.prod(value) > most_numbers:
        raise ValueError("an array larger than any of this kind")
    return tuple(value)
