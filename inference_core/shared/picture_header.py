# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture file's header, read without decoding: format, size and orientation.

Standard library only: Blender's side shares this file. Only the necessary tables are read.
"""

import contextlib
import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from inference_core.shared.errors import FootageError

Kind = Literal["png", "jpeg", "tiff", "webp", "bmp", "exr", "dpx", "cineon"]

UPRIGHT = 1  # EXIF's number
_OF_DPX = (
    1,
    2,
    4,
    3,
    5,
    6,
    8,
    7,
)  # EXIF's numbers of SMPTE 268M's: lines from the top, the bottom, or a side

# TIFF's tags, which EXIF shares; the EXIF directory, and in it the 35 mm equivalent focal length.
_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 274
_EXIF_DIRECTORY, _FOCAL_35MM = 34665, 41989
_MOST_PARTS = 10_000  # more chunks, segments or entries mean damage
_MOST_EXIF_BYTES = 1 << 20


@dataclass(frozen=True)
class PictureHeader:
    """kind: by content, whatever the name. size_px: width, height as stored; of the display window in an EXR.
    orientation: EXIF's number, 1 to 8; 1 is upright. fills_display: whether an EXR's pixels are exactly those
    of its display window. focal_35mm: the lens's 35 mm equivalent focal length, millimetres; None if unknown.
    is_animated: whether a PNG or WebP holds further pictures.
    """

    kind: Kind
    size_px: tuple[int, int]
    orientation: int = UPRIGHT
    fills_display: bool = True
    focal_35mm: int | None = None
    is_animated: bool = False

    @property
    def shown_px(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        width, height = self.size_px
        return (height, width) if self.orientation > 4 else (width, height)


def read_picture_header(path: Path) -> PictureHeader:
    """The header of the picture at `path`. FootageError if the file is damaged or not a picture of a known format."""
    try:
        with path.open("rb") as file:
            header = _header(file)
    except (struct.error, ValueError) as error:
        raise FootageError(f"{path} is damaged: its header is cut short.") from error
    except OSError as error:
        raise FootageError(f"{path} cannot be read: {error.strerror or error}.") from error
    if header is None:
        raise FootageError(
            f"{path} is damaged or not a picture (PNG, JPEG, TIFF, WebP, BMP, DPX and OpenEXR are read). "
            "Convert it to one of these."
        )
    return header


def _header(file: BinaryIO) -> PictureHeader | None:
    start = file.read(16)
    file.seek(0)
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(file)
    if start.startswith(b"\xff\xd8"):
        return _jpeg(file)
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        tags = _tiff_tags(file)
        if not {_WIDTH, _HEIGHT} <= tags.keys():
            raise ValueError("no size")
        exif = _of_tags(file, tags)
        return PictureHeader(
            "tiff", (tags[_WIDTH], tags[_HEIGHT]), exif.orientation, focal_35mm=exif.focal_35mm
        )
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return _webp(file)
    if start.startswith(b"BM"):
        return _bmp(file)
    if start.startswith(b"\x76\x2f\x31\x01"):
        return _exr(file)
    if start[:4] in (b"SDPX", b"XPDS"):
        order = ">" if start[:4] == b"SDPX" else "<"
        code, _, *size = struct.unpack(f"{order}2H2I", _at(file, 768, 12))
        turned = _OF_DPX[code] if code < len(_OF_DPX) else UPRIGHT
        return PictureHeader("dpx", (size[0], size[1]), turned)
    if start[:4] in (b"\x80\x2a\x5f\xd7", b"\xd7\x5f\x2a\x80"):
        order = ">" if start[0] == 0x80 else "<"
        return PictureHeader("cineon", struct.unpack(f"{order}2I", _at(file, 200, 8)))
    return None


def _png(file: BinaryIO) -> PictureHeader:
    size, exif = struct.unpack(">2I", _at(file, 16, 8)), _Exif()
    place, is_animated = 8, False
    for _ in range(_MOST_PARTS):
        head = _read(file, place, 8)
        if len(head) < 8:
            break
        length, name = struct.unpack(">I4s", head)
        if name == b"eXIf":
            exif = _exif(_read(file, place + 8, min(length, _MOST_EXIF_BYTES)))
            break
        is_animated = is_animated or name == b"acTL"
        place += 12 + length
    return PictureHeader("png", size, exif.orientation, focal_35mm=exif.focal_35mm, is_animated=is_animated)


def _jpeg(file: BinaryIO) -> PictureHeader:
    exif, place = _Exif(), 2
    for _ in range(_MOST_PARTS):
        marker = _at(file, place, 2)
        if marker[0] != 0xFF:
            break
        if marker[1] == 0xFF:
            place += 1
            continue
        if 0xD0 <= marker[1] <= 0xD8 or marker[1] == 1:
            place += 2
            continue
        (length,) = struct.unpack(">H", _at(file, place + 2, 2))
        if 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">2H", _at(file, place + 5, 4))
            return PictureHeader("jpeg", (width, height), exif.orientation, focal_35mm=exif.focal_35mm)
        if marker[1] == 0xE1 and exif == _Exif():
            content = _read(file, place + 4, length - 2)
            if content.startswith(b"Exif\0"):
                exif = _exif(content[6:])
        place += 2 + length
    raise ValueError("no frame")


def _webp(file: BinaryIO) -> PictureHeader:
    size: tuple[int, int] | None = None
    exif, place, is_animated = _Exif(), 12, False
    for _ in range(_MOST_PARTS):
        head = _read(file, place, 8)
        if len(head) < 8:
            break
        name, length = struct.unpack("<4sI", head)
        if name == b"EXIF":
            content = _read(file, place + 8, min(length, _MOST_EXIF_BYTES))
            exif = _exif(content.removeprefix(b"Exif\0\0"))
        elif size is None:
            size = _webp_size(name, _read(file, place + 8, 10))
        is_animated = is_animated or name == b"ANIM"
        place += 8 + length + length % 2
    if size is None:
        raise ValueError("no picture")
    return PictureHeader("webp", size, exif.orientation, focal_35mm=exif.focal_35mm, is_animated=is_animated)


def _webp_size(name: bytes, content: bytes) -> tuple[int, int] | None:
    if name == b"VP8X":
        return 1 + int.from_bytes(content[4:7], "little"), 1 + int.from_bytes(content[7:10], "little")
    if name == b"VP8L":
        bits = int.from_bytes(content[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if name == b"VP8 ":
        width, height = struct.unpack("<2H", content[6:10])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _bmp(file: BinaryIO) -> PictureHeader:
    (length,) = struct.unpack("<I", _at(file, 14, 4))
    if length == 12:
        width, height = struct.unpack("<2H", _at(file, 18, 4))
    else:
        width, height = struct.unpack("<2i", _at(file, 18, 8))
    return PictureHeader("bmp", (width, abs(height)))


def _exr(file: BinaryIO) -> PictureHeader:
    """The display window of the first part."""
    windows: dict[bytes, tuple[int, ...]] = {}
    file.seek(8)
    for _ in range(_MOST_PARTS):
        name = _text(file)
        if not name or len(windows) == 2:
            break
        _text(file)
        (length,) = struct.unpack("<i", _exactly(file, 4))
        if name in (b"displayWindow", b"dataWindow") and length == 16:
            windows[name] = struct.unpack("<4i", _exactly(file, 16))
        else:
            file.seek(max(length, 0), io.SEEK_CUR)
    if b"displayWindow" not in windows:
        raise ValueError("no display window")
    shown = windows[b"displayWindow"]
    x0, y0, x1, y1 = shown
    fills = windows.get(b"dataWindow", shown) == shown
    return PictureHeader("exr", (x1 - x0 + 1, y1 - y0 + 1), fills_display=fills)


@dataclass(frozen=True)
class _Exif:
    """The fields of PictureHeader that EXIF holds."""

    orientation: int = UPRIGHT
    focal_35mm: int | None = None


def _exif(content: bytes) -> _Exif:
    file = io.BytesIO(content)
    try:
        return _of_tags(file, _tiff_tags(file))
    except (struct.error, ValueError):
        return _Exif()  # damaged EXIF does not prevent showing the picture


def _of_tags(file: BinaryIO, tags: Mapping[int, int]) -> _Exif:
    """The first directory's tags, and those of the EXIF directory."""
    orientation = tags.get(_ORIENTATION, UPRIGHT)
    more: Mapping[int, int] = {}
    if _EXIF_DIRECTORY in tags:
        with contextlib.suppress(struct.error, ValueError):
            more = _tiff_tags(file, tags[_EXIF_DIRECTORY])
    return _Exif(orientation if 1 <= orientation <= 8 else UPRIGHT, more.get(_FOCAL_35MM) or None)


