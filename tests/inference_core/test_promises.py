# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers that promise more than their files can hold are rejected before memory is allocated."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import av  # noqa: F401 (footage needs it)
import pytest

from inference_core.footage import open_footage
from inference_core.shared.errors import DuohandError, FootageError
from tests.inference_core.movies import write_empty_scene
from tests.inference_core.test_pictures import chunk as png_chunk

ROOT = Path(__file__).parents[2]
HUGE = 100_000


def patched(path: Path, box: bytes, numbers: tuple[int, ...]) -> None:
    """Put other numbers behind a box's version and flags."""
    data = bytearray(path.read_bytes())
    struct.pack_into(f">{len(numbers)}I", data, data.index(box) + 8, *numbers)
    path.write_bytes(data)


def png(width: int, height: int) -> bytes:
    header = struct.pack(">2I5B", width, height, 16, 6, 0, 0, 0)
    rows = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + rows + png_chunk(b"IEND", b"")


def tiff(width: int, height: int) -> bytes:
    """Four channels of 32 bits, one strip of which nothing is there."""
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 32),
        (259, 3, 1),
        (262, 3, 2),
        (273, 4, 8),
        (277, 3, 4),
    ]
    tags += [(278, 4, height), (279, 4, 1 << 31), (339, 3, 3)]
    entries = b"".join(struct.pack("<2HII", tag, kind, 1, value) for tag, kind, value in tags)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)


def webp(width: int, height: int) -> bytes:
    content = (
        b"VP8X"
        + struct.pack("<II", 10, 0)
        + (width - 1).to_bytes(3, "little")
        + (height - 1).to_bytes(3, "little")
    )
    return b"RIFF" + struct.pack("<I", 4 + len(content)) + b"WEBP" + content


def jpeg(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes((1, 34, 0, 2, 17, 1, 3, 17, 1))
    return b"\xff\xd8\xff\xc2" + struct.pack(">H", 2 + len(frame)) + frame + b"\xff\xd9"


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, width, height, 1, 32, 0, 0, 0, 0, 0, 0)


def dpx(width: int, height: int) -> bytes:
    header = bytearray(2048)
    header[:8] = b"SDPX" + struct.pack(">I", 2048)
    header[768:780] = struct.pack(">2H2I", 0, 1, width, height)
    header[800:804] = bytes((50, 2, 2, 16))
    return bytes(header)


PICTURES = {"png": png, "tiff": tiff, "webp": webp, "jpg": jpeg, "bmp": bmp, "dpx": dpx}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_with_oversized_headers_are_refused(tmp_path: Path, kind: str) -> None:
    most = 60_000 if kind in ("jpg", "webp") else HUGE
    for width, height in ((most, most), (most, 1), (1, most)):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(PICTURES[kind](width, height))
        with pytest.raises(DuohandError):
            open_footage(path)


