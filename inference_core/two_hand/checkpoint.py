# SPDX-License-Identifier: GPL-3.0-or-later
"""The tensors of a checkpoint saved by torch: a zip of raw numbers and a pickle that describes them.

The pickle is interpreted by runtime.inert_pickle, which executes nothing, and every tensor's extent is checked against
its storage before the tensor is made. torch itself is loaded only by who wants torch's tensors.
"""

from __future__ import annotations

import math
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inference_core.runtime.inert_pickle import (
    InertPickleError,
    Make,
    Named,
    RefusedPickleError,
    StandIn,
    read_inert_pickle,
)
from inference_core.shared.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST_FILE = 4 << 30
_LARGEST_PICKLE = 16 << 20
_MOST_ENTRIES = 20_000
_MOST_DIMENSIONS = 8
_DEEPEST, _MOST_VALUES = 12, 200_000
# torch's and numpy's name of each type; numpy has no bfloat16: the upper halves of single floats.
_DTYPES = {
    "torch.FloatStorage": ("float32", "<f4"),
    "torch.HalfStorage": ("float16", "<f2"),
    "torch.BFloat16Storage": ("bfloat16", "<u2"),
    "torch.DoubleStorage": ("float64", "<f8"),
    "torch.LongStorage": ("int64", "<i8"),
    "torch.IntStorage": ("int32", "<i4"),
    "torch.ShortStorage": ("int16", "<i2"),
    "torch.CharStorage": ("int8", "i1"),
    "torch.ByteStorage": ("uint8", "u1"),
    "torch.BoolStorage": ("bool", "?"),
}
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    MemoryError,
)


class _TensorStandIn(StandIn):
    """torch._utils._rebuild_tensor_v2: storage, offset, size, stride and more."""


class _ParameterStandIn(StandIn):
    """torch._utils._rebuild_parameter: a tensor and more."""


def _dictionary(*parts: Any) -> dict[Any, Any]:
    """collections.OrderedDict, filled by later instructions."""
    if parts:
        raise ValueError("a dictionary made of something else")
    return {}


_KNOWN: Mapping[str, Make] = {
    "torch._utils._rebuild_tensor_v2": _TensorStandIn,
    "torch._utils._rebuild_parameter": _ParameterStandIn,
    "collections.OrderedDict": _dictionary,
    **dict.fromkeys(_DTYPES, StandIn),
}


@dataclass(frozen=True)
class _Storage:
    """Raw numbers in the archive: their entry's name, their type's name in _DTYPES, and their count."""

    key: str
    kind: str
    count: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """numpy's type of the numbers."""
        return np.dtype(_DTYPES[self.kind][1])


@dataclass(frozen=True)
class StoredTensor:
    """A tensor whose extent lies within its storage. raw: the storage's bytes, shared by its tensors; size, stride
    and offset count numbers.
    """

    kind: str
    raw: bytearray
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


def to_numpy(stored: StoredTensor) -> NDArray[Any]:
    """The tensor as a numpy array, bfloat16 as single floats."""
    name, numpy_name = _DTYPES[stored.kind]
    dtype = np.dtype(numpy_name)
    steps = [step * dtype.itemsize for step in stored.stride]
    if not math.prod(stored.size):
        return np.empty(stored.size, np.float32 if name == "bfloat16" else dtype)
    array = np.ndarray(stored.size, dtype, stored.raw, stored.offset * dtype.itemsize, steps)
    return (array.astype(np.uint32) << 16).view(np.float32) if name == "bfloat16" else array


def to_torch(stored: StoredTensor) -> Tensor:
    """The tensor as torch's, of its own type."""
    import torch

    dtype: torch.dtype = getattr(torch, _DTYPES[stored.kind][0])
    numbers = torch.frombuffer(stored.raw, dtype=dtype) if stored.raw else torch.empty(0, dtype=dtype)
    return numbers.as_strided(stored.size, stored.stride, stored.offset)


