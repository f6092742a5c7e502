# SPDX-License-Identifier: GPL-3.0-or-later
"""Movie files opened with PyAV, and the choice of the stream that is the movie."""

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
from av.stream import Disposition

from inference_core.footage.records import Limits
from inference_core.footage.sample_tables import check_sample_tables
from inference_core.shared.errors import FootageError

# Pictures about the movie (covers, thumbnails) and parts of a picture (tiles), not the movie itself.
_SIDE_PICTURES = (
    Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image | Disposition.dependent
)

# Where recorders write the focal length as on 35 mm film.
_FOCAL_35MM = (
    "com.apple.quicktime.camera.focal_length.35mm_equivalent",
    "camera.focal_length.35mm_equivalent",
)

# Formats of movies and of rarer pictures. FFmpeg's other formats are lists of further files and addresses
# (HLS, DASH, concat, SDP), which an untrusted movie must not open, or text, sound and game data.
_FORMATS = """
    3g2 3gp apng asf av1 avi cavsvideo dhav dirac dnxhd dv flv gif gxf h261 h263 h264 hevc ivf live_flv lmlm4 lxf m4v
    matroska mjpeg mov mp4 mpeg mpegts mpegvideo mpjpeg mxf nut nuv obu ogg pva rm ser ty vc1 vc1test vvc webm wtv
    yuv4mpegpipe
    bmp_pipe gif_pipe j2k_pipe jpeg_pipe jpegls_pipe jpegxl_anim jpegxl_pipe pam_pipe pbm_pipe pgm_pipe
    png_pipe ppm_pipe psd_pipe qoi_pipe sgi_pipe tiff_pipe webp webp_pipe
    """.split()  # noqa: SIM905 (sixty names read better without quotes)

# MPEG's program streams: not every frame has a time, and FFmpeg guesses others from another beginning.
_GUESSED_TIMES = ("mpeg",)

# A stream this much shorter than the longest is a trailer or a few thumbnails.
_LONG_ENOUGH = 0.5

# This many packets are decoded to inspect the frames. A packet may hold a field or a hidden frame instead.
_SAMPLE_PACKETS = 20


@dataclass(frozen=True)
class MovieFile:
    """Where the movie is: the file, its stream's index, whether that is the first picture stream, and the limits.

    can_seek: whether frames have the same times after seeking.
    focal_35mm: the 35 mm equivalent focal length in its metadata; None if there is none.
    """

    path: Path
    stream: int
    is_first: bool
    can_seek: bool
    limits: Limits
    focal_35mm: float | None

    def opened(self) -> Any:
        """A newly opened container; close it, or use it as a context manager."""
        return _opened(self.path, self.limits)

    def stream_of(self, container: Any) -> Any:
        """The movie's stream in a container opened by this class."""
        return container.streams[self.stream]


@dataclass(frozen=True)
class Packet:
    """A packet in the listing: its presentation time, decoding time and duration in ticks, and its size in bytes."""

    pts: int | None
    dts: int | None
    duration: int
    size: int
    is_discarded: bool
    is_corrupt: bool


@dataclass(frozen=True)
class Sample:
    """The movie's beginning, decoded.

    first: its first frame. times: presentation times of the frames that came. has_fields: whether any is interlaced.
    field_order: as the stream declares it (FFmpeg's AVFieldOrder). failed: whether any packet did not decode.
    """

    first: Any
    times: frozenset[int | None]
    has_fields: bool
    field_order: int
    codec: str
    failed: bool


@contextlib.contextmanager
def readable(path: Path) -> Generator[None]:
    """FootageError for whatever FFmpeg or the disk raises within. May stand around a generator's whole body."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        raise FootageError(
            f"{path} cannot be read ({error.strerror or error}). "
            "Check that it plays, or convert it to H.264 MP4 or a PNG sequence."
        ) from error


def open_movie_file(path: Path, limits: Limits) -> tuple[MovieFile, list[Packet], bool]:
    """The movie in the file, its packets in the order of the file, and whether the file is truncated.

    FootageError if there is none, or none within the limits.
    """
    check_sample_tables(path)
    with _opened(path, limits) as container:
        movies = _movie_streams(container, path)
        packets, broke_off = _listed(container, movies, path, limits)
        chosen = _the_movie(movies, packets)
        limits.check_size(str(path), (chosen.codec_context.width, chosen.codec_context.height))
        first = container.streams.video[0].index
        can_seek = container.format.name not in _GUESSED_TIMES
        focal_35mm = _focal_35mm(container, chosen)
        movie = MovieFile(path, chosen.index, chosen.index == first, can_seek, limits, focal_35mm)
        return movie, packets[chosen.index], broke_off


def _movie_streams(container: Any, path: Path) -> list[Any]:
    """The streams that may be the movie; in a file without any, its stills. FootageError if there are none."""
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]
    if not streams:
        raise FootageError(
            f"{path} holds no picture that can be read ({_contents(container)}). "
            "Check that it is the movie, and complete."
        )
    if movies := [stream for stream in streams if not stream.disposition & _SIDE_PICTURES]:
        return movies
    if any(stream.disposition & Disposition.dependent for stream in streams):
        raise FootageError(
            f"{path} is a picture in tiles, as phones store HEIC and AVIF, which is not read. "
            "Convert it to JPEG or PNG."
        )
    if stills := [stream for stream in streams if stream.disposition & Disposition.still_image]:
        return stills
    raise FootageError(f"{path} holds a cover or thumbnails, but no movie. Give the movie itself.")


def read_sample(file: MovieFile) -> Sample:
    """The result of decoding the movie's beginning. FootageError if nothing can be decoded."""
    first: Any = None
    times: set[int | None] = set()
    interlaced = failed = False
    with file.opened() as container:
        stream = file.stream_of(container)
        for count, packet in enumerate(_packets_to_the_end(container, stream)):
            last = None if count >= _SAMPLE_PACKETS and first is not None else packet
            try:
                frames = stream.decode(last) if _is_for_the_decoder(last) else []
            except av.error.FFmpegError:
                failed, frames = True, []
            for frame in frames:
                first = frame if first is None else first
                times.add(frame.pts)
                interlaced = interlaced or bool(frame.interlaced_frame)
            if last is None:
                break
        field_order, codec = stream.codec_context.field_order, stream.codec_context.name
    if first is None:
        raise FootageError(
            f"{file.path} holds no frame that can be decoded. Export it again, for example as H.264."
        )
    return Sample(first, frozenset(times), interlaced, field_order, codec, failed)


