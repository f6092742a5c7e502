# SPDX-License-Identifier: GPL-3.0-or-later
"""Movies from cameras, phones, browsers and editors: the stream, the frames, their times and orientation."""

import os
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition

from inference_core.footage import Footage, Limits, open_footage
from inference_core.footage.orientation import orientation_of_matrix, upright
from inference_core.shared.errors import FootageError

WIDTH, HEIGHT = 96, 64
STEP = 8  # levels of grey from a frame to the next
BITS = 5


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """The number in white boxes along the top, most significant first; grey below, with a red corner at the left."""
    image = np.full((height, width, 3), 60, np.uint8)
    box = width // BITS
    for bit in range(BITS):
        image[: height // 2, bit * box : (bit + 1) * box] = 255 if number >> (BITS - 1 - bit) & 1 else 0
    image[-height // 4 :, : width // 4] = (220, 20, 20)
    return image


def number_of(image: np.ndarray) -> int:
    height, width = image.shape[:2]
    box = width // BITS
    row = image[height // 4, box // 2 : box * BITS : box].mean(-1)
    return int("".join("1" if value > 128 else "0" for value in row), 2)


def write_movie(
    path: Path,
    ticks: Sequence[int],
    rate: int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    prepare: Callable[[Any], None] = lambda stream: None,
    picture_of: Callable[[int], np.ndarray] = picture,
    container_options: dict[str, Any] | None = None,
) -> Path:
    """A movie of one picture a tick of 1 / rate; the n-th shows n."""
    with av.open(str(path), "w", **(container_options or {})) as container:
        stream = container.add_stream(codec, rate=rate)
        first = picture_of(0)
        stream.width, stream.height, stream.pix_fmt = first.shape[1], first.shape[0], pix_fmt
        stream.codec_context.time_base = Fraction(1, rate)
        stream.codec_context.gop_size = 6
        prepare(stream)
        for number, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(picture_of(number), format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def copy_movie(source: Path, target: Path, shift: int = 0) -> Path:
    """The same packets, `shift` ticks of 1/25 s later."""
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        stream = read.streams.video[0]
        copy = written.add_stream_from_template(stream)
        ticks = round(shift / 25 / stream.time_base)
        for packet in read.demux(stream):
            if packet.dts is None:
                continue
            packet.pts, packet.dts, packet.stream = packet.pts + ticks, packet.dts + ticks, copy
            written.mux(packet)
    return target


def numbers_of(footage: Footage) -> list[int]:
    return [number_of(frame.image) for frame in footage]


def times_of(footage: Footage) -> list[float]:
    return [frame.time_s for frame in footage]


def silent(path: Path) -> Footage:
    """The footage, which must give no reason for a warning."""
    return open_footage(path, warn=lambda text: pytest.fail(text))


def test_sound_with_a_cover_is_not_a_movie(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        sound, cover = container.add_stream("aac", rate=48000), container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(picture(0), format="rgb24")
        frame.pts, frame.time_base = 0, Fraction(1, 1)
        container.mux(cover.encode(frame))
        for number in range(20):
            silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
            silence.sample_rate, silence.pts = 48000, 1024 * number
            container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    with pytest.raises(FootageError, match="no movie"):
        open_footage(path)


@pytest.mark.parametrize("first", ["cover", "thumbnails"])
def test_covers_and_thumbnails_are_not_the_movie(tmp_path: Path, first: str) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        extra = container.add_stream("mjpeg" if first == "cover" else "libx264", rate=25)
        movie = container.add_stream("libx264", rate=25)
        extra.width, extra.height = (200, 200) if first == "cover" else (48, 32)
        extra.pix_fmt = "yuvj420p" if first == "cover" else "yuv420p"
        movie.width, movie.height, movie.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if first == "cover":
            extra.disposition = Disposition.attached_pic
        for number in range(10):
            if first == "thumbnails" or number == 0:
                small = av.VideoFrame.from_ndarray(
                    np.zeros((extra.height, extra.width, 3), np.uint8), "rgb24"
                )
                small.pts = number
                container.mux(extra.encode(small))
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts = number
            container.mux(movie.encode(frame))
        container.mux(extra.encode(None))
        container.mux(movie.encode(None))
    footage = silent(path)
    assert footage.info.size_px == (WIDTH, HEIGHT)
    assert numbers_of(footage) == list(range(10))


@pytest.mark.parametrize(("shift", "shown"), [(-8, range(8, 20)), (0, range(20)), (30, range(20))])
def test_only_presented_frames_count_and_times_start_at_zero(
    tmp_path: Path, shift: int, shown: range
) -> None:
    plain = write_movie(tmp_path / "plain.mp4", range(20))
    footage = silent(copy_movie(plain, tmp_path / "shifted.mp4", shift))
    assert numbers_of(footage) == list(shown)
    assert times_of(footage) == pytest.approx([n / 25 for n in range(len(shown))], abs=1e-3)


def test_concatenated_recordings_show_all_their_frames(tmp_path: Path) -> None:
    """A camcorder's parts joined byte by byte: the times of the second begin where those of the first did."""
    part = write_movie(tmp_path / "part.ts", range(10)).read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + part)
    said: list[str] = []
    footage = open_footage(tmp_path / "joined.ts", warn=said.append)
    assert numbers_of(footage) == [*range(10), *range(10)]
    assert times_of(footage) == pytest.approx([n / 25 for n in range(20)])
    assert "joined" in said[0] and len(said) == 1
    assert footage.info.showing.differences


def test_a_range_of_a_movie_with_edit_list_has_the_same_frames(tmp_path: Path) -> None:
    plain = write_movie(tmp_path / "plain.mp4", range(20))
    footage = silent(copy_movie(plain, tmp_path / "edited.mp4", -8))
    assert [number_of(frame.image) for frame in footage.at(range(3, 6))] == [11, 12, 13]


@pytest.mark.parametrize("name", ["a.ts", "a.mpg", "a.mp4", "a.avi"])
def test_a_part_of_a_movie_has_the_same_frames_wherever_it_begins(tmp_path: Path, name: str) -> None:
    """Groups of pictures whose first ones need the group before, in containers that seek to another place."""

    def open_groups(stream: Any) -> None:
        stream.codec_context.max_b_frames = 3

    footage = silent(write_movie(tmp_path / name, range(24), codec="mpeg2video", prepare=open_groups))
    for start in (1, 5, 6, 7, 14, 15, 16, 22):
        assert [number_of(frame.image) for frame in footage.at(range(start, start + 2))] == [
            start,
            start + 1,
        ]


UPRIGHT_MATRICES = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}


@pytest.mark.parametrize("matrix", UPRIGHT_MATRICES)
def test_all_eight_display_matrices_are_applied(tmp_path: Path, matrix: tuple[int, ...]) -> None:
    a, b, c, d = (value * 65536 for value in matrix)
    full = [a, b, 0, c, d, 0, 0, 0, 1 << 30]
    orientation = UPRIGHT_MATRICES[matrix]
    assert orientation_of_matrix(full) == orientation
    # x' = a x + c y, y' = b x + d y, counted from the middle: where the stored red corner comes to lie.
    across, down = (matrix[0] * -1 + matrix[2] * 1, matrix[1] * -1 + matrix[3] * 1)
    path = write_movie(tmp_path / "a.mp4", range(3), prepare=lambda stream: stream.set_display_matrix(full))
    for frame in silent(path):
        height, width = frame.image.shape[:2]
        corner = frame.image[2 if down < 0 else height - 3, 2 if across < 0 else width - 3]
        assert corner[0] > 150 and corner[1] < 80
        assert np.abs(frame.image.astype(int) - upright(picture(frame.index), orientation)).mean() < 12


def test_exif_does_not_hide_the_display_matrix(tmp_path: Path) -> None:
    """FFmpeg's TIFF frames come with EXIF, which PyAV has no name for."""
    flipped = [65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30]
    path = write_movie(
        tmp_path / "a.mov",
        range(3),
        codec="tiff",
        pix_fmt="rgb24",
        prepare=lambda stream: stream.set_display_matrix(flipped),
    )
    assert silent(path).info.showing.orientation == 4


@pytest.mark.parametrize(("aspect", "size"), [("64/45", (137, 64)), ("8/9", (96, 72)), ("1/1000", (96, 64))])
def test_non_square_pixels_become_square(tmp_path: Path, aspect: str, size: tuple[int, int]) -> None:
    def stretch(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)

    footage = open_footage(write_movie(tmp_path / "a.mkv", range(4), prepare=stretch), warn=lambda text: None)
    assert footage.info.size_px == size
    assert {frame.image.shape[1::-1] for frame in footage} == {size}
    assert numbers_of(footage) == list(range(4))


def combed(number: int) -> np.ndarray:
    """Two moments in one frame: a bar that has moved on between its fields."""
    image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    image[0::2, 4 * number + 10 : 4 * number + 30] = 230
    image[1::2, 4 * number + 12 : 4 * number + 32] = 230
    return image


def test_interlaced_movies_are_deinterlaced_with_a_notice(tmp_path: Path) -> None:
    def interlace(stream: Any) -> None:
        stream.codec_context.options = {"x264-params": "interlaced=1:bframes=0"}

    path = write_movie(tmp_path / "a.mkv", range(12), picture_of=combed, prepare=interlace, pix_fmt="yuv422p")
    notices: list[str] = []
    footage = open_footage(path, warn=notices.append)
    frames = list(footage)
    assert [frame.index for frame in frames] == list(range(12))
    assert len(notices) == 1 and "deinterlaced" in notices[0]
    for frame in frames[1:-1]:
        lines = frame.image[8:-8].astype(int).mean(-1)
        assert np.abs(lines[1:] - lines[:-1]).max() < 60
    assert np.array_equal(next(footage.at(range(7, 8))).image, frames[7].image)


@pytest.mark.parametrize(("order", "first_x"), [("tff", 10), ("bff", 12)])
def test_a_deinterlaced_frame_shows_its_first_field(tmp_path: Path, order: str, first_x: int) -> None:
    def interlace(stream: Any) -> None:
        stream.codec_context.options = {"x264-params": f"interlaced=1:{order}=1:bframes=0:qp=0"}

    path = write_movie(tmp_path / "a.mkv", range(8), picture_of=combed, prepare=interlace, pix_fmt="yuv422p")
    for frame in list(open_footage(path, warn=lambda text: None))[1:-1]:
        # Each line of a field that is there or made up from its neighbours begins where that field's do.
        bar = np.flatnonzero(frame.image[HEIGHT // 2 : HEIGHT // 2 + 2].mean((0, 2)) > 180)
        assert bar[0] == 4 * frame.index + first_x


def test_dropped_frames_of_an_avi_repeat_the_previous_picture(tmp_path: Path) -> None:
    slots = [0, 1, 2, 4, 5, 6, 10, 11]
    path = write_movie(tmp_path / "a.avi", slots, codec="mjpeg", pix_fmt="yuvj420p")
    footage = silent(path)
    assert numbers_of(footage) == [0, 1, 2, 2, 3, 4, 5, 5, 5, 5, 6, 7]
    assert times_of(footage) == pytest.approx([n / 25 for n in range(12)])
    assert footage.info.fps == pytest.approx(25)
    assert [number_of(frame.image) for frame in footage.at(range(8, 11))] == [5, 5, 6]


def test_a_truncated_avi_is_reported_rather_than_filled(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.avi", range(20), codec="mjpeg", pix_fmt="yuvj420p")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    notices: list[str] = []
    footage = open_footage(path, warn=notices.append)
    assert 5 < len(footage) < 15
    assert "cut short" in notices[0]


def test_a_sample_without_bytes_repeats_the_previous_picture(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mov", range(8), codec="mjpeg", pix_fmt="yuvj420p")
    content = bytearray(path.read_bytes())
    table = content.index(b"stsz") + 16
    sizes = list(struct.unpack_from(">8I", content, table))
    struct.pack_into(">I", content, table + 12, 0)
    # Sample 3's bytes become a tail of sample 2, which ends at its own marker.
    struct.pack_into(">I", content, table + 8, sizes[2] + sizes[3])
    path.write_bytes(bytes(content))
    assert numbers_of(silent(path)) == [0, 1, 2, 2, 4, 5, 6, 7]


@pytest.mark.parametrize("clock", [1000, 90_000])
def test_a_clock_rate_is_not_a_frame_rate(tmp_path: Path, clock: int) -> None:
    ticks = [round(time * clock) for time in (0, 0.06, 0.13, 0.18, 0.25, 0.30, 0.37, 0.5)]
    footage = silent(write_movie(tmp_path / "a.mkv", ticks, rate=clock))
    assert footage.info.fps == pytest.approx(14, rel=0.01)
    assert times_of(footage) == pytest.approx([tick / clock for tick in ticks], abs=1e-3)


def test_a_pause_in_a_recording_does_not_lower_the_rate(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mp4", [*range(12), *range(300, 312)])
    assert silent(path).info.fps == pytest.approx(25)
    assert times_of(silent(path))[12] == pytest.approx(12)


def test_rounded_times_of_an_even_movie_give_its_rate(tmp_path: Path) -> None:
    ticks = [round(n * 1000 / 30) for n in range(20)]
    assert silent(write_movie(tmp_path / "a.mkv", ticks, rate=1000)).info.fps == pytest.approx(30)


def test_hidden_frames_of_vp8_are_not_frames(tmp_path: Path) -> None:
    plain = write_movie(tmp_path / "plain.webm", range(30), codec="libvpx")
    with av.open(str(plain)) as read, av.open(str(tmp_path / "a.webm"), "w") as written:
        copy = written.add_stream_from_template(read.streams.video[0])
        for number, packet in enumerate(read.demux(video=0)):
            if packet.dts is None:
                continue
            content = bytearray(bytes(packet))
            if number in (7, 20):
                content[0] &= ~0x10  # VP8's show_frame: such a frame is only there for others to be made from
            changed = av.Packet(bytes(content))
            changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
            changed.is_keyframe, changed.stream = packet.is_keyframe, copy
            written.mux(changed)
    footage = open_footage(tmp_path / "a.webm", warn=lambda text: None)
    assert numbers_of(footage) == [n for n in range(30) if n not in (7, 20)]


def test_frames_before_the_first_picture_are_not_counted(tmp_path: Path) -> None:
    plain = write_movie(tmp_path / "plain.ts", range(20))
    with av.open(str(plain)) as read, av.open(str(tmp_path / "cut.ts"), "w") as written:
        copy = written.add_stream_from_template(read.streams.video[0])
        for packet in list(read.demux(video=0))[3:]:  # recording began in the middle of a group of pictures
            if packet.dts is not None:
                packet.stream = copy
                written.mux(packet)
    numbers = numbers_of(silent(tmp_path / "cut.ts"))
    assert numbers == list(range(numbers[0], 20)) and 0 < numbers[0] <= 6


@pytest.mark.parametrize(("transfer", "white"), [(16, 0.5807), (18, 0.75)])
def test_hdr_is_as_bright_as_the_same_picture_in_sdr(tmp_path: Path, transfer: int, white: float) -> None:
    """Diffuse white, 203 cd/m2, is code 0.58 of PQ and 0.75 of HLG (BT.2408)."""

    def mark(stream: Any) -> None:
        stream.codec_context.color_trc, stream.codec_context.color_primaries = transfer, 9
        stream.codec_context.colorspace, stream.codec_context.color_range = 9, 1

    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        mark(stream)
        luma = np.full((HEIGHT, WIDTH), round(64 + 876 * white), np.uint16)
        luma[:, WIDTH // 2 :] = 64
        chroma = np.full((HEIGHT // 2, WIDTH // 2), 512, np.uint16)
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p10le")
        for plane, values in zip(frame.planes, (luma, chroma, chroma), strict=True):
            rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
            rows[:, : values.shape[1]] = values
            plane.update(rows.tobytes())
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    notices: list[str] = []
    image = next(iter(open_footage(path, warn=notices.append))).image
    assert image[10, 10].min() > 225 and np.ptp(image[10, 10].astype(int)) < 6
    assert image[10, -10].max() < 6
    assert "dynamic range" in notices[0]


@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("libx264", "yuv420p10le"), ("ffv1", "yuv422p12le"), ("ffv1", "gbrp10le")]
)
def test_high_bit_depths_are_read_like_8_bits(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    footage = silent(write_movie(tmp_path / "a.mkv", range(3), codec=codec, pix_fmt=pix_fmt))
    for frame in footage:
        assert np.abs(frame.image.astype(int) - picture(frame.index)).mean() < 4


@pytest.mark.parametrize("matrix", [3, 8, 10, 14, 200])
def test_unknown_colour_spaces_are_shown_with_a_notice(tmp_path: Path, matrix: int) -> None:
    def declared(stream: Any) -> None:
        stream.codec_context.colorspace = matrix

    warnings: list[str] = []
    path = write_movie(tmp_path / "m.mp4", range(5), codec="mpeg2video", prepare=declared)
    footage = open_footage(path, warn=warnings.append)
    assert numbers_of(footage) == list(range(5))
    assert any("colours of an unknown kind" in text for text in warnings)


def test_transparent_parts_are_black(tmp_path: Path) -> None:
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgba"
        pixels = np.full((HEIGHT, WIDTH, 4), 200, np.uint8)
        pixels[:, : WIDTH // 2, 3], pixels[:, WIDTH // 2 :, 3] = 255, 0
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
        container.mux(stream.encode(None))
    image = next(iter(silent(path))).image
    assert image[5, 5].tolist() == [200, 200, 200]
    assert image[5, -5].tolist() == [0, 0, 0]


def test_a_movie_with_a_title_in_another_encoding_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_movie(path, range(3), container_options={"metadata_encoding": "latin-1"}, prepare=titled)
    assert b"caf\xe9" in path.read_bytes()
    assert numbers_of(silent(path)) == [0, 1, 2]


def titled(stream: Any) -> None:
    stream.container.metadata["title"] = "café"


@pytest.mark.parametrize(
    "name", [b"camB:take07.mp4", b"pipe:0.mp4", b"caf\xe9.mp4", b"12345678901234567890.mp4", b"50%.mp4"]
)
def test_any_movie_name_refers_to_that_file(
    tmp_path: Path, name: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    movie = write_movie(tmp_path / "plain.mp4", range(3))
    monkeypatch.chdir(tmp_path)
    try:
        movie.rename(os.fsdecode(name))
    except OSError:
        pytest.skip("this file system has no such names")
    assert numbers_of(silent(Path(os.fsdecode(name)))) == [0, 1, 2]


@pytest.mark.skipif(os.name == "nt", reason="made with what POSIX offers")
@pytest.mark.parametrize("kind", ["loop", "pipe", "device", "long", "pipe as picture", "folder as movie"])
def test_things_that_are_not_files_are_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.mp4"
    if kind == "loop":
        path.symlink_to(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "pipe as picture":
        path = tmp_path / "a_0001.png"
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "folder as movie":
        path.mkdir()
    else:
        path = tmp_path / f"{'a' * 300}.mp4"
    with pytest.raises(FootageError) as raised:
        open_footage(path)
    assert "\n" not in str(raised.value)


def test_a_movie_larger_than_allowed_is_refused_by_its_header(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mp4", range(3))
    with pytest.raises(FootageError, match="--max-pixels"):
        open_footage(path, limits=Limits(max_pixels=WIDTH * HEIGHT - 1))
    with pytest.raises(FootageError, match="--max-frames"):
        open_footage(path, limits=Limits(max_frames=2))
    assert len(open_footage(path, limits=Limits(max_pixels=WIDTH * HEIGHT, max_frames=3))) == 3


def test_a_movie_too_large_with_square_pixels_is_refused(tmp_path: Path) -> None:
    def stretch(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(2)

    path = write_movie(tmp_path / "a.mkv", range(2), prepare=stretch)
    with pytest.raises(FootageError, match="--max-pixels"):
        open_footage(path, warn=lambda text: None, limits=Limits(max_pixels=WIDTH * HEIGHT))


def test_the_reference_picture_is_read_as_written() -> None:
    assert [number_of(picture(n)) for n in range(32)] == list(range(32))
    assert cv2.imencode(".png", picture(0))[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.ffconcat", "ffconcat version 1.0\nfile a.mp4\n"),
        ("list.mp4", "ffconcat version 1.0\nfile a.mp4\n"),
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.mp4\n#EXT-X-ENDLIST\n"),
        (
            "list.mov",
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        ),
        (
            "stream.sdp",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        ),
        (
            "stream.mpd",
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
            'mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>a.mp4</BaseURL></Representation>'
            "</AdaptationSet></Period></MPD>",
        ),
        ("address.mp4", "rtsp://127.0.0.1/x\n"),
        ("titles.srt", "1\n00:00:00,000 --> 00:00:01,000\nhello\n"),
    ],
)
def test_playlists_are_not_movies(tmp_path: Path, name: str, text: str) -> None:
    write_movie(tmp_path / "a.mp4", range(3))
    (tmp_path / name).write_text(text)
    with pytest.raises(FootageError, match=name):
        open_footage(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mov", "prores_ks", "yuv422p10le"),
        ("b.mov", "prores_ks", "yuva444p10le"),
        ("c.webm", "libvpx-vp9", "yuv420p"),
        ("d.mts", "mpeg2video", "yuv420p"),
        ("e.flv", "flv1", "yuv420p"),
        ("f.wmv", "wmv2", "yuv420p"),
        ("g.mpg", "mpeg2video", "yuv420p"),
        ("h.nut", "ffv1", "yuv444p16le"),
        ("i.avi", "rawvideo", "yuv420p"),
        ("j.mov", "qtrle", "rgb24"),
        ("k.mxf", "mpeg2video", "yuv422p"),
    ],
)
def test_movies_of_cameras_and_editors_have_correct_frame_times(
    tmp_path: Path, name: str, codec: str, pix_fmt: str
) -> None:
    footage = silent(write_movie(tmp_path / name, range(8), codec=codec, pix_fmt=pix_fmt))
    assert numbers_of(footage) == list(range(8))
    assert times_of(footage) == pytest.approx([n / 25 for n in range(8)], abs=1e-3)
