# SPDX-License-Identifier: GPL-3.0-or-later
"""Files written by other engines, as plain dictionaries, lists, texts, numbers and arrays.

Formats: npz, npy, pickle, joblib, torch and JSON.

Nothing in a file is executed (runtime.inert_pickle), and sizes are checked before memory is allocated.
"""

import bz2
import io
import json
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from inference_core.exchange.tensor_pickle import TORCH_NAMES, TensorStandIn, plain_tensor
from inference_core.runtime.inert_arrays import (
    NUMPY_NAMES,
    ArrayStandIn,
    BufferStandIn,
    ScalarStandIn,
    TypeStandIn,
    array_state,
    number_type,
    numbers,
    plain_array,
)
from inference_core.runtime.inert_pickle import (
    InertPickleError,
    Make,
    Named,
    RefusedPickleError,
    StandIn,
    read_inert_pickle,
)
from inference_core.shared.errors import RequestError
from inference_core.shared.npz import NpzError, open_npz, read_npy_header
from inference_core.two_hand.checkpoint import read_saved, to_numpy

LARGEST_FILE = 1 << 30  # an hour of two hands with all that engines write beside them
_MOST_NUMBERS = 1 << 26  # in one array
_MOST_VALUES, _DEEPEST = 10_000_000, 12
_MOST_INSTRUCTIONS = 20_000_000
_LARGEST = 1e6  # of any number: pixels, metres, radians
_PACKED: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(zlib.MAX_WBITS | 16)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ", lzma.LZMADecompressor),
    (b"]\x00", lzma.LZMADecompressor),
    *((magic, zlib.decompressobj) for magic in (b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")),
)
_FAULTS = (
    OSError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
    AttributeError,
    RecursionError,
    NpzError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    RuntimeError,
)


class _Wrapped(StandIn):
    """joblib's NumpyArrayWrapper: followed directly by the array's raw numbers, or by a pickle of its objects."""

    def build(self, state: Any, stream: IO[bytes]) -> None:
        """The array that follows it in the file."""
        shape, kind, order = state["shape"], state["dtype"], state["order"]
        if isinstance(kind, TypeStandIn) and kind.parts[:1] in (("O8",), ("O",)):
            self.state = _unpickled(stream)
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            stream.read(stream.read(1)[0])
        dtype = number_type(kind)
        count = 1
        for side in shape:
            count *= side
        if not 0 <= count <= _MOST_NUMBERS:
            raise ValueError("an array larger than any result's")
        self.state = numbers(stream.read(count * dtype.itemsize), kind, shape, order == "F", _MOST_NUMBERS)


def _mapping(*parts: Any) -> dict[Any, Any]:
    """collections.OrderedDict or defaultdict, filled by later instructions."""
    if len(parts) == 1 and isinstance(parts[0], list):
        return {key: value for key, value in parts[0] if isinstance(key, str | int)}
    return {}


_KNOWN: dict[str, Make] = {
    **NUMPY_NAMES,
    **TORCH_NAMES,
    "joblib.numpy_pickle.NumpyArrayWrapper": _Wrapped,
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": _mapping,
    "builtins.list": list,
    "builtins.dict": dict,
    "builtins.set": StandIn,
    "_codecs.encode": lambda text, _coding: text.encode("latin1"),
}


def read_result_file(path: Path) -> Any:
    """The file's content. RequestError if it cannot be read, is too large, or refers to unexpected types."""
    try:
        if not path.is_file():
            raise RequestError(f"There is no file {path}. Give the result file of another engine.")
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"it is larger than {LARGEST_FILE >> 20} MB")
        return _content(path)
    except RefusedPickleError as refused:
        raise RequestError(
            f"{path}: refused: it holds {refused}, which results of hand engines do not need; "
            "nothing in it was executed."
        ) from refused
    except (*_FAULTS, InertPickleError) as fault:
        reason = (str(fault) or type(fault).__name__).splitlines()[0][:200]
        raise RequestError(
            f"{path} is not a readable result file ({reason}). Copy it again, or write it with numpy.savez."
        ) from fault


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        return _Plain().of(json.loads(path.read_text(encoding="utf-8-sig")))
    with path.open("rb") as file:
        start = file.read(6)
    if zipfile.is_zipfile(path):
        return _zip_content(path)
    with path.open("rb") as file:
        if start == b"\x93NUMPY":
            return _npy_content(file)
        return _Plain().of(_unpickled(_unpacked(file, start)))