def opened_elsewhere(folder: Path) -> list[str]:
    """What another process says of each file: whether it was refused, and its own peak memory so far in MB."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom inference_core.footage import open_footage\n"
        "from inference_core.shared.errors import DuohandError\nfrom tests.peak_memory import peak_kb\n"
        "for path in (path for path in Path(sys.argv[1]).rglob('*') if path.is_file()):\n"
        "    what = 'read'\n    try:\n        list(open_footage(path, warn=lambda text: None))\n"
        "    except DuohandError:\n        what = 'refused'\n"
        "    print(what, peak_kb() >> 10, path.name)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, folder], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()
    return [line for line in told if line.startswith(("read", "refused"))]  # OpenEXR warns here too


def test_empty_pictures_of_the_largest_size_stay_within_a_gigabyte(
    tmp_path: Path,
) -> None:
    for kind, make in PICTURES.items():
        (tmp_path / f"{kind}.{kind}").write_bytes(make(7900, 7900))
    told = opened_elsewhere(tmp_path)
    assert len(told) == len(PICTURES)
    assert all(int(line.split()[1]) < 1000 for line in told), told


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def avi(width: int, height: int, frames: int, index: bytes = b"") -> bytes:
    """One frame of zeros; an OpenDML index beside its header."""
    main = struct.pack("<14I", 40_000, 0, 0, 16, frames, 0, 1, 0, width, height, 0, 0, 0, 0)
    stream = struct.pack("<4s4s10I", b"vids", b"DIB ", 0, 0, 0, 1, 25, 0, frames, 0, 2**32 - 1, 0) + bytes(8)
    picture = struct.pack("<IiiHH4s5I", 40, width, height, 1, 24, b"DIB ", 0, 0, 0, 0, 0)
    streams = chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", picture) + index)
    header = chunk(b"LIST", b"hdrl" + chunk(b"avih", main) + streams)
    return chunk(b"RIFF", b"AVI " + header + chunk(b"LIST", b"movi" + chunk(b"00dc", bytes(60))))


def element(name: str, content: bytes) -> bytes:
    return bytes.fromhex(name) + (1 << 56 | len(content)).to_bytes(8, "big") + content


def matroska(width: int, height: int, more: bytes = b"", block_bytes: int = 64) -> bytes:
    size = element("B0", width.to_bytes(4, "big")) + element("BA", height.to_bytes(4, "big"))
    track = element("D7", b"\1") + element("73C5", b"\1") + element("83", b"\1") + element("86", b"V_FFV1")
    block = bytes.fromhex("A3") + (1 << 56 | block_bytes).to_bytes(8, "big") + b"\x81\0\0\x80" + bytes(60)
    parts = element("1654AE6B", element("AE", track + element("E0", size) + more)) + element(
        "1F43B675", block
    )
    return element("1A45DFA3", element("4282", b"matroska")) + element("18538067", parts)


def gif(width: int, height: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<2H3B", width, height, 0xF7, 0, 0) + bytes(768)
    return screen + b"," + struct.pack("<4HB", 0, 0, width, height, 0) + b"\x08\x02\0\1\0;"


def exr(corner: int, layers: int = 1, preview: int = 0) -> bytes:
    def attribute(name: bytes, kind: bytes, content: bytes) -> bytes:
        return name + b"\0" + kind + b"\0" + struct.pack("<I", len(content)) + content

    channels = b"".join(b"%04d.R\0" % layer + struct.pack("<4I", 2, 0, 1, 1) for layer in range(layers))
    window = struct.pack("<4i", 0, 0, corner, corner)
    parts = (
        attribute(b"channels", b"chlist", channels + b"\0"),
        attribute(b"compression", b"compression", b"\0"),
        attribute(b"dataWindow", b"box2i", window),
        attribute(b"displayWindow", b"box2i", window),
        attribute(b"lineOrder", b"lineOrder", b"\0"),
        attribute(b"pixelAspectRatio", b"float", struct.pack("<f", 1)),
        attribute(b"preview", b"preview", struct.pack("<2I", preview, preview)),
        attribute(b"screenWindowCenter", b"v2f", bytes(8)),
        attribute(b"screenWindowWidth", b"float", struct.pack("<f", 1)),
    )
    return b"\x76\x2f\x31\x01" + struct.pack("<I", 2) + b"".join(parts) + bytes(200)


MANY = 2**32 - 16
GIANTS = {
    "size.avi": avi(2**31 - 1, 2**31 - 1, 1),
    "large.avi": avi(7900, 7900, 1),
    "frames.avi": avi(64, 64, MANY),
    "index.avi": avi(64, 64, 1, chunk(b"indx", struct.pack("<HBBI4s3I", 4, 0, 0, MANY, b"00dc", 0, 0, 0))),
    "parts.avi": avi(
        64,
        64,
        1,
        chunk(b"indx", struct.pack("<HBBI4s3IQII", 4, 0, 0, 1, b"00dc", 0, 0, 0, 150, MANY, MANY)),
    ),
    "size.mkv": matroska(2**31 - 1, 2**31 - 1),
    "large.mkv": matroska(7900, 7900),
    "block.mkv": matroska(64, 64, block_bytes=2**40),
    "private.mkv": matroska(64, 64, more=bytes.fromhex("63A2") + (1 << 56 | 2**31).to_bytes(8, "big")),
    "size.gif": gif(65_535, 65_535),
    "size.exr": exr(99_999),
    "layers.exr": exr(7899, layers=400),
    "preview.exr": exr(63, preview=60_000),
    "size.psd": b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 30_000, 30_000, 8, 3) + bytes(300),
    "size.y4m": b"YUV4MPEG2 W60000 H60000 F25:1 Ip A1:1 C420\nFRAME\n" + bytes(200),
    "size.ivf": b"DKIF"
    + struct.pack("<2H4s2H4I", 0, 32, b"VP90", 65_535, 65_535, 25, 1, MANY, 0)
    + bytes(80),
}


def test_tiny_files_with_giant_headers_stay_within_a_gigabyte(tmp_path: Path) -> None:
    for name, content in GIANTS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(content)
    told = opened_elsewhere(tmp_path)
    assert len(told) == len(GIANTS)
    assert all(line.startswith("refused") and int(line.split()[1]) < 1000 for line in told), told


@pytest.mark.parametrize(("size", "count"), [(1, 80_000_000), (0, 80_000_000), (1, 2**32 - 1)])
def test_a_movie_with_more_samples_than_bytes_is_refused(tmp_path: Path, size: int, count: int) -> None:
    path = write_empty_scene(tmp_path / "a.mp4")
    patched(path, b"stsz", (size, count))
    patched(path, b"stsc", (1, 1, count, 1))
    with pytest.raises(FootageError, match="promises more"):
        open_footage(path)


def test_deeply_nested_boxes_are_ignored(tmp_path: Path) -> None:
    path, data = tmp_path / "a.mp4", b""
    for _ in range(3000):
        data = struct.pack(">I4s", len(data) + 8, b"moov") + data
    path.write_bytes(data)
    with pytest.raises(FootageError):
        open_footage(path)


@pytest.mark.parametrize(
    ("box", "numbers"), [(b"stts", (1, 8, 2**31 - 1)), (b"stts", (1, 8, 0)), (b"stts", (1, 2**32 - 1, 512))]
)
def test_absurd_times_are_read_or_refused(tmp_path: Path, box: bytes, numbers: tuple[int, ...]) -> None:
    path = write_empty_scene(tmp_path / "a.mp4")
    patched(path, box, numbers)
    try:
        frames = list(open_footage(path, warn=lambda text: None))
    except FootageError:
        return
    times_s = [frame.time_s for frame in frames]
    assert 0 < len(frames) <= 8
    assert times_s == sorted(set(times_s))
