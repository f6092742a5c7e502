# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks how many samples the tables of a QuickTime or MP4 file promise, before FFmpeg allocates memory for each.

A few bytes can promise millions of samples of equal length; FFmpeg uses some 70 bytes for each.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from inference_core.shared.errors import FootageError

# Boxes that FFmpeg descends into.
_PARENTS = frozenset(b"moov trak mdia minf stbl moof traf udta mvex edts dinf tref wave meta".split())
_DEEPEST = 10
_COUNT_AT = {
    b"stsz": 8,
    b"stz2": 8,
    b"trun": 4,
}  # offset in the box, after version, flags and the fields before it
_MOST_BOXES = 1_000_000


def check_sample_tables(path: Path) -> None:
    """FootageError if the file is QuickTime or MP4 and promises more samples than it has bytes."""
    try:
        with path.open("rb") as file:
            _check(path, file, path.stat().st_size)
    except OSError:
        return  # FFmpeg will report it


def _check(path: Path, file: BinaryIO, length: int) -> None:
    promised = 0
    for count, (kind, start) in enumerate(_boxes(file, 0, length)):
        if kind in _COUNT_AT:
            promised += _whole_number(file, start + _COUNT_AT[kind])
        # QuickTime compressed headers in the nineties.
        if promised > length or count > _MOST_BOXES or kind == b"cmov":
            raise FootageError(
                f"{path} is damaged: its header promises more than the file can hold, or is packed. "
                "Export the movie again."
            )


def _boxes(file: BinaryIO, start: int, stop: int, depth: int = 0) -> Iterator[tuple[bytes, int]]:
    """Each box's kind and the start of its contents, in that part of the file; a
    parent is followed by its own boxes.
    """
    while start + 8 <= stop:
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size, kind, first = int.from_bytes(head[:4], "big"), head[4:8], start + 8
        if size == 1:
            size, first = int.from_bytes(head[8:16], "big"), start + 16
        end = start + size if size else stop
        if end < first:
            return
        yield kind, first
        if kind in _PARENTS and depth < _DEEPEST:
            yield from _boxes(file, first, min(end, stop), depth + 1)
        start = end


def _whole_number(file: BinaryIO, place: int) -> int:
    file.seek(place)
    found = file.read(4)
    return struct.unpack(">I", found)[0] if len(found) == 4 else 0
