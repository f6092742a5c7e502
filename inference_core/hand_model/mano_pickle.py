# SPDX-License-Identifier: GPL-3.0-or-later
"""The arrays in MANO's pickles as plain ones: numpy's own, SciPy's sparse and chumpy's wrapped arrays.

The pickle is read by our own interpreter (runtime.inert_pickle); neither numpy, SciPy nor chumpy sees a byte of
the file until the stand-ins' plain numbers have been checked here.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.runtime.inert_pickle import (
    InertPickleError,
    RefusedPickleError,
    StandIn,
    read_inert_pickle,
)
from inference_core.shared.errors import HandModelError

_NUMBER_TYPES = frozenset({"f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"})
_MOST_NUMBERS = 1 << 22  # entries in one array; a hand's largest has a third of a million
_DEEPEST = 4
_FAULTS = (LookupError, ValueError, TypeError, OverflowError, MemoryError, AttributeError)


class _Array(StandIn):
    """numpy.ndarray."""


class _Type(StandIn):
    """numpy.dtype."""


class _Sparse(StandIn):
    """scipy.sparse.csc_matrix."""


class _Chumpy(StandIn):
    """chumpy.Ch and chumpy.Select: arrays wrapped for automatic differentiation."""


_KNOWN: dict[str, type[StandIn]] = {
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy._core.multiarray._reconstruct": _Array,
    "numpy.ndarray": _Array,
    "numpy.dtype": _Type,
    "scipy.sparse.csc.csc_matrix": _Sparse,
    "scipy.sparse._csc.csc_matrix": _Sparse,
    "chumpy.ch.Ch": _Chumpy,
    "chumpy.reordering.Select": _Chumpy,
    "__builtin__.set": StandIn,
    "builtins.set": StandIn,
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
        except _FAULTS as fault:
            raise HandModelError(
                f"{self.source}: {key} is damaged ({fault}). Use the original, complete file."
            ) from fault


def read_inert(data: bytes, source: str) -> InertPickle:
    """The dictionary that a hand model's pickle holds; `source` names the file in errors.

    Raises HandModelError if the bytes are not a pickle, are truncated, or name anything that a hand model
    does not need; nothing in it is executed.
    """
    try:
        values = read_inert_pickle(data, _KNOWN)
    except RefusedPickleError as refused:
        raise HandModelError(
            f"{source}: refused: it holds {refused}, which no hand model needs; nothing in it was executed. "
            "Use the file as its makers distribute it."
        ) from refused
    except InertPickleError as fault:
        raise HandModelError(
            f"{source}: not a hand model file, or a damaged one ({fault}). "
            "Copy it again from the original download."
        ) from fault
    if not isinstance(values, dict):
        raise HandModelError(
            f"{source}: a pickle, but not of a hand model. Choose MANO_LEFT.pkl and MANO_RIGHT.pkl."
        )
    return InertPickle(values, source)


def _dense(value: Any, depth: int = 0) -> NDArray[Any]:
    if depth > _DEEPEST:
        raise ValueError("arrays within arrays within arrays")
    if isinstance(value, _Array):
        return _plain_array(value)
    if isinstance(value, _Sparse):
        return _csc_array(_fields(value), depth + 1)
    if isinstance(value, _Chumpy):
        held = _fields(value)
        if "x" in held:
            return _dense(held["x"], depth + 1)
        chosen = _dense(held["a"], depth + 1).ravel()[_dense(held["idxs"], depth + 1)]
        return chosen.reshape(_sizes(_plain(held["preferred_shape"], depth + 1)))
    raise ValueError("not an array")


def _fields(value: StandIn) -> dict[str, Any]:
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
    if not isinstance(value, _Type) or not value.parts:
        raise ValueError("an array of something else than numbers")
    name = value.parts[0]
    if not isinstance(name, str) or name not in _NUMBER_TYPES:
        raise ValueError("an array of something else than numbers")
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "="
    if not isinstance(order, str) or order not in ("<", ">", "|", "="):
        raise ValueError("an array of unknown byte order")
    return np.dtype(name).newbyteorder(order)


def _csc_array(state: dict[str, Any], depth: int) -> NDArray[Any]:
    """Compressed sparse columns, written out."""
    data = _dense(state["data"], depth)
    rows, starts = (_dense(state[key], depth).astype(np.int64) for key in ("indices", "indptr"))
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


def _plain(value: Any, depth: int) -> Any:
    return _dense(value, depth).tolist() if isinstance(value, StandIn) else value


def _sizes(value: Any) -> tuple[int, ...]:
    if (
        not isinstance(value, tuple | list)
        or len(value) > 4
        or not all(isinstance(n, int) and 0 <= n < 1 << 24 for n in value)
    ):
        raise ValueError("a shape that is none")
    if math.prod(value) > _MOST_NUMBERS:
        raise ValueError("an array larger than any hand model's")
    return tuple(value)
