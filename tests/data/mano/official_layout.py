# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes hand models in the layout of MANO's own files: Python 2 pickles, protocol 2, with chumpy and SciPy
objects in them.

Random numbers, any number of vertices. The byte stream is written by hand, for today's Python writes no
such pickles and chumpy does not install on it.
"""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.skeleton import PARENTS_16

Arrays = dict[str, NDArray[Any]]


def random_hand(seed: int, vertices: int = 40, faces: int = 60) -> Arrays:
    """Arrays of MANO's names, types and shapes, but for the number of vertices and faces."""
    noise = np.random.default_rng(seed)
    regressor = noise.random((16, vertices)) * (noise.random((16, vertices)) < 0.3)
    regressor[:, 0] += 0.1
    weights = noise.random((vertices, 16))
    kintree = np.array([PARENTS_16, np.arange(16)], np.int64)
    kintree[0, 0] = 4294967295
    return {
        "v_template": noise.normal(0, 0.05, (vertices, 3)),
        "f": noise.integers(0, vertices, (faces, 3)).astype(np.uint32),
        "shapedirs": noise.normal(0, 0.01, (vertices, 3, 10)),
        "posedirs": noise.normal(0, 0.001, (vertices, 3, 135)),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": kintree,
        "hands_components": noise.normal(0, 0.3, (45, 45)),
        "hands_mean": noise.normal(0, 0.2, 45),
    }


def official_pickle(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The pickle of one hand as MANO v1.2 has it."""
    parts = [b"\x80\x02}("]
    for key, value in arrays.items():
        parts.append(_text(key))
        if key == "shapedirs":
            parts.append(_selection(value))
        elif key == "J_regressor":
            parts.append(_sparse(value))
        else:
            parts.append(_array(value))
    parts += [_text("bs_type"), _text("lrotmin"), _text("bs_style"), _text("lbs"), b"u."]
    return b"".join(parts)


def calling(module: str, name: str, argument: str) -> bytes:
    """A pickle that would call module.name(argument)."""
    return b"\x80\x02" + _name(module, name) + _text(argument) + b"\x85R."


def _array(value: NDArray[Any]) -> bytes:
    kind = _name("numpy", "dtype") + _text(value.dtype.str[1:]) + _number(0) + _number(1) + b"\x87R"
    kind += b"(" + _number(3) + _text("<") + b"NNN" + _number(-1) + _number(-1) + _number(0) + b"tb"
    empty = (
        _name("numpy.core.multiarray", "_reconstruct")
        + _name("numpy", "ndarray")
        + _number(0)
        + b"\x85"
        + _text("b")
    )
    fortran = b"\x88" if value.flags.f_contiguous and not value.flags.c_contiguous else b"\x89"
    shape = b"(" + b"".join(_number(n) for n in value.shape) + b"t"
    return empty + b"\x87R(" + _number(1) + shape + kind + fortran + _text(value.tobytes(order="A")) + b"tb"


def _selection(value: NDArray[Any]) -> bytes:
    """chumpy's Select of the wanted columns out of a larger array."""
    whole = np.concatenate([value, np.zeros((*value.shape[:2], 5))], -1)
    picked = np.arange(whole.size).reshape(whole.shape)[..., : value.shape[-1]].ravel()
    inner = _object("chumpy.ch", "Ch", {"x": _array(whole)})
    shape = _array(np.array(value.shape))
    return _object(
        "chumpy.reordering", "Select", {"a": inner, "idxs": _array(picked), "preferred_shape": shape}
    )


def _sparse(value: NDArray[Any]) -> bytes:
    columns, rows = np.nonzero(value.T)
    starts = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=value.shape[1]))])
    return _object(
        "scipy.sparse.csc",
        "csc_matrix",
        {
            "data": _array(value[rows, columns]),
            "indices": _array(rows.astype(np.int32)),
            "indptr": _array(starts.astype(np.int32)),
            "_shape": b"".join(_number(n) for n in value.shape) + b"\x86",
            "maxprint": _number(50),
        },
    )


def _object(module: str, name: str, state: Mapping[str, bytes]) -> bytes:
    held = b"".join(_text(key) + value for key, value in state.items())
    return _name(module, name) + b")\x81}(" + held + b"ub"


def _name(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def _number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _text(value: str | bytes) -> bytes:
    raw = value.encode("latin1") if isinstance(value, str) else value
    return b"T" + struct.pack("<i", len(raw)) + raw
