# SPDX-License-Identifier: GPL-3.0-or-later
"""Footage of every kind: numbers, times, pictures and errors."""

import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_core.footage import FrameRange, open_footage, parse_frame_range
from inference_core.shared.errors import DuohandError, FootageError, RequestError

WIDTH, HEIGHT = 96, 64


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A picture whose grey level is its number and whose top left corner is white."""
    image = np.full((height, width, 3), 10 + 8 * number, np.uint8)
    image[: height // 4, : width // 4] = 255
    return image


def number_of(image: np.ndarray) -> int:
    return round((float(image[-8:, -8:].mean()) - 10) / 8)


def write_movie(path: Path, milliseconds: Sequence[int], codec: str = "libx264", rotation: int = 0) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = (
            WIDTH,
            HEIGHT,
            "yuvj420p" if codec == "mjpeg" else "yuv420p",
        )
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.gop_size = 6
        if rotation:
            stream.set_display_rotation(rotation)
        for number, time in enumerate(milliseconds):
            frame = av.VideoFrame.from_ndarray(picture(number % 28), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_pictures(folder: Path, numbers: Sequence[int], name: str = "shot_{:04d}.png") -> None:
    folder.mkdir(exist_ok=True, parents=True)
    for number in numbers:
        data = cv2.imencode(Path(name).suffix, picture(number)[..., ::-1])[1]
        (folder / name.format(number)).write_bytes(data.tobytes())


def test_a_movies_35_mm_equivalent_focal_length_is_read(tmp_path: Path) -> None:
    plain = write_movie(tmp_path / "plain.mov", [0, 40, 80])
    assert open_footage(plain).info.focal_35mm is None
    for number, (told, read) in enumerate((("26", 26.0), ("-13", -13.0), ("wide", None))):
        path = tmp_path / f"{number}.mov"
        with (
            av.open(str(plain)) as source,
            av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as target,
        ):
            target.metadata["com.apple.quicktime.camera.focal_length.35mm_equivalent"] = told
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        assert open_footage(path).info.focal_35mm == read


def test_a_movie_yields_every_frame_at_its_own_time(tmp_path: Path) -> None:
    times = [0, 40, 45, 120, 360, 361, 500, 900, 901, 1000]
    footage = open_footage(write_movie(tmp_path / "a.mp4", times))
    frames = list(footage)
    assert [frame.index for frame in frames] == list(range(10))
    assert [frame.time_s for frame in frames] == pytest.approx([time / 1000 for time in times], abs=1e-3)
    assert [number_of(frame.image) for frame in frames] == list(range(10))
    assert footage.info.size_px == (WIDTH, HEIGHT)
    assert len(footage) == 10


def test_footage_can_be_read_twice(tmp_path: Path) -> None:
    footage = open_footage(write_movie(tmp_path / "a.mp4", range(0, 400, 40)))
    first, second = list(footage), list(footage)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("frames", ["0:20", "7:20", "7:20:3", "19:", ":5", "::7", "13:14"])
def test_a_range_of_a_movie_has_the_frames_of_the_whole(tmp_path: Path, frames: str) -> None:
    path = write_movie(tmp_path / "a.mp4", range(0, 800, 40))
    whole = list(open_footage(path))
    part = list(open_footage(path, parse_frame_range(frames)))
    start, stop, step = ([int(text) if text else None for text in frames.split(":")] + [None])[:3]
    expected = whole[slice(start, stop, step)]
    assert [(frame.index, frame.time_s) for frame in part] == [
        (frame.index, frame.time_s) for frame in expected
    ]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(part, expected, strict=True))


def test_part_is_a_slice_of_the_iteration(tmp_path: Path) -> None:
    footage = open_footage(write_movie(tmp_path / "a.mp4", range(0, 800, 40)), FrameRange(3, None, 2))
    whole = list(footage)
    assert [frame.index for frame in footage.at(range(2, 5))] == [frame.index for frame in whole[2:5]]


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_the_rotation_flag_rotates_the_picture_as_ffmpeg_does(tmp_path: Path, rotation: int) -> None:
    path = write_movie(tmp_path / "a.mp4", [0, 40], rotation=rotation)
    upright = np.rot90(picture(0), rotation // 90)
    image = next(iter(open_footage(path))).image
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).max() < 12


def test_a_truncated_movie_keeps_its_good_frames_with_a_warning(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mkv", range(0, 1120, 40))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 8 // 10])
    warnings: list[str] = []
    good = [frame for frame in open_footage(path, warn=warnings.append) if frame.image is not None]
    assert 5 < len(good) < 28
    assert [number_of(frame.image) for frame in good] == [round(frame.time_s * 25) for frame in good]
    assert "cut short" in warnings[0]


def test_frames_that_cannot_be_decoded_are_missing_not_shifted(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mkv", range(0, 1120, 40), codec="mjpeg")
    content = bytearray(path.read_bytes())
    starts = [place for place in range(len(content)) if content[place : place + 3] == b"\xff\xd8\xff"]
    assert len(starts) == 28
    content[starts[9] : starts[9] + 600] = bytes(600)
    path.write_bytes(bytes(content))
    warnings: list[str] = []
    frames = list(open_footage(path, warn=warnings.append))
    assert [frame.index for frame in frames] == list(range(28))
    assert frames[9].image is None
    assert all(number_of(frame.image) == frame.index for frame in frames if frame.index != 9)
    assert any("9" in text for text in warnings)


@pytest.mark.parametrize("named", ["folder", "first file", "hashes", "percent"])
def test_a_sequence_is_found_by_folder_file_or_pattern(tmp_path: Path, named: str) -> None:
    folder = tmp_path / "кадры 1"
    write_pictures(folder, [3, 4, 5, 7])
    path = {
        "folder": folder,
        "first file": folder / "shot_0003.png",
        "hashes": folder / "shot_####.png",
        "percent": folder / "shot_%04d.png",
    }[named]
    warnings: list[str] = []
    footage = open_footage(path, fps=10, warn=warnings.append)
    frames = list(footage)
    assert [frame.index for frame in frames] == [3, 4, 5, 6, 7]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert frames[3].image is None
    assert [number_of(frame.image) for frame in frames if frame.image is not None] == [3, 4, 5, 7]
    assert any("missing" in text for text in warnings)


def test_a_sequence_begins_at_the_given_file(tmp_path: Path) -> None:
    write_pictures(tmp_path, range(6))
    assert open_footage(tmp_path / "shot_0002.png").info.numbers == range(2, 6)


def test_a_range_of_a_sequence_uses_the_numbers_in_its_names(tmp_path: Path) -> None:
    write_pictures(tmp_path, range(20, 30))
    footage = open_footage(tmp_path, parse_frame_range("22:28:2"), fps=10)
    assert [(frame.index, number_of(frame.image)) for frame in footage] == [(22, 22), (24, 24), (26, 26)]
    assert next(iter(footage)).time_s == pytest.approx(0.2)


def test_pictures_whose_names_merely_end_in_a_digit_are_stills(tmp_path: Path) -> None:
    write_pictures(tmp_path, [1, 5], "face{}.png")
    info = open_footage(tmp_path / "face1.png").info
    assert (info.kind, info.count) == ("still", 1)


def test_a_still_is_footage_of_one_frame(tmp_path: Path) -> None:
    write_pictures(tmp_path, [4], "portrait.png")
    frames = list(open_footage(tmp_path / "portrait.png"))
    assert [(frame.index, frame.time_s) for frame in frames] == [(0, 0)]


@pytest.mark.parametrize("kind", ["grey", "grey16", "rgb16", "rgba", "rgba16", "jpg", "tif16", "tif float"])
def test_pictures_of_every_bit_depth_are_read_alike(tmp_path: Path, kind: str) -> None:
    image = picture(6)
    stored = {
        "grey": image[..., 0],
        "grey16": image[..., 0].astype(np.uint16) * 257,
        "rgb16": image.astype(np.uint16) * 257,
        "rgba": np.dstack([image, np.full((HEIGHT, WIDTH), 255, np.uint8)]),
        "rgba16": np.dstack([image, np.full((HEIGHT, WIDTH), 255, np.uint8)]).astype(np.uint16) * 257,
        "jpg": image,
        "tif16": image.astype(np.uint16) * 257,
        "tif float": srgb_to_linear(image),
    }[kind]
    suffix = ".jpg" if kind == "jpg" else ".tif" if kind.startswith("tif") else ".png"
    path = tmp_path / f"still{suffix}"
    # 1: no compression. OpenCV would store floats as LogLuv, which loses some.
    path.write_bytes(cv2.imencode(suffix, stored, [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes())
    read = next(iter(open_footage(path))).image
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - image).max() <= (6 if kind == "jpg" else 1)


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[...] = (200, 100, 50)
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    assert next(iter(open_footage(tmp_path / "a.png"))).image[5, 5].tolist() == [200, 100, 50]


def srgb_to_linear(image: np.ndarray) -> np.ndarray:
    value = image.astype(np.float32) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


@pytest.mark.parametrize("layer", ["", "ViewLayer.Combined."])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_exr_is_converted_from_linear_light_to_srgb(tmp_path: Path, layer: str, kind: type) -> None:
    image = picture(7)
    image[..., 2] = 40
    linear = srgb_to_linear(image).astype(kind)
    channels = {f"{layer}{name}": np.ascontiguousarray(linear[..., k]) for k, name in enumerate("RGB")}
    channels["ViewLayer.Depth.Z"] = np.ones((HEIGHT, WIDTH), np.float32)
    for number in (1, 2):
        file = OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, channels)
        file.write(str(tmp_path / f"плита_{number:04d}.exr"))
    for frame in open_footage(tmp_path):
        assert np.abs(frame.image.astype(int) - image).max() <= 1


def test_brighter_than_white_and_nan_in_an_exr_are_clipped(tmp_path: Path) -> None:
    pixels = np.full((HEIGHT, WIDTH), 40, np.float32)
    pixels[0, 0] = np.nan
    OpenEXR.File({}, dict.fromkeys("RGB", pixels)).write(str(tmp_path / "a.exr"))
    image = next(iter(open_footage(tmp_path / "a.exr"))).image
    assert image[0, 0].tolist() == [0, 0, 0]
    assert image[1, 1].tolist() == [255, 255, 255]


def test_a_damaged_picture_is_a_missing_frame_with_a_warning(tmp_path: Path) -> None:
    write_pictures(tmp_path, range(4))
    (tmp_path / "shot_0002.png").write_bytes(b"not a picture")
    warnings: list[str] = []
    frames = list(open_footage(tmp_path, warn=warnings.append))
    assert [frame.image is None for frame in frames] == [False, False, True, False]
    assert "shot_0002.png" in warnings[0]


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("nothing there", "no footage"),
        ("text", "neither a movie"),
        ("empty file", "neither a movie"),
        ("cut before the index", "no picture"),
        ("sound only", "no picture"),
        ("empty folder", "holds no pictures"),
        ("two sequences", "2 numbered sequences"),
        ("tiny", "1x1"),
        ("pattern without match", "matches"),
        ("damaged pictures only", "can be read"),
        ("dates for numbers", "not a sequence"),
        ("range outside", "leaves none"),
        ("two sizes", "differ in size"),
    ],
)
def test_bad_footage_is_refused_with_the_reason(tmp_path: Path, case: str, says: str) -> None:
    path, frames = tmp_path / "a.mp4", FrameRange()
    if case == "text":
        path.write_text("not a movie")
    elif case == "empty file":
        path.touch()
    elif case == "cut before the index":
        write_movie(path, range(0, 400, 40))
        path.write_bytes(path.read_bytes()[:-900])
    elif case == "sound only":
        write_sound(path)
    elif case == "empty folder":
        path = tmp_path
    elif case == "two sequences":
        write_pictures(tmp_path, range(3))
        write_pictures(tmp_path, range(3), "other_{:04d}.png")
        path = tmp_path
    elif case == "tiny":
        path = tmp_path / "a.png"
        path.write_bytes(cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes())
    elif case == "pattern without match":
        write_pictures(tmp_path, range(3))
        path = tmp_path / "shoot_####.png"
    elif case == "damaged pictures only":
        for number in range(3):
            (tmp_path / f"shot_{number:04d}.png").write_bytes(b"rubbish")
        path = tmp_path
    elif case == "dates for numbers":
        write_pictures(tmp_path, [0, 1], "shot_2024010{}.png")
        (tmp_path / "shot_20240100.png").rename(tmp_path / "shot_10240100.png")
        path = tmp_path
    elif case == "range outside":
        write_movie(path, range(0, 400, 40))
        frames = FrameRange(100, 200)
    elif case == "two sizes":
        write_pictures(tmp_path, range(3))
        (tmp_path / "shot_0003.png").write_bytes(cv2.imencode(".png", picture(3, 80, 50))[1].tobytes())
        path = tmp_path
    with pytest.raises(FootageError, match=says) as raised:
        list(open_footage(path, frames))
    assert len(str(raised.value)) < 500


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@given(st.text(alphabet="0123456789:- x", max_size=8))
def test_a_frame_range_is_parsed_or_refused(text: str) -> None:
    try:
        frames = parse_frame_range(text)
    except RequestError as error:
        assert "range" in str(error)
    else:
        assert frames.step >= 1


@given(st.integers(-20, 20), st.integers(0, 30), st.integers(-30, 40), st.integers(1, 50), st.integers(1, 7))
def test_a_range_selects_the_frames_of_a_filter(
    first: int, length: int, start: int, span: int, step: int
) -> None:
    picked = FrameRange(start, start + span, step).within(first, first + length)
    assert list(picked) == [n for n in range(start, start + span, step) if first <= n <= first + length]


def test_memory_does_not_grow_with_the_length_of_a_movie(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from inference_core.footage import open_footage\n"
        "from tests.peak_memory import peak_kb\n"
        "count = sum(1 for frame in open_footage(sys.argv[1]))\n"
        "print(count, peak_kb())"
    )
    peaks: list[int] = []
    for frame_count in (60, 1500):
        path = write_movie(tmp_path / f"{frame_count}.mp4", range(0, 40 * frame_count, 40))
        root = Path(__file__).parents[2]
        done = subprocess.run([sys.executable, "-c", code, path], cwd=root, capture_output=True, text=True)
        count, peak = done.stdout.split()
        assert int(count) == frame_count
        peaks.append(int(peak))
    assert peaks[1] < 1.1 * peaks[0]


def test_an_invalid_frame_rate_is_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path, range(2))
    with pytest.raises(DuohandError, match="frame rate"):
        open_footage(tmp_path, fps=-1)


def test_errors_are_one_short_line_whatever_the_names_contain(tmp_path: Path) -> None:
    with pytest.raises(FootageError) as told:
        open_footage(tmp_path / "two\nlines.mp4")
    assert len(str(told.value).splitlines()) == 1
    with pytest.raises(RequestError) as told:
        parse_frame_range("9" * 100_000)
    assert len(str(told.value)) < 400
