# SPDX-License-Identifier: GPL-3.0-or-later
"""Movies by PyAV: true timestamps, variable rates, the rotation flag, and what is left of damaged files."""

import bisect
import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Frame, Warn
from inference_core.shared.errors import FootageError

# Without a timestamp or a rate in the file. Raw streams only.
_FALLBACK_FPS = 25.0

# Durations in headers are off by this much in whole files: the last frame's own length, a delay of B frames.
_SLACK_FRAMES = 3


@dataclass(frozen=True)
class Movie:
    """A movie whose packets have been listed: frame n is the n-th in order of presentation.

    pts: presentation times in units of time_base_s, increasing; None where the file holds none.
    rotation: quarter turns counter-clockwise that set the picture upright. size_px: upright.
    """

    path: Path
    pts: tuple[int, ...] | None
    time_base_s: float
    frame_count: int
    fps: float
    size_px: tuple[int, int]
    rotation: int
    warn: Warn

    @property
    def duration_s(self) -> float:
        """From the first frame's time to the end of the last one's."""
        return self.time_s(self.frame_count - 1) + 1 / self.fps

    def time_s(self, number: int) -> float:
        """Seconds from the first frame to frame `number`."""
        if self.pts is None:
            return number / self.fps
        return (self.pts[number] - self.pts[0]) * self.time_base_s

    def identity(self) -> str:
        """Hash of the file's name, size and time of change."""
        stat = self.path.stat()
        text = f"{self.path.absolute()}|{stat.st_size}|{stat.st_mtime_ns}"
        return hashlib.sha256(text.encode()).hexdigest()

    def read(self, numbers: range) -> Iterator[Frame]:
        """Yield a Frame a number; the picture is None where the frame cannot be decoded."""
        if not numbers:
            return
        wanted = iter(numbers)
        due = next(wanted, None)
        for number, frame in self._decoded(numbers[0]):
            while due is not None and due < number:
                yield self._missing(due)
                due = next(wanted, None)
            if due is None:
                return
            if due == number:
                yield Frame(number, self.time_s(number), self._image(frame))
                due = next(wanted, None)
        while due is not None:
            yield self._missing(due)
            due = next(wanted, None)

    def _missing(self, number: int) -> Frame:
        self.warn(f"{self.path.name}: frame {number} cannot be decoded and counts as missing.")
        return Frame(number, self.time_s(number), None)

    def _decoded(self, first: int) -> Iterator[tuple[int, Any]]:
        """Decoded frames with their numbers, from frame `first` or a little before it."""
        with _opened(self.path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if self.pts is not None and first > 0:
                container.seek(self.pts[first], stream=stream)
            for count, frame in enumerate(_decode_what_can_be(container, stream)):
                number = count if self.pts is None else self._number(frame.pts)
                if number is not None and number >= first:
                    yield number, frame

    def _number(self, pts: int | None) -> int | None:
        assert self.pts is not None
        if pts is None:
            return None
        place = bisect.bisect_left(self.pts, pts)
        return place if place < len(self.pts) and self.pts[place] == pts else None

    def _image(self, frame: Any) -> NDArray[np.uint8]:
        image = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), self.rotation))
        size = (image.shape[1], image.shape[0])
        if size != self.size_px:
            raise FootageError(
                f"The picture of {self.path} changes its size from {self.size_px[0]}x{self.size_px[1]} to "
                f"{size[0]}x{size[1]} on the way. Convert the movie to one size."
            )
        return image


def open_movie(path: Path, warn: Warn) -> Movie:
    """The movie at `path`, its packets listed and its first frame decoded. FootageError where it is none."""
    with _opened(path) as container:
        stream = container.streams.video[0]
        promised, promised_s = stream.frames, _promised_duration_s(container, stream)
        time_base_s = float(stream.time_base or 0)
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        pts, packets, damaged = _listed(container, stream)
        anamorphic = stream.sample_aspect_ratio not in (None, 0, 1)
    if pts is not None and fps <= 0:
        span = (pts[-1] - pts[0]) * time_base_s
        fps = (len(pts) - 1) / span if span > 0 else 0.0
    with _opened(path) as container:
        stream = container.streams.video[0]
        first = next(_decode_what_can_be(container, stream), None)
    if first is None:
        raise FootageError(
            f"{path} holds no frame that can be decoded. Export it again, for example as H.264."
        )
    count = len(pts) if pts is not None else packets
    if pts is not None and fps > 0:
        found_s = (pts[-1] - pts[0]) * time_base_s + 1 / fps
        damaged = damaged or found_s < promised_s - max(_SLACK_FRAMES / fps, 0.02 * promised_s)
        promised = max(promised, round(promised_s * fps)) if damaged else promised
    if damaged or count < promised:
        warn(f"{path.name} is cut short or damaged: {count} of {max(promised, count)} frames can be read.")
    if anamorphic:
        warn(f"{path.name} has pixels that are not square; they are taken as square.")
    turns = round(first.rotation / 90) % 4
    size = (first.width, first.height) if turns % 2 == 0 else (first.height, first.width)
    return Movie(path, pts, time_base_s, count, fps or _FALLBACK_FPS, size, turns, warn)


def _opened(path: Path) -> Any:
    try:
        container = av.open(str(path), options={"fflags": "+genpts"})
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FootageError(
            f"{path} is neither a movie nor a picture that can be read ({reason}). "
            "Check that it plays, or convert it to H.264 MP4 or a PNG sequence."
        ) from error
    if not container.streams.video:
        container.close()
        raise FootageError(
            f"{path} holds no picture that can be read ({_contents(container)}). Is it the movie, and whole?"
        )
    return container


def _contents(container: Any) -> str:
    kinds = sorted({stream.type for stream in container.streams})
    return f"it holds {', '.join(kinds)}" if kinds else "its index is missing"


def _promised_duration_s(container: Any, stream: Any) -> float:
    """How long the file says that its picture lasts; 0 where it does not say."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION", "")  # Matroska's
    try:
        hours, minutes, seconds = (float(part) for part in tag.split(":"))
    except ValueError:
        alone = len(container.streams) == 1
        return container.duration / av.time_base if alone and container.duration else 0.0
    return hours * 3600 + minutes * 60 + seconds


def _listed(container: Any, stream: Any) -> tuple[tuple[int, ...] | None, int, bool]:
    """Presentation times of all packets in order, how many packets there are, and whether any is damaged."""
    times: list[int | None] = []
    damaged = False
    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                times.append(packet.pts)
                damaged = damaged or packet.is_corrupt
    except (av.error.FFmpegError, OSError):
        damaged = True
    known = [time for time in times if time is not None]
    if not known or len(known) < len(times):
        return None, len(times), damaged
    return tuple(sorted(set(known))), len(times), damaged


def _decode_what_can_be(container: Any, stream: Any) -> Iterator[Any]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, OSError):
            packet = None
        # A packet that cannot be decoded costs its own frames; `read` says which. After the last one, None
        # empties the decoder of the frames that it holds back.
        with contextlib.suppress(av.error.FFmpegError):
            yield from stream.decode(packet)
        if packet is None or packet.size == 0:
            return
