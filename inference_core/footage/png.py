# SPDX-License-Identifier: GPL-3.0-or-later
"""A PNG's chunks before OpenCV gets them.

It sets memory aside for whatever length a chunk states, crashes on damaged animations, and prints what it thinks of
colour profiles, which it does not apply.
"""

import struct
from collections.abc import Iterator

_SIGNATURE_BYTES, _FRAME_BYTES = 8, 12  # of a chunk: its length, name and checksum
_TRANSPARENCY = b"tRNS"


def still_png(data: bytes) -> bytes:
    """The PNG with its first picture alone: the chunks that every reader must know, whose names begin with a capital,
    and transparency. ValueError if a chunk is longer than the file."""
    kept = (data[part] for name, part in _chunks(data) if name[:1].isupper() or name == _TRANSPARENCY)
    return data[:_SIGNATURE_BYTES] + b"".join(kept)


def _chunks(data: bytes) -> Iterator[tuple[bytes, slice]]:
    """Name and place of each chunk up to the last one."""
    start, name = _SIGNATURE_BYTES, b""
    while name != b"IEND" and start + _FRAME_BYTES <= len(data):
        length, name = struct.unpack_from(">I4s", data, start)
        stop = start + _FRAME_BYTES + length
        if stop > len(data):
            raise ValueError("it is cut short or damaged")
        yield name, slice(start, stop)
        start = stop
