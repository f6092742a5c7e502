# SPDX-License-Identifier: GPL-3.0-or-later
"""The arrays in MANO's pickles as plain ones: numpy's own, SciPy's sparse and chumpy's wrapped arrays.

The pickle is read by our own interpreter (runtime.inert_pickle); neither numpy, SciPy nor chumpy sees a byte of
the file until the stand-ins' plain numbers have been checked here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.runtime.inert_arrays import NUMPY_NAMES, ArrayStandIn, plain_array, sizes_of
from inference_core.runtime.inert_pickle import (
    InertPickleError,
    Make,
    RefusedPickleError,
    StandIn,
    read_inert_pickle,
)
from inference_core.shared.errors import HandModelError

_MOST_NUMBERS = 1 << 22  # entries in one array; a hand's largest has a third of a million
_DEEPEST = 4
_FAULTS = (LookupError, ValueError, TypeError, OverflowError, MemoryError, AttributeError)


class _Sparse(StandIn):
    """scipy.sparse.csc_matrix."""


class _Chumpy(StandIn):
    """chumpy.Ch and chumpy.Select: arrays wrapped for automatic differentiation."""


_KNOWN: dict[str, Make] = {
    **NUMPY_NAMES,
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
    if isinstance(value, ArrayStandIn):
        return plain_array(value, _MOST_NUMBERS)
    if isinstance(value, _Sparse):
        return _csc_array(_fields(value), depth + 1)
    if isinstance(value, _Chumpy):
        held = _fields(value)
        if "x" in held:
            return _dense(held["x"], depth + 1)
        chosen = _dense(held["a"], depth + 1).ravel()[_dense(held["idxs"], depth + 1)]
        return chosen.reshape(sizes_of(_plain(held["preferred_shape"], depth + 1), _MOST_NUMBERS))
    raise ValueError("not an array")


def _fields(value: StandIn) -> dict[str, Any]:
    if not isinstance(value.state, dict):
        raise ValueError("an object without contents")
    return value.state


def _csc_array(state: dict[str, Any], depth: int) -> NDArray[Any]:
    """Compressed sparse columns, written out."""
    data = _dense(state["data"], depth)
    rows, starts = (_dense(state[key], depth).astype(np.int64) for key in ("indices", "indptr"))
    height, width = sizes_of(state["_shape"], _MOST_NUMBERS)
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
