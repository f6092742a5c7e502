# SPDX-License-Identifier: GPL-3.0-or-later
"""torch tensors inside a plain pickle (or joblib's), as numpy arrays.

Such a pickle stores each tensor as the bytes of an older `torch.save`: five pickles, then the raw numbers.
"""

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.runtime.inert_pickle import Make, Named, StandIn, read_inert_pickle

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_DTYPES: Mapping[str, str] = {
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.HalfStorage": "<f2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?",
}


class TensorStandIn(StandIn):
    """torch._utils._rebuild_tensor_v2: storage, offset, size, stride and more; or a parameter made of one."""


class _Loaded(StandIn):
    """torch.storage._load_from_bytes."""


TORCH_NAMES: Mapping[str, Make] = {
    "torch._utils._rebuild_tensor_v2": TensorStandIn,
    "torch._utils._rebuild_parameter": TensorStandIn,
    "torch.storage._load_from_bytes": _Loaded,
}
_STORAGE_NAMES: Mapping[str, Make] = dict.fromkeys(_DTYPES, StandIn)


def plain_tensor(value: TensorStandIn, most_numbers: int) -> NDArray[Any]:
    """The tensor as an independent array; ValueError if its shape does not fit its storage."""
    first = value.parts[0] if value.parts else None
    if isinstance(first, TensorStandIn):  # a parameter
        return plain_tensor(first, most_numbers)
    if not isinstance(first, _Loaded) or len(value.parts) < 4:
        raise ValueError("a tensor without numbers")
    held = _stored(first, most_numbers)
    offset, size, stride = value.parts[1:4]
    if not _whole((offset, *size, *stride)) or len(size) != len(stride) or len(size) > 8:
        raise ValueError("a tensor of an invalid shape")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if math.prod(size) > len(held) or (math.prod(size) and last >= len(held)):
        raise ValueError("a tensor that reaches beyond its numbers")
    if not math.prod(size):
        return np.empty(size, held.dtype)
    steps = [step * held.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(held[offset:], size, steps).copy()


def _stored(value: _Loaded, most_numbers: int) -> NDArray[Any]:
    """The storage's numbers (n,)."""
    if len(value.parts) != 1 or not isinstance(value.parts[0], bytes):
        raise ValueError("a tensor without numbers")
    stream = io.BytesIO(value.parts[0])
    if [read_inert_pickle(stream, {}) for _ in range(2)] != [_MAGIC, _PROTOCOL]:
        raise ValueError("a tensor of an unknown torch")
    system = read_inert_pickle(stream, {})
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("a tensor in another machine's order")
    told = read_inert_pickle(stream, _STORAGE_NAMES, find=lambda reference: reference)
    if not isinstance(told, tuple) or len(told) < 5 or not isinstance(told[1], Named):
        raise ValueError("a tensor of an unknown torch")
    read_inert_pickle(stream, {})  # the keys: this one storage's
    dtype, count = np.dtype(_DTYPES[told[1].name]), told[4]
    if not _whole((count,)) or count > most_numbers:
        raise ValueError("a tensor larger than any result's")
    stream.read(8)
    raw = stream.read(count * dtype.itemsize)
    if len(raw) != count * dtype.itemsize:
        raise ValueError("a tensor that is cut short")
    return np.frombuffer(raw, dtype)


def _whole(values: tuple[Any, ...]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)
