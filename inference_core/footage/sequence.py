# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbered sequences of pictures, and stills, as frames."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.picture import read_picture
from inference_core.footage.records import Frame, Limits, Showing, Warn
from inference_core.shared.errors import FootageError
from inference_core.shared.picture_header import UPRIGHT, read_picture_header
from inference_core.shared.picture_sequences import LAST_FRAME, find_pictures, numbered_names

DEFAULT_FPS = 24.0  # a sequence has no frame rate; this is film's, and Blender's default


@dataclass(frozen=True)
class Sequence:
    """Picture files by number. `first` and `last` bound the numbers; gaps are missing frames."""

    files: Mapping[int, Path]
    fps: float
    size_px: tuple[int, int]
    limits: Limits
    warn: Warn

    @property
    def first(self) -> int:
        """The lowest number."""
        return min(self.files)

    @property
    def last(self) -> int:
        """The highest number."""
        return max(self.files)

    def read(self, numbers: Iterable[int]) -> Iterator[Frame]:
        """Yield a Frame for each number; its picture is None in gaps and for damaged files."""
        first = self.first
        for number in numbers:
            yield Frame(number, (number - first) / self.fps, self._picture(number))

    @property
    def focal_35mm(self) -> float | None:
        """The 35 mm equivalent focal length in the first picture, if it has one."""
        return read_picture_header(self.files[self.first]).focal_35mm

    @property
    def showing(self) -> Showing:
        """How the first picture is stored, and where Blender's reader would show something else."""
        first = self.files[self.first]
        header = read_picture_header(first)
        differences: list[str] = []
        if header.orientation != UPRIGHT:
            differences.append("its pictures are stored turned or flipped")
        elif header.shown_px != self.size_px:
            differences.append("its pixels are not square")
        if any(not _fills_display(path) for path in self.files.values()):
            differences.append("its pictures hold another part than the one to be shown")
        if self.last > LAST_FRAME:
            differences.append(f"its numbers exceed {LAST_FRAME}")
        if len(self.files) > 1 and not self._is_numbered_at_the_end(first):
            differences.append("its numbers are not the last ones in the names")
        return Showing(header.size_px, header.orientation, differences=tuple(differences))

    def _is_numbered_at_the_end(self, first: Path) -> bool:
        name = next(numbered_names(first.name), None)
        return name is not None and name.number == self.first

    def identity(self) -> str:
        """Hash of the files' names, sizes and modification times."""
        digest = hashlib.sha256()
        for number, path in sorted(self.files.items()):
            stat = path.stat()
            digest.update(os.fsencode(path) + f"|{number}|{stat.st_size}|{stat.st_mtime_ns}\n".encode())
        digest.update(f"{self.fps}".encode())
        return digest.hexdigest()

    def _picture(self, number: int) -> NDArray[np.uint8] | None:
        path = self.files.get(number)
        if path is None:
            return None
        try:
            image = read_picture(path, self.limits)
        except FootageError as error:
            self.warn(f"Frame {number} counts as missing: {error}")
            return None
        size = (image.shape[1], image.shape[0])
        if size != self.size_px:
            raise FootageError(
                f"The pictures differ in size: {path.name} is {size[0]}x{size[1]}, the first one is "
                f"{self.size_px[0]}x{self.size_px[1]}. Convert them to one size, or choose a single shot."
            )
        return image


def open_sequence(path: Path, fps: float | None, limits: Limits, warn: Warn) -> Sequence:
    """The sequence or the still at `path`. FootageError if there is none."""
    files = find_pictures(path)
    first, last = min(files), max(files)
    limits.check_count(str(path), last - first + 1)
    holes = last - first + 1 - len(files)
    if holes:
        warn(f"{holes} of the frames {first}..{last} are missing from the sequence {path}.")
    size_px = _first_size(files, path, limits)
    if read_picture_header(files[first]).is_animated:
        warn(
            f"{files[first].name} is an animation, of which only the first picture is read. "
            "Convert it to MP4 to read all of it."
        )
    return Sequence(files, fps or DEFAULT_FPS, size_px, limits, warn)


def _fills_display(path: Path) -> bool:
    """Whether a picture is not a readable EXR, or holds exactly the pixels of its display window."""
    if path.suffix.lower() != ".exr":
        return True
    try:
        return read_picture_header(path).fills_display
    except FootageError:
        return True


def _first_size(files: Mapping[int, Path], path: Path, limits: Limits) -> tuple[int, int]:
    reason = ""
    for file in files.values():
        try:
            image = read_picture(file, limits)
        except FootageError as error:
            reason = reason or str(error)
            continue
        return image.shape[1], image.shape[0]
    if len(files) == 1:
        raise FootageError(reason)
    raise FootageError(f"None of the pictures of {path} can be read. The first: {reason}")
