# SPDX-License-Identifier: GPL-3.0-or-later
"""A PNG's chunks before OpenCV gets them.

It sets memory aside for whatever length a chunk states, and crashes on damaged animations.
"""

import struct
from collections.abc import Iterator

_SIGNATURE_BYTES, _FRAME_BYTES = 8, 12  # of a chunk: its length, name and checksum
_OF_ANIMATIONS = (b"acTL", b"fcTL", b"fdAT")


def still_png(data: bytes) -> bytes:
    """The PNG with its first picture alone. ValueError if a chunk is longer than the file."""
    chunks = list(_chunks(data))
    if not any(name in _OF_ANIMATIONS for name, _ in chunks):
        return data
    kept = (data[part] for name, part in chunks if name not in _OF_ANIMATIONS)
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