def _zip_content(path: Path) -> Any:
    """An npz's arrays by name, or what torch saved."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if sum(entry.file_size for entry in archive.infolist()) > LARGEST_FILE:
            raise ValueError(f"unpacked it is larger than {LARGEST_FILE >> 20} MB")
        if any(name.endswith("data.pkl") for name in names):
            return _Plain().of(read_saved(path, to_numpy))
        if any(_holds_objects(archive, name) for name in names):
            return {name.removesuffix(".npy"): _member(archive, name) for name in names}
    with open_npz(path) as held:
        return {name: held.read(name) for name in held.headers}


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    with archive.open(name) as member:
        return _npy_content(member)


def _holds_objects(archive: zipfile.ZipFile, name: str) -> bool:
    with archive.open(name) as member:
        return b"'descr': '|O'" in member.read(256)


def _npy_content(file: IO[bytes]) -> Any:
    """An array of numbers or text, or the objects of one that holds objects."""
    data = io.BytesIO(file.read(LARGEST_FILE + 1))
    if len(data.getbuffer()) > LARGEST_FILE:
        raise ValueError(f"unpacked it is larger than {LARGEST_FILE >> 20} MB")
    if b"'descr': '|O'" in data.getvalue()[:256]:
        data.seek(data.getvalue().index(b"\n", 0, 4096) + 1)
        return _Plain().of(_unpickled(data))
    header = read_npy_header(data)
    if len(data.getbuffer()) != header.start + header.nbytes:
        raise ValueError("it is cut short or damaged (its header does not fit its bytes)")
    held = np.frombuffer(data.getvalue(), header.dtype, offset=header.start)
    return held.reshape(header.shape, order="F" if header.fortran else "C").copy()


def _unpacked(file: IO[bytes], start: bytes) -> IO[bytes]:
    """The stream without joblib's compression."""
    file.seek(0)
    unpacker = next((make() for magic, make in _PACKED if start.startswith(magic)), None)
    data = file.read() if unpacker is None else unpacker.decompress(file.read(), LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise ValueError(f"unpacked it is larger than {LARGEST_FILE >> 20} MB")
    return io.BytesIO(data)


def _unpickled(stream: IO[bytes]) -> Any:
    return read_inert_pickle(stream, _KNOWN, most_instructions=_MOST_INSTRUCTIONS)


class _Plain:
    """Plain values in place of stand-ins. A list to which a pickle refers many times is counted as often."""

    def __init__(self) -> None:
        self._count = 0
        self._made: dict[int, tuple[Any, int]] = {}

    def of(self, value: Any, depth: int = 0) -> Any:
        """The plain value."""
        plain, size = self._made.get(id(value), (None, 0))
        self._count += size or 1
        if depth > _DEEPEST or self._count > _MOST_VALUES:
            raise ValueError("it holds more than any result")
        if size:
            return plain
        before = self._count
        plain = self._plain(value, depth)
        if isinstance(value, dict | list | tuple):
            self._made[id(value)] = plain, self._count - before + 1
        return plain

    def _plain(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return {key: self.of(part, depth + 1) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.of(part, depth + 1) for part in value]
        if isinstance(value, StandIn):
            return self._array(value, depth)
        return None if isinstance(value, Named) else value

    def _array(self, value: StandIn, depth: int) -> Any:
        if isinstance(value, _Wrapped):
            return value.state if isinstance(value.state, np.ndarray) else self.of(value.state, depth + 1)
        if isinstance(value, TensorStandIn):
            return plain_tensor(value, _MOST_NUMBERS)
        if isinstance(value, ScalarStandIn):
            kind, raw = value.parts
            return numbers(raw, kind, (), False, 1)[()].item()
        if isinstance(value, ArrayStandIn) and _is_of_objects(value):
            held = [self.of(part, depth + 1) for part in array_state(value)[4]]
            return held[0] if array_state(value)[1] == () else held
        if isinstance(value, ArrayStandIn | BufferStandIn):
            return plain_array(value, _MOST_NUMBERS)
        return None


def _is_of_objects(value: ArrayStandIn) -> bool:
    return isinstance(array_state(value)[4], list)


def as_array(value: Any) -> NDArray[np.float64]:
    """An array, or lists of numbers, as an array of numbers; ValueError if the value is neither."""
    array = np.asarray(value, dtype=np.float64)
    if not (np.abs(array) < _LARGEST).all():
        raise ValueError("it holds impossible values or NaN")
    return array
