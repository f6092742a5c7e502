# SPDX-License-Identifier: GPL-3.0-or-later
"""A HEIC picture in tiles, as phones write them, without its pixels: tiles, and a grid that puts them together."""

import struct
from pathlib import Path


def write_tiled_heic(
    path: Path, width: int = 128, height: int = 128, columns: int = 2, rows: int = 2
) -> Path:
    """The boxes of a picture of rows x columns tiles of width x height pixels, each of a few empty bytes."""
    configuration, data = bytes([1]) + bytes(22), bytes(16)
    count = rows * columns
    grid = struct.pack(">4B2H", 0, 0, rows - 1, columns - 1, columns * width, rows * height)
    items = b"".join(_full(b"infe", 2, 1, struct.pack(">2H4sx", n, 0, b"hvc1")) for n in range(1, count + 1))
    items += _full(b"infe", 2, 0, struct.pack(">2H4sx", count + 1, 0, b"grid"))
    sizes = [(width, height), (columns * width, rows * height)]
    properties = _box(b"hvcC", configuration) + b"".join(
        _full(b"ispe", 0, 0, struct.pack(">2I", *size)) for size in sizes
    )
    links = b"".join(struct.pack(">H3B", n, 2, 0x81, 2) for n in range(1, count + 1))
    links += struct.pack(">H2B", count + 1, 1, 3)
    parts = struct.pack(f">2H{count}H", count + 1, count, *range(1, count + 1))
    start = _box(b"ftyp", b"heic", bytes(4), b"mif1heic")

    def meta(first: int) -> bytes:
        places = b"".join(
            struct.pack(">4H2I", n, 0, 0, 1, first + (n - 1) * len(data), len(data))
            for n in range(1, count + 1)
        )
        places += struct.pack(">4H2I", count + 1, 1, 0, 1, 0, len(grid))
        return _full(
            b"meta",
            0,
            0,
            _full(b"hdlr", 0, 0, bytes(4), b"pict", bytes(13)),
            _full(b"pitm", 0, 0, struct.pack(">H", count + 1)),
            _full(b"iloc", 1, 0, struct.pack(">2BH", 0x44, 0, count + 1), places),
            _full(b"iinf", 0, 0, struct.pack(">H", count + 1), items),
            _full(b"iref", 0, 0, _box(b"dimg", parts)),
            _box(
                b"iprp", _box(b"ipco", properties), _full(b"ipma", 0, 0, struct.pack(">I", count + 1), links)
            ),
            _box(b"idat", grid),
        )

    header = start + meta(len(start) + len(meta(0)) + 8)
    path.write_bytes(header + _box(b"mdat", data * count))
    return path


def _box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)
