# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of footage: limits, ranges, frames and facts."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import FootageError, RequestError
from inference_core.shared.json_record import shortened

Warn = Callable[[str], None]

_WITH_LAST = re.compile(r"(\d{1,18})-(\d{1,18})(?:x(\d{1,18}))?", re.ASCII)


@dataclass(frozen=True)
class Limits:
    """Limits on footage, checked against its headers before memory is allocated.

    max_pixels: of a picture. max_frames: of a movie or a sequence, missing ones included.
    """

    max_pixels: int = 64_000_000
    max_frames: int = 1_000_000

    def check_size(self, name: str, size_px: tuple[int, int]) -> None:
        """FootageError if a picture of that width and height is larger than allowed."""
        width, height = size_px
        if width < 1 or height < 1:
            raise FootageError(
                f"{name} does not declare its picture size: it is damaged, or of an unsupported format. "
                "Convert it to PNG, or to H.264 MP4."
            )
        if width * height > self.max_pixels:
            raise FootageError(
                f"{name} is {width}x{height}; pictures of up to {self.max_pixels} pixels are read. "
                "Make it smaller, or raise --max-pixels if that size is correct."
            )

    def check_count(self, name: str, count: int) -> None:
        """FootageError if there are more frames than allowed."""
        if count > self.max_frames:
            raise FootageError(
                f"{name} has more than {self.max_frames} frames. Cut it, or raise --max-frames."
            )


def limits_of(max_pixels: int | None, max_frames: int | None) -> Limits:
    """The default limits with these changes. RequestError for a limit that would reject everything."""
    given = {"max_pixels": max_pixels, "max_frames": max_frames}
    for name, value in given.items():
        if value is not None and value < 1:
            raise RequestError(f"{name} is {value}; a limit is 1 or more.")
    return Limits(**{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True)
class FrameRange:
    """Frame numbers from `start` up to, but excluding, `stop`, every `step`-th. None: the footage's own end.

    A movie's frames are numbered from 0; a sequence's frames have the numbers in their names.
    """

    start: int | None = None
    stop: int | None = None
    step: int = 1

    def within(self, first: int, last: int) -> range:
        """The selected numbers of footage with frames `first` to `last`, both included."""
        start = first if self.start is None else max(self.start, first + (self.start - first) % self.step)
        stop = last + 1 if self.stop is None else min(self.stop, last + 1)
        return range(start, max(stop, start), self.step)


@dataclass(frozen=True)
class Frame:
    """One frame: its number, its time in seconds from the footage's first frame, and its picture.

    image (H, W, 3) uint8 sRGB, upright; None where the frame is missing or cannot be read.
    """

    index: int
    time_s: float
    image: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Showing:
    """How the footage's own pictures were processed, so that they can be shown the same way beside the take.

    stored_px: width, height in the file; orientation: EXIF's number, 1 to 8; pixel_aspect: a pixel's width over its
    height. held: numbers of frames that the recorder dropped, which show the picture before them. differences: why
    Blender's reader, which does not do all of this, shows something else; empty if it shows the same.
    """

    stored_px: tuple[int, int] = (0, 0)
    orientation: int = 1
    pixel_aspect: float = 1.0
    deinterlaced: bool = False
    held: tuple[int, ...] = ()
    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class FootageInfo:
    """Facts about the footage that need no reading of all frames.

    name: as given. size_px: width, height, upright. fps: nominal. numbers: the picked frames' numbers.
    duration_s: of the whole footage. identity: changes when the footage on disk does.
    showing: how its own pictures become the frames. focal_35mm: the lens's 35 mm equivalent focal length, if the
    footage's metadata have it.
    """

    name: str
    kind: Literal["movie", "sequence", "still"]
    size_px: tuple[int, int]
    fps: float
    numbers: range
    duration_s: float
    identity: str
    showing: Showing = Showing()
    focal_35mm: float | None = None

    @property
    def count(self) -> int:
        """Number of frames that reading yields, missing ones included."""
        return len(self.numbers)

    @property
    def start(self) -> int:
        """Number of the first frame."""
        return self.numbers.start

    def as_json(self, plate: Path | None = None) -> dict[str, Any]:
        """What a take says of its footage (docs/take_format.md).

        plate: the movie of the processed frames, if Blender shows the footage differently.
        """
        return {
            "path": self.name,
            "kind": self.kind,
            "fps": self.fps,
            "first": self.numbers.start,
            "stop": self.numbers.stop,
            "step": self.numbers.step,
            "showing": asdict(self.showing),
            "plate": str(plate.absolute()) if plate else None,
        }


@dataclass(frozen=True)
class Footage:
    """Footage that can be read any number of times, frame by frame.

    Iterating yields one Frame for each number of `info.numbers`, in order. It raises FootageError if a
    picture differs in size from the first. time_s: of any frame that the file has, by its number, without reading it.
    """

    info: FootageInfo
    read: Callable[[Sequence[int]], Iterator[Frame]]
    time_s: Callable[[int], float]

    def __iter__(self) -> Iterator[Frame]:
        return self.read(self.info.numbers)

    def __len__(self) -> int:
        return self.info.count

    def at(self, positions: Sequence[int]) -> Iterator[Frame]:
        """The selected frames at these rising positions (not numbers); those between them cost only their decoding."""
        return self.read([self.info.numbers[position] for position in positions])


def footage_of_frames(frames: Sequence[Frame], fps: float) -> Footage:
    """Footage made of the given frames, all of one size, numbered from 0."""
    size_px = next(((f.image.shape[1], f.image.shape[0]) for f in frames if f.image is not None), (0, 0))
    numbers = range(len(frames))
    info = FootageInfo("frames", "sequence", size_px, fps, numbers, len(frames) / fps, "")
    return Footage(
        info, lambda wanted: (frames[number] for number in wanted), lambda number: frames[number].time_s
    )


def parse_frame_range(text: str) -> FrameRange:
    """The range that "A:B:STEP" (without B, each part may be left out) or "A-BxSTEP" (with B, as farms write it) means.

    RequestError if the text is not a range.
    """
    shown = repr(shortened(text))
    with_last = _WITH_LAST.fullmatch(text.strip())
    if with_last:
        first, last, step = (int(part) if part else 1 for part in with_last.groups())
        if last < first or step < 1:
            raise RequestError(f"Frame range {shown} is empty: its last frame comes before its first.")
        return FrameRange(first, last + 1, step)
    parts = text.split(":") if text.strip() else []
    if len(parts) == 1:
        raise RequestError(
            f"Frame range {shown} is one number. Write A:B (0:100, 0:100:2), or A-B with the last frame (1001-1100)."
        )
    try:
        numbers = [int(part) if part.strip() else None for part in parts]
    except ValueError as error:
        raise RequestError(f"Frame range {shown} is not A:B or A:B:STEP in whole numbers.") from error
    start, stop, step = ([*numbers, None, None, None])[:3]
    if len(numbers) > 3 or (step is not None and step < 1):
        raise RequestError(f"Frame range {shown} is not A:B or A:B:STEP with a step of 1 or more.")
    if start is not None and stop is not None and stop <= start:
        raise RequestError(
            f"Frame range {shown} is empty: B is the first frame left out, so it must exceed A."
        )
    return FrameRange(start, stop, step or 1)