def _focal_35mm(container: Any, stream: Any) -> float | None:
    metadata = {**container.metadata, **stream.metadata}
    focal_mm = next((metadata[name] for name in _FOCAL_35MM if name in metadata), "")
    try:
        return float(focal_mm)
    except ValueError:
        return None


def decoded(container: Any, stream: Any) -> Iterator[Any]:
    """The stream's decodable frames, from the container's current position."""
    stream.thread_type = "AUTO"
    for packet in _packets_to_the_end(container, stream):
        # A packet that cannot be decoded costs its own frames.
        if _is_for_the_decoder(packet):
            with contextlib.suppress(av.error.FFmpegError):
                yield from stream.decode(packet)


def _packets_to_the_end(container: Any, stream: Any) -> Iterator[Any]:
    """The stream's packets up to the end of the file or its truncation, then the one that flushes the decoder."""
    packets = container.demux(stream)
    while True:
        try:
            yield next(packets)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError):
            yield None
            return


def _is_for_the_decoder(packet: Any) -> bool:
    """An empty packet with a time is a dropped frame; the decoder would take it for the end of the stream."""
    return packet is None or packet.size > 0 or packet.pts is None


def _opened(path: Path, limits: Limits) -> Any:
    try:
        # Absolute: FFmpeg reads anything before a colon as a protocol. Tags are not used here,
        # so one in another encoding must not keep the movie from being read.
        return av.open(
            str(path.absolute()),
            options={
                "fflags": "+genpts",
                "max_pixels": str(limits.max_pixels),
                "format_whitelist": ",".join(_FORMATS),
                "protocol_whitelist": "file",
            },
            metadata_errors="replace",
        )
    except av.error.ArgumentError as error:
        raise FootageError(
            f"{path} is not a movie or a picture of a kind that is read: it is text, sound, a list of other files, or "
            "a rarer kind. Give the movie itself, or convert it to H.264 MP4 or PNG."
        ) from error
    except (av.error.FFmpegError, OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FootageError(
            f"{path} is neither a movie nor a picture that can be read ({reason}). "
            "Check that it plays, or convert it to H.264 MP4 or a PNG sequence."
        ) from error


def _listed(
    container: Any, streams: list[Any], path: Path, limits: Limits
) -> tuple[dict[int, list[Packet]], bool]:
    packets: dict[int, list[Packet]] = {stream.index: [] for stream in streams}
    found, broke_off = container.demux(streams), False
    while True:
        try:
            packet = next(found, None)
        except (av.error.FFmpegError, OSError):
            broke_off = True
            break
        if packet is None:
            break
        if packet.size == 0 and packet.pts is None:
            continue
        kept = packets[packet.stream_index]
        kept.append(
            Packet(
                packet.pts,
                packet.dts,
                packet.duration or 0,
                packet.size,
                packet.is_discard,
                packet.is_corrupt,
            )
        )
        limits.check_count(str(path), len(kept))
    return packets, broke_off


def _the_movie(streams: list[Any], packets: dict[int, list[Packet]]) -> Any:
    """Of the streams of full length, the largest; then the one that players choose, then the first."""

    def length_s(stream: Any) -> float:
        times = [packet.pts for packet in packets[stream.index] if packet.pts is not None]
        return (max(times) - min(times)) * float(stream.time_base) if len(times) > 1 else 0.0

    longest = max(length_s(stream) for stream in streams)
    lasting = [stream for stream in streams if length_s(stream) >= _LONG_ENOUGH * longest]
    return max(
        lasting, key=lambda item: (_area(item), bool(item.disposition & Disposition.default), -item.index)
    )


def _area(stream: Any) -> int:
    return stream.codec_context.width * stream.codec_context.height


def _contents(container: Any) -> str:
    kinds = sorted({stream.type for stream in container.streams})
    return f"it holds {', '.join(kinds)}" if kinds else "its index is missing"