def read_checkpoint(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a checkpoint's `net`, or of a bare state dict, as views of the file's contents.

    Nothing in the file is run. Raises WeightsError if it is not a checkpoint or holds anything but tensors.
    """
    if not path.is_file():
        raise WeightsError(f"There is no checkpoint {path}. Give the .pth file from the authors' page.")
    try:
        content = read_saved(path, to_numpy)
        state = content.get("net", content) if isinstance(content, dict) else content
        if not isinstance(state, dict) or not all(
            isinstance(key, str) and isinstance(value, np.ndarray) for key, value in state.items()
        ):
            raise ValueError(
                "it holds no state dict, neither as `net` nor by itself: is it DIR's checkpoint?"
            )
        return {key.removeprefix("module."): value for key, value in state.items()}
    except RefusedPickleError as refused:
        raise WeightsError(
            f"{path} holds more than weights and was not run: {refused}. Only plain tensors are read; take the file "
            "from the authors' page."
        ) from refused
    except (InertPickleError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise WeightsError(f"{path} is not a readable checkpoint ({reason}). Download it again.") from error


def read_saved(file: Path | IO[bytes], made: Callable[[StoredTensor], Any] = to_torch) -> Any:
    """The contents of a `torch.save` file: dictionaries, lists, tuples, text, numbers and tensors. Nothing in it is
    run, and `made` makes the tensors once all are known to be whole.

    Raises RefusedPickleError if it holds anything else, and InertPickleError or ValueError if it cannot be read.
    """
    try:
        if isinstance(file, Path) and file.stat().st_size > _LARGEST_FILE:
            raise ValueError("it is larger than any")
        if not zipfile.is_zipfile(file):
            raise ValueError(
                "it is not a zip; torch before 1.6 wrote another format: load and save it with a newer version"
            )
        with zipfile.ZipFile(file) as archive:
            content = _Archive(archive).content()
        return _with_tensors(content, made)
    except InertPickleError:
        raise
    except _UNREADABLE as error:
        raise ValueError(str(error) or type(error).__name__) from error


class _Archive:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._entries = {entry.filename: entry for entry in archive.infolist()}
        if len(self._entries) > _MOST_ENTRIES:
            raise ValueError("more entries than any checkpoint")
        found = [name for name in self._entries if name.endswith("/data.pkl") or name == "data.pkl"]
        if len(found) != 1:
            raise ValueError("it holds no data.pkl")
        self._archive, self._root = archive, found[0].removesuffix("data.pkl")
        self._storages: dict[str, tuple[_Storage, bytearray]] = {}
        self._made_values = 0

    def content(self) -> Any:
        """The object that the pickle describes, with its tensors as StoredTensors."""
        if f"{self._root}byteorder" in self._entries:
            order = self._bytes("byteorder", 16)
            if order.decode("ascii", "replace") != sys.byteorder:
                raise ValueError("its numbers are in another machine's order")
        return self._made(read_inert_pickle(self._bytes("data.pkl", _LARGEST_PICKLE), _KNOWN, _storage))

    def _made(self, value: Any, depth: int = 0) -> Any:
        """The value with its stand-ins replaced."""
        self._made_values += 1
        if depth > _DEEPEST or self._made_values > _MOST_VALUES:  # one list may be referenced many times
            raise ValueError("it holds more than any checkpoint")
        if isinstance(value, StandIn):
            return self._tensor(value)
        if isinstance(value, dict):
            return {key: self._made(part, depth + 1) for key, part in value.items()}
        if isinstance(value, list | tuple):
            parts = (self._made(part, depth + 1) for part in value)
            return tuple(parts) if isinstance(value, tuple) else list(parts)
        return value

    def _tensor(self, value: StandIn) -> StoredTensor:
        if isinstance(value, _ParameterStandIn):
            value = value.parts[0]
        if not isinstance(value, _TensorStandIn):
            raise ValueError("a parameter that is not a tensor")
        storage, offset, size, stride = value.parts[:4]
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without numbers")
        size, stride = _whole_numbers(size), _whole_numbers(stride)
        (offset,) = _whole_numbers((offset,))
        if len(size) != len(stride) or math.prod(size) > storage.count:
            raise ValueError("a tensor larger than its numbers")
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if math.prod(size) and last >= storage.count:
            raise ValueError("a tensor that reaches beyond its numbers")
        return StoredTensor(storage.kind, self._raw(storage), size, stride, offset)

    def _raw(self, storage: _Storage) -> bytearray:
        if storage.key not in self._storages:
            length = storage.count * storage.dtype.itemsize
            data = self._bytes(f"data/{storage.key}", length)
            if len(data) != length:
                raise ValueError("storage whose length does not match")
            self._storages[storage.key] = storage, bytearray(data)
        known, raw = self._storages[storage.key]
        if known != storage:
            raise ValueError("numbers of two types at once")
        return raw

    def _bytes(self, name: str, most: int) -> bytes:
        entry = self._entries[self._root + name]
        if entry.file_size > most or entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} is larger than declared, or packed")
        with self._archive.open(entry) as member:
            return member.read(most + 1)


def _with_tensors(value: Any, made: Callable[[StoredTensor], Any]) -> Any:
    """The value with its StoredTensors made into tensors."""
    if isinstance(value, StoredTensor):
        return made(value)
    if isinstance(value, dict):
        return {key: _with_tensors(part, made) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [_with_tensors(part, made) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


def _storage(reference: Any) -> _Storage:
    """The storage that a persistent reference ("storage", type, key, device, count) denotes."""
    if not isinstance(reference, tuple) or len(reference) != 5:
        raise ValueError("a reference to something other than storage")
    kind, named, key, _, count = reference
    if (
        kind != "storage"
        or not isinstance(named, Named)
        or named.name not in _DTYPES
        or not isinstance(key, str)
    ):
        raise ValueError("a reference to something other than storage")
    return _Storage(key, named.name, _whole_numbers((count,))[0])


def _whole_numbers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple) or len(values) > _MOST_DIMENSIONS:
        raise ValueError("an invalid shape")
    if not all(type(value) is int and 0 <= value < 1 << 40 for value in values):
        raise ValueError("an invalid shape")
    return values
