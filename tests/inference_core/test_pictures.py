# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of every kind: upright, with the right colours and proportions, and checked before decoding."""

import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import pytest

from inference_core.footage import Limits, open_footage
from inference_core.footage.orientation import upright
from inference_core.footage.picture import read_picture
from inference_core.shared.errors import FootageError
from inference_core.shared.picture_header import read_picture_header
from inference_core.shared.picture_sequences import find_pictures, is_pattern, numbered_names
from tests.inference_core.tiled_picture import write_tiled_heic

WIDTH, HEIGHT = 96, 64
KINDS = ("jpg", "png", "tif", "tif16", "webp")


def picture() -> np.ndarray:
    """No two corners alike, and no side like its neighbour's."""
    image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    image[: HEIGHT // 2, : WIDTH // 2] = (200, 40, 40)
    image[: HEIGHT // 2, WIDTH // 2 :] = (40, 200, 40)
    image[HEIGHT // 2 :, : WIDTH // 2] = (40, 40, 200)
    return image


def exif(orientation: int, order: str = "<", focal_35mm: int | None = None) -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    turned = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    if focal_35mm is None:
        return mark + struct.pack(f"{order}IH", 8, 1) + turned + bytes(4)
    pointer = struct.pack(f"{order}HHII", 0x8769, 4, 1, 38)
    lens = struct.pack(f"{order}HHHIHH", 1, 0xA405, 3, 1, focal_35mm, 0)
    return mark + struct.pack(f"{order}IH", 8, 2) + turned + pointer + bytes(4) + lens + bytes(4)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def write_turned(folder: Path, kind: str, orientation: int, focal_35mm: int | None = None) -> Path:
    """The picture as stored, with a tag that says how it is to be turned, and one of its lens."""
    bgr = picture()[..., ::-1]
    suffix = f".{kind[:3]}" if kind.startswith("tif") else f".{kind}"
    stored = bgr.astype(np.uint16) * 257 if kind == "tif16" else bgr
    content = cv2.imencode(suffix, stored, [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes()
    match kind:
        case "jpg":
            head = b"Exif\0\0" + exif(orientation, ">", focal_35mm)
            content = content[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(head)) + head + content[2:]
        case "png":
            content = content[:33] + chunk(b"eXIf", exif(orientation, "<", focal_35mm)) + content[33:]
        case "webp":
            size = (WIDTH - 1).to_bytes(3, "little") + (HEIGHT - 1).to_bytes(3, "little")
            extended = b"VP8X" + struct.pack("<I", 10) + b"\x08\0\0\0" + size
            tag = exif(orientation, "<", focal_35mm)
            body = b"WEBP" + extended + content[12:] + b"EXIF" + struct.pack("<I", len(tag)) + tag
            content = b"RIFF" + struct.pack("<I", len(body)) + body
        case _:
            content = with_tiff_orientation(content, orientation)
    path = folder / f"{kind}_{orientation}{suffix}"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_a_pictures_35_mm_equivalent_focal_length_is_read(tmp_path: Path, kind: str) -> None:
    assert open_footage(write_turned(tmp_path, kind, 1, 26)).info.focal_35mm == 26
    assert open_footage(write_turned(tmp_path, kind, 3, 77)).info.focal_35mm == 77
    assert open_footage(write_turned(tmp_path, kind, 6)).info.focal_35mm is None
    assert open_footage(write_turned(tmp_path, kind, 8, 0)).info.focal_35mm is None
    broken = write_turned(tmp_path, kind, 2, 26)
    content = broken.read_bytes()
    lens = content.index(struct.pack(">HH" if kind == "jpg" else "<HH", 0xA405, 3))
    broken.write_bytes(content.replace(content[lens - 2 : lens], b"\xff\xff", 1))
    assert open_footage(broken).info.size_px == (WIDTH, HEIGHT)


def with_tiff_orientation(content: bytes, orientation: int) -> bytes:
    """The file with its directory rewritten at the end, the orientation added."""
    (place,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, place)
    entries = [content[place + 2 + 12 * n : place + 14 + 12 * n] for n in range(count)]
    entries = [entry for entry in entries if struct.unpack_from("<H", entry)[0] != 274]
    entries = sorted(
        [*entries, struct.pack("<HHIHH", 274, 3, 1, orientation, 0)],
        key=lambda e: struct.unpack_from("<H", e),
    )
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    content += bytes(len(content) % 2)
    return content[:4] + struct.pack("<I", len(content)) + content[8:] + directory


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_orientation_tags_are_applied_in_every_format(tmp_path: Path, kind: str, orientation: int) -> None:
    path = write_turned(tmp_path, kind, orientation)
    expected = upright(picture(), orientation)
    image = next(iter(open_footage(path))).image
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 6
    assert read_picture_header(path).shown_px == expected.shape[1::-1]


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_invalid_orientation_is_ignored(tmp_path: Path, value: int) -> None:
    image = next(iter(open_footage(write_turned(tmp_path, "png", value)))).image
    assert np.array_equal(image, picture())


def write_exr(path: Path, pixels: np.ndarray, header: dict, prefix: str = "") -> Path:
    channels = {f"{prefix}{name}": np.ascontiguousarray(pixels[..., k]) for k, name in enumerate("RGB")}
    OpenEXR.File(header, channels).write(str(path))
    return path


def test_an_exr_of_another_data_window_is_shown_in_its_display_window(tmp_path: Path) -> None:
    pixels = np.ones((30, 40, 3), np.float32)
    header = {"displayWindow": ((0, 0), (WIDTH - 1, HEIGHT - 1)), "dataWindow": ((-10, 20), (29, 49))}
    image = next(iter(open_footage(write_exr(tmp_path / "a.exr", pixels, header)))).image
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert open_footage(tmp_path / "a.exr").info.showing.differences  # Blender shows the data window
    assert image[20:50, :30].min() == 255
    assert image.sum() == 30 * 30 * 3 * 255


AP0 = (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767)
AP1 = (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767)
# Academy's own: sRGB's linear red, green, blue in ACEScg and ACES2065-1.
RED = {AP1: (0.6131, 0.0701, 0.0206), AP0: (0.4396, 0.0898, 0.0175)}


@pytest.mark.parametrize("chromaticities", [AP0, AP1])
def test_aces_colours_are_converted_to_srgb(tmp_path: Path, chromaticities: tuple[float, ...]) -> None:
    pixels = np.ones((HEIGHT, WIDTH, 3), np.float32) * 0.5
    pixels[:, : WIDTH // 2] = RED[chromaticities]
    path = write_exr(tmp_path / "a.exr", pixels, {"chromaticities": chromaticities})
    image = next(iter(open_footage(path))).image
    assert np.abs(image[5, 5].astype(int) - (255, 0, 0)).max() <= 14
    assert np.abs(image[5, -5].astype(int) - 188).max() <= 2  # white stays white


def test_a_truncated_exr_is_reported_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    noise = np.random.default_rng(0).random((64, 96, 3), dtype=np.float32)
    with OpenEXR.File({}, {"RGB": noise}) as file:
        file.write(str(path))
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(FootageError, match="damaged"):
        list(open_footage(path))


def test_a_damaged_picture_is_rejected_without_library_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with OpenEXR.File({}, {"RGB": np.random.default_rng(0).random((64, 96, 3), dtype=np.float32)}) as file:
        file.write(str(tmp_path / "a.exr"))
    (tmp_path / "a.exr").write_bytes((tmp_path / "a.exr").read_bytes()[:-600])
    lzw = cv2.imencode(".tif", picture(), [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes()
    entry = struct.pack("<HHIHH", 259, 3, 1, 5, 0)
    assert entry in lzw
    (tmp_path / "b.tif").write_bytes(lzw.replace(entry, struct.pack("<HHIHH", 259, 3, 1, 50000, 0)))
    for name in ("a.exr", "b.tif"):
        with pytest.raises(FootageError, match="damaged"):
            list(open_footage(tmp_path / name))
    assert capfd.readouterr() == ("", "")


def test_a_damaged_exr_does_not_swallow_what_other_threads_print(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_exr(tmp_path / "a.exr", np.ones((640, 960, 3), np.float32), {})
    path.write_bytes(path.read_bytes()[:-600])

    def read() -> None:
        for _ in range(20):
            with pytest.raises(FootageError):
                read_picture(path, Limits())

    reading = threading.Thread(target=read)
    reading.start()
    count = 0
    while reading.is_alive():
        print("progress")
        count += 1
        time.sleep(1e-3)
    assert capsys.readouterr().out == "progress\n" * count


def test_a_tiled_heic_picture_is_rejected_rather_than_read_as_one_tile(tmp_path: Path) -> None:
    path = write_tiled_heic(tmp_path / "IMG_0001.HEIC")
    with pytest.raises(FootageError, match="tiles"):
        open_footage(path)


def test_an_anamorphic_exr_is_resampled_to_square_pixels(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "a.exr", np.ones((HEIGHT, WIDTH, 3), np.float32), {"pixelAspectRatio": 2.0})
    assert open_footage(path).info.size_px == (2 * WIDTH, HEIGHT)


@pytest.mark.parametrize("transfer", [2, 3])
def test_dpx_is_read_and_film_density_converted_to_light(tmp_path: Path, transfer: int) -> None:
    codes = np.full((HEIGHT, WIDTH, 3), 685 * 64, np.uint16)  # film's white
    codes[:, WIDTH // 2 :] = 95 * 64
    codec = av.CodecContext.create("dpx", "w")
    codec.width, codec.height, codec.pix_fmt, codec.framerate = WIDTH, HEIGHT, "gbrp10be", 24
    frame = av.VideoFrame.from_ndarray(codes, format="rgb48le").reformat(format="gbrp10be")
    content = bytearray(b"".join(bytes(packet) for packet in codec.encode(frame)))
    content[801] = transfer
    (tmp_path / "scan_0001.dpx").write_bytes(bytes(content))
    (tmp_path / "scan_0002.dpx").write_bytes(bytes(content))
    footage = open_footage(tmp_path)
    assert footage.info.numbers == range(1, 3)
    image = next(iter(footage)).image
    assert image.shape == (HEIGHT, WIDTH, 3)
    white, black = (252, 3) if transfer == 3 else (171, 24)
    assert abs(int(image[5, 5, 0]) - white) <= 3
    assert abs(int(image[5, -5, 0]) - black) <= 3


@pytest.mark.parametrize("code", range(8))
def test_the_orientation_of_a_dpx_is_applied(tmp_path: Path, code: int) -> None:
    """SMPTE 268M's: 0 to 3 have lines across, 4 to 7 lines down; then whether lines and pixels run backwards."""
    upright = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    upright[: HEIGHT // 2, : WIDTH // 3] = 220
    by_lines = upright.swapaxes(0, 1) if code >= 4 else upright
    pixels_back, lines_back = (code & 1, code & 2) if code < 4 else (code & 2, code & 1)
    stored = by_lines[:: -1 if lines_back else 1, :: -1 if pixels_back else 1]
    head = bytearray(2048)
    struct.pack_into(">4sI", head, 0, b"SDPX", 2048)
    struct.pack_into(">2H2I", head, 768, code, 1, stored.shape[1], stored.shape[0])
    struct.pack_into("4B2HI", head, 800, 50, 2, 2, 8, 0, 0, 0)
    struct.pack_into(">I", head, 808, 2048)
    (tmp_path / "scan.dpx").write_bytes(bytes(head) + stored.tobytes())
    footage = open_footage(tmp_path / "scan.dpx")
    assert footage.info.size_px == (WIDTH, HEIGHT)
    assert np.array_equal(next(iter(footage)).image, upright)


def test_a_damaged_colour_profile_costs_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    picture = np.full((HEIGHT, WIDTH, 4), 200, np.uint8)
    content = cv2.imencode(".png", picture)[1].tobytes()
    chunk = b"iCCP" + b"x" * 50
    damaged = struct.pack(">I", 50) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(content[:33] + damaged + content[33:])
    assert next(iter(open_footage(tmp_path / "a.png"))).image is not None
    assert capfd.readouterr().err == ""


def test_cineon_is_refused_with_a_suggested_conversion(tmp_path: Path) -> None:
    (tmp_path / "a.cin").write_bytes(
        struct.pack(">I", 0x802A5FD7) + bytes(196) + struct.pack(">2I", 64, 48) + bytes(2000)
    )
    with pytest.raises(FootageError, match="Convert it to DPX or OpenEXR"):
        open_footage(tmp_path / "a.cin")


def huge_png() -> bytes:
    rows = zlib.compress(bytes(1 + 30_000 // 8) * 2000, 9)
    head = struct.pack(">2I5B", 30_000, 30_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def huge_tiff() -> bytes:
    tags = {256: 60_000, 257: 60_000, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: 60_000, 279: 4}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(200)


def huge_jpeg() -> bytes:
    small = cv2.imencode(".jpg", picture())[1].tobytes()
    place = small.index(b"\xff\xc0")
    return small[: place + 5] + struct.pack(">2H", 65_000, 65_000) + small[place + 9 :]


def write_huge(folder: Path) -> list[Path]:
    """Small files that promise hundreds of millions of pixels."""
    contents = {"a.png": huge_png(), "a.tif": huge_tiff(), "a.jpg": huge_jpeg()}
    contents["a.dpx"] = b"SDPX" + bytes(768) + struct.pack(">2I", 40_000, 40_000) + bytes(2000)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    small = np.ones((8, 8, 3), np.float32)
    write_exr(folder / "display.exr", small, {"displayWindow": ((0, 0), (19_999, 19_999))})
    content = write_exr(folder / "data.exr", small, {}).read_bytes()
    place = content.index(b"dataWindow\0box2i\0") + 21
    window = struct.pack("<4i", 0, 0, 19_999, 19_999)
    (folder / "data.exr").write_bytes(content[:place] + window + content[place + 16 :])
    return [folder / name for name in (*contents, "display.exr", "data.exr")]


def test_pictures_larger_than_allowed_are_refused_by_their_headers(tmp_path: Path) -> None:
    paths = write_huge(tmp_path)
    code = (
        "import sys\n"
        "from inference_core.footage import open_footage\n"
        "from inference_core.shared.errors import FootageError\n"
        "from tests.peak_memory import peak_kb\n"
        "before = peak_kb()\n"
        "for path in sys.argv[1:]:\n"
        "    try: open_footage(path)\n"
        "    except FootageError as error: print(error)\n"
        "print(peak_kb() - before)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, *paths], cwd=root, capture_output=True, text=True)
    *messages, grown_kb = done.stdout.strip().splitlines()
    assert len(messages) == len(paths)
    assert all("--max-pixels" in message for message in messages)
    assert int(grown_kb) < 200_000


def test_the_limit_of_pixels_can_be_raised_and_lowered(tmp_path: Path) -> None:
    path = write_turned(tmp_path, "png", 1)
    assert open_footage(path, limits=Limits(max_pixels=WIDTH * HEIGHT)).info.count == 1
    with pytest.raises(FootageError, match="--max-pixels"):
        open_footage(path, limits=Limits(max_pixels=WIDTH * HEIGHT - 1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_cut_anywhere_is_refused_or_read(tmp_path: Path, kind: str) -> None:
    content = write_turned(tmp_path, kind, 6).read_bytes()
    path = tmp_path / "cut.png"
    for length in range(0, min(len(content), 400), 3):
        path.write_bytes(content[:length])
        try:
            header = read_picture_header(path)
        except FootageError:
            continue
        assert header.orientation in range(1, 9)


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def found(path: Path) -> list[str]:
    return [file.name for file in find_pictures(path).values()]


def test_hidden_files_and_looping_links_are_not_frames(tmp_path: Path) -> None:
    (tmp_path / "a_0003.png").symlink_to("a_0003.png")
    touch(tmp_path, "a_0001.png", "a_0002.png", "._a_0001.png", "._a_0003.png", ".a_0003.png", ".DS_Store")
    assert found(tmp_path) == found(tmp_path / "a_0001.png") == found(tmp_path / "a_####.png")
    assert found(tmp_path) == ["a_0001.png", "a_0002.png"]


@pytest.mark.parametrize(
    "name",
    ["shot_{:04d}_beauty.png", "shot_{:04d}_v2.png", "take2_{:03d}.png", "{:d}.png", "s01e02.{:04d}.exr"],
)
def test_the_frame_number_is_found_anywhere_in_the_name(tmp_path: Path, name: str) -> None:
    touch(tmp_path, *(name.format(n) for n in range(1, 6)), "notes.txt", "poster.png")
    for path in (tmp_path, tmp_path / name.format(1)):
        assert list(find_pictures(path)) == list(range(1, 6))


@pytest.mark.parametrize(
    "others",
    [(), ("IMG_0050.jpg", "IMG_0093.jpg"), ("face5.jpg",), ("other.png", "20240101.mp4")],
)
@pytest.mark.parametrize("name", ["IMG_0007.jpg", "portrait.jpg", "face1.jpg"])
def test_one_still_among_others_is_a_still(tmp_path: Path, name: str, others: tuple[str, ...]) -> None:
    touch(tmp_path, name, *others)
    assert found(tmp_path / name) == [name]


def test_pictures_of_another_size_are_not_part_of_a_sequence(tmp_path: Path) -> None:
    for number, size in ((1, (64, 48)), (2, (48, 64))):
        content = cv2.imencode(".png", np.zeros((*size, 3), np.uint8))[1].tobytes()
        (tmp_path / f"IMG_{number:04d}.png").write_bytes(content)
    assert found(tmp_path / "IMG_0001.png") == ["IMG_0001.png"]


def test_sequences_may_have_steps_and_holes(tmp_path: Path) -> None:
    touch(tmp_path / "even", *(f"a_{n:04d}.png" for n in (1, 3, 5, 7)))
    touch(tmp_path / "hole", *(f"a_{n:04d}.png" for n in (1, 5, 6, 7)))
    assert list(find_pictures(tmp_path / "even" / "a_0001.png")) == [1, 3, 5, 7]
    assert list(find_pictures(tmp_path / "hole" / "a_0001.png")) == [1, 5, 6, 7]


@pytest.mark.parametrize("digits", ["9223372036854775808", "1" * 20, "9" * 200])
def test_numbers_with_too_many_digits_are_part_of_the_name(tmp_path: Path, digits: str) -> None:
    touch(tmp_path, f"shot_{digits}.png", f"{digits}_0001.png", f"{digits}_0002.png")
    assert list(find_pictures(tmp_path / f"shot_{digits}.png")) == [0]
    assert list(find_pictures(tmp_path / f"{digits}_0001.png")) == [1, 2]


def test_a_file_that_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    touch(tmp_path, "shot_####.png")
    assert not is_pattern(tmp_path / "shot_####.png")
    assert is_pattern(tmp_path / "shot_%04d.png")


def test_names_with_thousands_of_numbers_are_parsed_quickly() -> None:
    assert len(list(numbered_names("1_" * 20_000 + "7.png"))) < 20
    assert next(numbered_names("1_" * 100 + "7.png")).number == 7


@pytest.mark.parametrize(
    ("kind", "codec", "pix_fmt"), [("webp", "libwebp_anim", "yuv420p"), ("apng", "apng", "rgb24")]
)
def test_only_an_animations_first_picture_is_read_with_a_notice(
    tmp_path: Path, kind: str, codec: str, pix_fmt: str
) -> None:
    path = tmp_path / f"wave.{kind.removeprefix('a')}"
    with av.open(str(path), "w", format=kind) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        for image in (picture(), 255 - picture()):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    said: list[str] = []
    (frame,) = open_footage(path, warn=said.append)
    assert frame.image is not None and np.abs(frame.image.astype(int) - picture()).mean() < 12
    assert "is an animation" in said[0]


def test_a_png_with_a_chunk_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    whole = cv2.imencode(".png", picture())[1].tobytes()
    path = tmp_path / "a.png"
    path.write_bytes(whole[:33] + struct.pack(">I", 2_000_000_000) + b"tEXt" + whole[33:])
    with pytest.raises(FootageError, match="cut short or damaged"):
        open_footage(path)
