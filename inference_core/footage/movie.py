# SPDX-License-Identifier: GPL-3.0-or-later
"""Movies read with PyAV, as frames that can be accessed from anywhere and in any range."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av.error
import numpy as np
from numpy.typing import NDArray

from inference_core.footage.container import MovieFile, decoded, open_movie_file, read_sample, readable
from inference_core.footage.orientation import UPRIGHT
from inference_core.footage.presentation import Presentation, presentation_of
from inference_core.footage.records import Frame, Limits, Showing, Warn
from inference_core.footage.timeline import Timeline, read_timeline
from inference_core.shared.errors import FootageError

# bpy.path.extensions_movie, 4.2 to 5.2.
_BLENDERS_SUFFIXES = (
    *(
        ".avi",
        ".avs",
        ".divx",
        ".dv",
        ".flc",
        ".flv",
        ".gif",
        ".m2t",
        ".m2ts",
        ".m2v",
        ".m4v",
        ".mkv",
        ".mov",
    ),
    *(
        ".movie",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mpg2",
        ".mts",
        ".mv",
        ".mxf",
        ".ogg",
        ".ogv",
        ".r3d",
        ".ts",
        ".vob",
    ),
    *(".webm", ".wmv", ".xvid"),
)


# How many frames before the first wanted one to seek, in turn, until a picture comes that is early enough: MPEG-TS
# seeks into the middle of a group of pictures, and an open group's first pictures need the group before.
# Two, as deinterlacing a field takes the pictures on both sides of it.
_SEEK_BACK = (2, 20, 80, 320)


@dataclass(frozen=True)
class Movie:
    """A movie whose packets have been listed: frame n is the n-th in order of presentation."""

    file: MovieFile
    timeline: Timeline
    presentation: Presentation
    warn: Warn

    @property
    def frame_count(self) -> int:
        """Number of frames, dropped ones included."""
        return len(self.timeline.pictures)

    @property
    def duration_s(self) -> float:
        """From the first frame's time to the end of the last one's."""
        return self.timeline.times_s[-1] + 1 / self.timeline.fps

    @property
    def showing(self) -> Showing:
        """How the pictures were processed, and where Blender's reader would show something else."""
        shown, timeline = self.presentation, self.timeline
        return Showing(
            stored_px=shown.stored_px,
            orientation=shown.orientation,
            pixel_aspect=shown.pixel_aspect,
            deinterlaced=bool(shown.fields),
            held=timeline.held,
            differences=tuple(self._differences()),
        )

    def _differences(self) -> Iterator[str]:
        if not self.file.is_first:
            yield "the movie is not the file's first picture"
        if self.presentation.orientation != UPRIGHT:
            yield "it is stored turned or flipped"
        if self.presentation.square_px != self.presentation.stored_px:
            yield "its pixels are not square"
        if self.presentation.fields:
            yield "it is interlaced"
        if self.file.path.suffix.lower() not in _BLENDERS_SUFFIXES:
            yield f"Blender takes no {self.file.path.suffix or 'file without a suffix'} for a movie"
        if not self.timeline.has_times or not self.timeline.is_even:
            yield "the file does not tell its frames' times, order and length, or they are uneven"

    def identity(self) -> str:
        """Hash of the file's name, size and modification time."""
        path = self.file.path
        stat = path.stat()
        name = os.fsencode(path.absolute())
        return hashlib.sha256(name + f"|{stat.st_size}|{stat.st_mtime_ns}".encode()).hexdigest()

    def read(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """Yield a Frame for each of the rising numbers; its picture is None if it cannot be decoded."""
        if numbers:
            with readable(self.file.path):
                yield from self._frames(numbers)

    def _frames(self, numbers: Sequence[int]) -> Iterator[Frame]:
        found = self._whole_frames(numbers[0])
        at, frame = next(found, (None, None))
        image: NDArray[np.uint8] | None = None
        drawn: int | None = None
        for number in numbers:
            due = self.timeline.pictures[number]
            while at is not None and at < due:
                at, frame = next(found, (None, None))
            if drawn != due:
                image, drawn = (self._image(frame) if at == due else None), due
            if image is None:
                self.warn(f"{self.file.path.name}: frame {number} cannot be decoded and counts as missing.")
            yield Frame(number, self.timeline.times_s[number], image)

    def _whole_frames(self, first: int) -> Iterator[tuple[int, Any]]:
        """Pictures with their times, from the one of frame `first` or a little before it."""
        pictures = self.timeline.pictures
        for back in _SEEK_BACK:
            if not (self.timeline.has_times and self.file.can_seek) or first < back:
                break
            found = self._decoded_from(pictures[first - back])
            start = next(found, None)
            if start is not None and start[0] <= pictures[first - _SEEK_BACK[0]]:
                yield start
                yield from found
                return
        yield from self._decoded_from(None)

    def _decoded_from(self, tick: int | None) -> Iterator[tuple[int, Any]]:
        """Pictures with their times, from where the container seeks to for that one; all of them for None."""
        with self.file.opened() as container:
            stream = self.file.stream_of(container)
            if tick is not None:
                try:
                    container.seek(tick, stream=stream)
                except av.error.FFmpegError:
                    return
            frames = self.presentation.whole_frames(decoded(container, stream))
            for place, (time, frame) in enumerate(frames):
                if not self.timeline.has_times:
                    yield place, frame
                elif time is not None:
                    yield time, frame

    def _image(self, frame: Any) -> NDArray[np.uint8] | None:
        """The frame's picture; None if it cannot be converted. FootageError if its size is another."""
        size, stored = (frame.width, frame.height), self.presentation.stored_px
        if size != stored:
            raise FootageError(
                f"The picture of {self.file.path} changes its size from {stored[0]}x{stored[1]} to "
                f"{size[0]}x{size[1]} partway. Convert the movie to one size."
            )
        try:
            return self.presentation.image(frame)
        except av.error.FFmpegError:
            return None


def open_movie(path: Path, limits: Limits, warn: Warn) -> Movie:
    """The movie at `path`, its packets listed and its beginning decoded. FootageError if it is none."""
    with readable(path):
        return _movie(path, limits, warn)


def _movie(path: Path, limits: Limits, warn: Warn) -> Movie:
    file, packets, broke_off = open_movie_file(path, limits)
    sample = read_sample(file)
    with file.opened() as container:
        pixel_aspect = file.stream_of(container).sample_aspect_ratio
    presentation = presentation_of(sample, pixel_aspect)
    limits.check_size(str(path), presentation.square_px)
    timeline = read_timeline(file, packets, sample, broke_off)
    limits.check_count(str(path), len(timeline.pictures))
    if timeline.damage:
        warn(f"{path.name} is {timeline.damage}.")
    for text in presentation.notices(path.name):
        warn(text)
    return Movie(file, timeline, presentation, warn)
