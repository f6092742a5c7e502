# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays from an .npz that may be damaged or malicious: sizes are checked before memory is allocated.

Standard library and numpy only: Blender's side shares this file. numpy's own reader evaluates headers as Python and
trusts their sizes; this one accepts arrays of numbers or text, as numpy writes them, and nothing else.
"""

import math
import re
import zipfile
import zlib
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 4096
_HEADER = re.compile(
    r"\{'descr': '(?P<type>[<>|=](?:b1|[iu][1248]|f[248]|U\d{1,7}))', 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>[\d, ]*)\),? *\}\s*"
)
_MOST_DIMENSIONS = 8
_MOST_ENTRIES = 1000
_CHUNK = 1 << 20
_WAYS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    OverflowError,
    NotImplementedError,  # for zips with unknown compression
    RuntimeError,  # for zips with a password
    MemoryError,
)
# zlib's: half the time of its default, for 3 % more bytes.
_LEVEL = 3


class NpzError(Exception):
    """The file is damaged or not an .npz; the message says how."""


@dataclass(frozen=True)
class ArrayHeader:
    """An array's header; start: offset of its data. nbytes: their length."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int

    @property
    def nbytes(self) -> int:
        """Length of the data in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


class NpzFile:
    """An open archive and its arrays' headers, by name; an array is read on access."""

    def __init__(self, archive: zipfile.ZipFile, headers: Mapping[str, ArrayHeader]) -> None:
        self._archive = archive
        self.headers = headers

    def read(self, name: str) -> NDArray[Any]:
        """The named array, writable. NpzError if its bytes are damaged."""
        header = self.headers[name]
        try:
            with self._archive.open(f"{name}.npy") as member:
                member.seek(header.start)
                return _read_numbers(member, header)
        except _FAULTS as error:
            raise NpzError(f"{name} cannot be read: {_reason(error)}") from error


@contextmanager
def open_npz(path: Path, names: Collection[str] | None = None) -> Generator[NpzFile]:
    """A context with the archive at `path`. NpzError if it is not an .npz, or an array's header does not match its
    bytes. names: arrays to look at; the others may be anything. None for all.
    """
    try:
        if path.exists() and not path.is_file():
            raise NpzError("it is not a file")  # a pipe would be waited for without end
        archive = zipfile.ZipFile(path)
    except _FAULTS as error:
        raise NpzError(_reason(error)) from error
    with archive:
        entries = archive.infolist()
        if len(entries) > _MOST_ENTRIES:
            raise NpzError(f"it has {len(entries)} entries")
        named = {entry.filename.removesuffix(".npy"): entry for entry in entries}
        wanted = {name: entry for name, entry in named.items() if names is None or name in names}
        yield NpzFile(archive, {name: _checked_header(archive, entry) for name, entry in wanted.items()})


def read_npy_header(file: IO[bytes]) -> ArrayHeader:
    """The header at the start of a .npy. ValueError if it is invalid, or not of numbers or text."""
    start = file.read(_LONGEST_HEADER)
    version = start[6:8]
    if not start.startswith(_MAGIC) or version not in (b"\1\0", b"\2\0", b"\3\0"):
        raise ValueError("it is not a numpy array")
    width = 2 if version == b"\1\0" else 4
    first = 8 + width
    stop = first + int.from_bytes(start[8:first], "little")
    found = _HEADER.fullmatch(start[first:stop].decode("latin-1"))
    if found is None or stop > len(start):
        raise ValueError("its header is damaged, or it holds other values than numbers")
    shape = tuple(int(size) for size in found["shape"].replace(" ", "").split(",") if size)
    if len(shape) > _MOST_DIMENSIONS or any(size > 1 << 48 for size in shape):
        raise ValueError("its header has an impossible size")
    return ArrayHeader(shape, np.dtype(found["type"]), found["fortran"] == "True", stop)


def _checked_header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> ArrayHeader:
    name = entry.filename.removesuffix(".npy")[:80]
    if entry.compress_type not in _WAYS:
        raise NpzError(f"{name} is packed in a way that numpy does not use")
    try:
        with archive.open(entry) as member:
            header = read_npy_header(member)
    except _FAULTS as error:
        raise NpzError(f"{name} cannot be read: {_reason(error)}") from error
    if header.start + header.nbytes != entry.file_size:
        raise NpzError(f"{name} is cut short or damaged (its header does not fit its bytes)")
    return header


def _read_numbers(member: IO[bytes], header: ArrayHeader) -> NDArray[Any]:
    numbers = np.empty(math.prod(header.shape), header.dtype)
    room = numbers.reshape(-1).view(np.uint8)
    at = 0
    while at < header.nbytes:
        part = member.read(min(_CHUNK, header.nbytes - at))
        if not part:
            raise EOFError("it is cut short")
        room[at : at + len(part)] = np.frombuffer(part, np.uint8)
        at += len(part)
    if member.read(1):
        raise ValueError("it is longer than declared")
    return numbers.reshape(header.shape, order="F" if header.fortran else "C")


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def write_npz(file: IO[bytes], arrays: Mapping[str, NDArray[Any]], *, packed: bool = True) -> None:
    """Write the arrays by name. OSErrors are passed on.

    On a full disk numpy's own writer leaves the archive open, of which Python complains after the error.
    """
    way = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", way, compresslevel=_LEVEL) as archive:
        for name, array in arrays.items():
            # An entry opened by its name has no date: equal arrays are equal bytes.
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(
                    member, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False
                )
