# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers that promise more than their files can hold are refused before memory is set aside."""

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

ROOT = Path(__file__).parents[2]
HUGE = 100_000


def patched(path: Path, box: bytes, numbers: tuple[int, ...]) -> None:
    """Put other numbers behind a box's version and flags."""
    data = bytearray(path.read_bytes())
    struct.pack_into(f">{len(numbers)}I", data, data.index(box) + 8, *numbers)
    path.write_bytes(data)


def png(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">2I5B", width, height, 16, 6, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


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
def test_pictures_that_promise_too_much_are_refused_by_their_headers(tmp_path: Path, kind: str) -> None:
    most = 60_000 if kind in ("jpg", "webp") else HUGE
    for width, height in ((most, most), (most, 1), (1, most)):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(PICTURES[kind](width, height))
        with pytest.raises(DuohandError):
            open_footage(path)


def test_pictures_of_the_largest_size_of_which_nothing_is_there_stay_within_a_gigabyte(
    tmp_path: Path,
) -> None:
    for kind, make in PICTURES.items():
        (tmp_path / f"{kind}.{kind}").write_bytes(make(7900, 7900))
    code = (
        "import sys\nfrom pathlib import Path\nfrom inference_core.footage import open_footage\n"
        "from inference_core.shared.errors import DuohandError\nfrom tests.peak_memory import peak_kb\n"
        "for path in Path(sys.argv[1]).iterdir():\n"
        "    try:\n        open_footage(path, warn=lambda text: None)\n"
        "    except DuohandError:\n        pass\n"
        "    print(path.name, peak_kb() >> 10)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()
    assert len(told) == len(PICTURES)
    assert all(int(line.split()[1]) < 1000 for line in told), told


@pytest.mark.parametrize(("size", "count"), [(1, 80_000_000), (0, 80_000_000), (1, 2**32 - 1)])
def test_a_movie_that_promises_more_samples_than_bytes_is_refused(
    tmp_path: Path, size: int, count: int
) -> None:
    path = write_empty_scene(tmp_path / "a.mp4")
    patched(path, b"stsz", (size, count))
    patched(path, b"stsc", (1, 1, count, 1))
    with pytest.raises(FootageError, match="promises more"):
        open_footage(path)


def test_boxes_in_boxes_in_boxes_are_left_alone(tmp_path: Path) -> None:
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
