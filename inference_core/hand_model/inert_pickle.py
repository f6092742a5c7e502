# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the pickles that MANO comes in without ever running what a pickle names.

A pickle is a program. This reader looks at every instruction before the first is carried out, knows the few
types that hand model files hold, and builds inert stand-ins for them: neither numpy, SciPy nor chumpy sees
a byte of the file until the stand-ins' plain numbers have been checked here.
"""

import io
import math
import pickle
import pickletools
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import HandModelError

_NUMBER_TYPES = frozenset({"f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"})
_INSTRUCTIONS = frozenset(
    """
    PROTO FRAME STOP MARK POP POP_MARK EMPTY_DICT EMPTY_LIST EMPTY_TUPLE EMPTY_SET DICT LIST TUPLE
    TUPLE1 TUPLE2 TUPLE3 SETITEM SETITEMS APPEND APPENDS ADDITEMS BINGET LONG_BINGET BINPUT LONG_BINPUT
    MEMOIZE BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT SHORT_BINSTRING BINSTRING BINUNICODE
    SHORT_BINUNICODE SHORT_BINBYTES BINBYTES NONE NEWTRUE NEWFALSE GLOBAL STACK_GLOBAL REDUCE NEWOBJ
    BUILD
    """.split()  # noqa: SIM905 (forty names read better without forty quotes)
)
_PICKLE_FAULTS = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    LookupError,
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,
    zlib.error,
)


class _StandIn:
    """Remembers what a pickle said about an object; does nothing."""

    def __new__(cls, *parts: Any) -> Any:
        made = super().__new__(cls)
        made.parts, made.state = parts, None
        return made

    def __init__(self, *parts: Any) -> None:
        self.parts: tuple[Any, ...]
        self.state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_StandIn):
    """numpy.ndarray."""


class _Type(_StandIn):
    """numpy.dtype."""


class _Sparse(_StandIn):
    """scipy.sparse.csc_matrix."""


class _Chumpy(_StandIn):
    """chumpy.Ch and chumpy.Select: arrays wrapped for automatic differentiation."""


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("scipy.sparse.csc", "csc_matrix"): _Sparse,
    ("scipy.sparse._csc", "csc_matrix"): _Sparse,
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy.reordering", "Select"): _Chumpy,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
}


@dataclass(frozen=True)
class InertPickle:
    """What a pickle's top-level dictionary held, its arrays still unopened."""

    values: dict[str, Any]
    source: str

    def array(self, key: str) -> NDArray[Any]:
        """The array under `key`, dense, whichever of the known types held it. Raises HandModelError."""
        if key not in self.values:
            raise HandModelError(f"{self.source}: holds no {key!r}. Use the original, complete file.")
        try:
            return _dense(self.values[key])
        except _PICKLE_FAULTS as fault:
            raise HandModelError(
                f"{self.source}: {key} is damaged ({fault}). Use the original, complete file."
            ) from fault


def read_inert(data: bytes, source: str) -> InertPickle:
    """The dictionary that a hand model's pickle holds; `source` names the file in errors.

    Raises HandModelError when the bytes are no pickle, are truncated, or name anything that a hand model
    has no use for; nothing of it has run then.
    """
    try:
        _inspect(data, source)
        values = _Reader(io.BytesIO(data), source).load()
    except _PICKLE_FAULTS as fault:
        raise HandModelError(
            f"{source}: not a hand model file, or a damaged one ({type(fault).__name__}: {fault}). "
            "Copy it again from the original download."
        ) from fault
    if not isinstance(values, dict):
        raise HandModelError(
            f"{source}: a pickle, but not of a hand model. Choose MANO_LEFT.pkl and MANO_RIGHT.pkl."
        )
    return InertPickle(values, source)


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, source: str) -> None:
        super().__init__(file, encoding="latin1")
        self._source = source

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        return _known(module_name, global_name, self._source)


def _known(module: str, name: str, source: str) -> Any:
    if (module, name) not in _KNOWN:
        raise HandModelError(
            f"{source}: refused, for it names {module}.{name}, which no hand model needs; "
            "nothing of it was run. Use the file as its makers distribute it."
        )
    return _KNOWN[module, name]


def _inspect(data: bytes, source: str) -> None:
    """Refuses foreign instructions and names before anything is carried out.

    Memo numbers may not run ahead of the instruction count: the C unpickler would allocate a table that long.
    """
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if opcode.name not in _INSTRUCTIONS:
            raise HandModelError(
                f"{source}: refused, for it holds the pickle instruction {opcode.name}, which no "
                "hand model needs; nothing of it was run. Use the file as its makers distribute it."
            )
        if opcode.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            _known(module, name, source)
        if opcode.name in ("BINPUT", "LONG_BINPUT") and int(argument or 0) > count:
            raise ValueError("its memo is out of order")


def _dense(value: Any) -> NDArray[Any]:
    if isinstance(value, _Array):
        return _plain_array(value)
    if isinstance(value, _Sparse):
        return _csc_array(_fields(value))
    if isinstance(value, _Chumpy):
        held = _fields(value)
        if "x" in held:
            return _dense(held["x"])
        return (
            _dense(held["a"]).ravel()[_dense(held["idxs"])].reshape(_sizes(_plain(held["preferred_shape"])))
        )
    raise ValueError("not an array")


def _fields(value: _StandIn) -> dict[str, Any]:
    if not isinstance(value.state, dict):
        raise ValueError("an object without contents")
    return value.state


def _plain_array(value: _Array) -> NDArray[Any]:
    """The numbers of an ndarray's state: version, shape, dtype, Fortran order, raw bytes."""
    if not isinstance(value.state, tuple) or len(value.state) != 5:
        raise ValueError("an array without contents")
    _, shape, kind, fortran, raw = value.state
    dtype, shape = _number_type(kind), _sizes(shape)
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    if not isinstance(raw, bytes) or len(raw) != math.prod(shape) * dtype.itemsize:
        raise ValueError("an array of another length than it says")
    return (
        np.frombuffer(raw, dtype)
        .reshape(shape, order="F" if fortran else "C")
        .astype(dtype.newbyteorder("="))
    )


def _number_type(value: Any) -> np.dtype[Any]:
    if not isinstance(value, _Type) or not value.parts or value.parts[0] not in _NUMBER_TYPES:
        raise ValueError("an array of something else than numbers")
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "="
    if order not in ("<", ">", "|", "="):
        raise ValueError("an array of unknown byte order")
    return np.dtype(value.parts[0]).newbyteorder(order)


def _csc_array(state: dict[str, Any]) -> NDArray[Any]:
    """Compressed sparse columns, written out."""
    data, rows, starts = (_dense(state[key]) for key in ("data", "indices", "indptr"))
    height, width = _sizes(state["_shape"])
    counts = np.diff(starts)
    if (
        len(starts) != width + 1
        or starts[0] != 0
        or (counts < 0).any()
        or not starts[-1] == len(data) == len(rows)
    ):
        raise ValueError("a sparse matrix whose columns do not add up")
    if rows.size and (rows.min() < 0 or rows.max() >= height):
        raise ValueError("a sparse matrix with rows outside itself")
    dense = np.zeros((height, width), data.dtype)
    np.add.at(dense, (rows, np.repeat(np.arange(width), counts)), data)
    return dense


def _plain(value: Any) -> Any:
    return _dense(value).tolist() if isinstance(value, _StandIn) else value


def _sizes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or not all(
        isinstance(n, int) and 0 <= n < 1 << 24 for n in value
    ):
        raise ValueError("a shape that is none")
    if math.prod(value) > 1 << 26:
        raise ValueError("an array larger than any hand model's")
    return tuple(value)
