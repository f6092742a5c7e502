# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening footage of any kind from a path."""

import logging
import stat
from pathlib import Path

from inference_core.footage.movie import open_movie
from inference_core.footage.records import Footage, FootageInfo, FrameRange, Limits, Warn
from inference_core.footage.sequence import open_sequence
from inference_core.shared.errors import FootageError, RequestError
from inference_core.shared.picture_sequences import is_folder, is_pattern, is_picture

MIN_SIDE_PX = 32  # too small to show a hand

_EVERYTHING = FrameRange()
_LIMITS = Limits()
_log = logging.getLogger(__name__)


def open_footage(
    path: Path | str,
    frames: FrameRange = _EVERYTHING,
    fps: float | None = None,
    warn: Warn = _log.warning,
    limits: Limits = _LIMITS,
) -> Footage:
    """The footage at `path`: a movie, a still, a folder of numbered pictures, its first picture or a pattern.

    fps is for sequences (24 by default); a movie has its own times. `warn` is called for frames that are
    missing or damaged. FootageError if nothing can be used, RequestError for an invalid fps.
    """
    path = Path(path)
    if fps is not None and not 0 < fps < 10_000:
        raise RequestError(f"A frame rate of {fps} is not possible; give frames a second, such as 24.")
    if not is_pattern(path):
        _check_kind(path)
    if is_folder(path) or is_pattern(path) or is_picture(path):
        return _sequence_footage(path, frames, fps, warn, limits)
    return _movie_footage(path, frames, warn, limits)


def _check_kind(path: Path) -> None:
    """FootageError unless the path is a file or a folder: reading a pipe or a device could block forever."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise FootageError(f"There is no footage at {path}. Check the path.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FootageError(f"{path} cannot be opened: {reason}. Check the path.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise FootageError(f"{path} is neither a file nor a folder. Record it into a file first.")


def _sequence_footage(
    path: Path, frames: FrameRange, fps: float | None, warn: Warn, limits: Limits
) -> Footage:
    sequence = open_sequence(path, fps, limits, warn)
    info = FootageInfo(
        name=str(path),
        kind="still" if len(sequence.files) == 1 else "sequence",
        size_px=sequence.size_px,
        fps=sequence.fps,
        numbers=_picked(path, frames, sequence.first, sequence.last),
        duration_s=(sequence.last - sequence.first + 1) / sequence.fps,
        identity=sequence.identity(),
        showing=sequence.showing,
        focal_35mm=sequence.focal_35mm,
    )
    return _checked(Footage(info, sequence.read, lambda number: (number - sequence.first) / sequence.fps))


def _movie_footage(path: Path, frames: FrameRange, warn: Warn, limits: Limits) -> Footage:
    movie = open_movie(path, limits, warn)
    info = FootageInfo(
        name=str(path),
        kind="movie",
        size_px=movie.presentation.size_px,
        fps=movie.timeline.fps,
        numbers=_picked(path, frames, 0, movie.frame_count - 1),
        duration_s=movie.duration_s,
        identity=movie.identity(),
        showing=movie.showing,
        focal_35mm=movie.file.focal_35mm,
    )
    return _checked(Footage(info, movie.read, lambda number: float(movie.timeline.times_s[number])))


def _picked(path: Path, frames: FrameRange, first: int, last: int) -> range:
    numbers = frames.within(first, last)
    if not numbers:
        raise FootageError(f"{path} has the frames {first}..{last}; the range leaves none of them.")
    return numbers


def _checked(footage: Footage) -> Footage:
    width, height = footage.info.size_px
    if min(width, height) < MIN_SIDE_PX:
        raise FootageError(
            f"{footage.info.name} is {width}x{height}; nothing under {MIN_SIDE_PX} pixels can show a hand."
        )
    return footage