def _tiff_tags(file: BinaryIO, place: int | None = None) -> dict[int, int]:
    """Integers by tag of the directory at `place`, or of the first one; BigTIFF too. ValueError if there is none."""
    order = "<" if _at(file, 0, 2) == b"II" else ">"
    is_big = struct.unpack(f"{order}H", _at(file, 2, 2))[0] == 43
    first = (8, 8, "Q") if is_big else (4, 4, "I")
    at = struct.unpack(f"{order}{first[2]}", _at(file, *first[:2]))[0] if place is None else place
    tags: dict[int, int] = {}
    for tag, kind, value in _tiff_entries(file, at, order, is_big):
        if kind == 3:
            (tags[tag],) = struct.unpack(f"{order}H", value[:2])
        elif kind == 4:
            (tags[tag],) = struct.unpack(f"{order}I", value[:4])
        elif kind == 16 and is_big:
            (tags[tag],) = struct.unpack(f"{order}Q", value)
    return tags


def _tiff_entries(file: BinaryIO, place: int, order: str, is_big: bool) -> Iterator[tuple[int, int, bytes]]:
    count_format, entry_format = (f"{order}Q", f"{order}2HQ8s") if is_big else (f"{order}H", f"{order}2HI4s")
    head = struct.calcsize(count_format)
    (count,) = struct.unpack(count_format, _at(file, place, head))
    step = struct.calcsize(entry_format)
    for number in range(min(count, _MOST_PARTS)):
        tag, kind, _, value = struct.unpack(entry_format, _at(file, place + head + number * step, step))
        yield tag, kind, value


def _text(file: BinaryIO) -> bytes:
    """A name that ends with a zero byte, in the longest form that OpenEXR allows."""
    found = b""
    while len(found) < 256:
        byte = _exactly(file, 1)
        if byte == b"\0":
            return found
        found += byte
    raise ValueError("a name without an end")


def _at(file: BinaryIO, place: int, length: int) -> bytes:
    file.seek(place)
    return _exactly(file, length)


def _read(file: BinaryIO, place: int, length: int) -> bytes:
    file.seek(place)
    return file.read(max(length, 0))


def _exactly(file: BinaryIO, length: int) -> bytes:
    found = file.read(length)
    if len(found) < length:
        raise ValueError("cut short")
    return found
