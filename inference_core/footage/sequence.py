# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbered sequences and stills: a folder, a first file, or a pattern (shot_####.png, shot_%04d.png)."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from inference_core.footage.picture import PICTURE_SUFFIXES, read_picture
from inference_core.footage.records import Frame, Warn
from inference_core.shared.errors import FootageError

DEFAULT_FPS = 24.0  # a sequence says nothing of its rate; this is film's, and Blender's default

# More holes than this are two sequences in one name, or dates taken for numbers.
_MOST_HOLES_A_FILE = 100

_NUMBERED = re.compile(r"^(?P<prefix>.*?)(?P<number>\d+)(?P<suffix>\D*)$")
_PATTERN = re.compile(r"(#+|%0?(\d*)d)")


@dataclass(frozen=True)
class Sequence:
    """Picture files by number. `first` and `last` bound the numbers; holes are frames that are missing."""

    files: Mapping[int, Path]
    fps: float
    size_px: tuple[int, int]
    warn: Warn

    @property
    def first(self) -> int:
        """The lowest number."""
        return min(self.files)

    @property
    def last(self) -> int:
        """The highest number."""
        return max(self.files)

    def read(self, numbers: range) -> Iterator[Frame]:
        """Yield a Frame a number; the picture is None in holes and where a file is damaged."""
        first = self.first
        for number in numbers:
            yield Frame(number, (number - first) / self.fps, self._picture(number))

    def identity(self) -> str:
        """Hash of the files' names, sizes and times of change."""
        digest = hashlib.sha256()
        for number, path in sorted(self.files.items()):
            stat = path.stat()
            digest.update(f"{number}|{path}|{stat.st_size}|{stat.st_mtime_ns}\n".encode())
        digest.update(f"{self.fps}".encode())
        return digest.hexdigest()

    def _picture(self, number: int):
        path = self.files.get(number)
        if path is None:
            return None
        try:
            image = read_picture(path)
        except FootageError as error:
            self.warn(f"Frame {number} counts as missing: {error}")
            return None
        size = (image.shape[1], image.shape[0])
        if size != self.size_px:
            raise FootageError(
                f"The pictures differ in size: {path.name} is {size[0]}x{size[1]}, the first one is "
                f"{self.size_px[0]}x{self.size_px[1]}. Bring them to one size, or name one shot only."
            )
        return image


def open_sequence(path: Path, fps: float | None, warn: Warn) -> Sequence:
    """The sequence, or the still, that `path` means. FootageError where it means none."""
    files = _files(path)
    numbers = sorted(files)
    holes = numbers[-1] - numbers[0] + 1 - len(numbers)
    if holes > _MOST_HOLES_A_FILE * len(numbers):
        raise FootageError(
            f"{path}: the numbers {numbers[0]}..{numbers[-1]} of {len(numbers)} pictures are no sequence. "
            "Give a pattern such as shot_####.png."
        )
    if holes:
        warn(f"{holes} of the frames {numbers[0]}..{numbers[-1]} are missing from the sequence {path}.")
    return Sequence(files, fps or DEFAULT_FPS, _first_size(files, path, warn), warn)


def is_pattern(path: Path) -> bool:
    """Whether the name is a pattern (#### or %04d) and no file of that name."""
    return _PATTERN.search(path.name) is not None and not path.exists()


def _files(path: Path) -> dict[int, Path]:
    if path.is_dir():
        return _folder_files(path)
    if is_pattern(path):
        return _pattern_files(path)
    return _files_from_first(path)


def _first_size(files: Mapping[int, Path], path: Path, warn: Warn) -> tuple[int, int]:
    reasons: list[str] = []
    for number in sorted(files):
        try:
            image = read_picture(files[number])
        except FootageError as error:
            reasons.append(str(error))
            continue
        return image.shape[1], image.shape[0]
    raise FootageError(f"None of the pictures of {path} can be read. The first: {reasons[0]}")


def _folder_files(folder: Path) -> dict[int, Path]:
    pictures = [file for file in _listing(folder) if file.suffix.lower() in PICTURE_SUFFIXES]
    if not pictures:
        kinds = ", ".join(suffix[1:] for suffix in PICTURE_SUFFIXES)
        raise FootageError(
            f"The folder {folder} holds no pictures ({kinds}). Choose the folder of the frames."
        )
    if len(pictures) == 1:
        return {_number(pictures[0]): pictures[0]}
    sequences: dict[tuple[str, str], dict[int, Path]] = {}
    for picture in pictures:
        match = _NUMBERED.match(picture.name)
        if match:
            sequences.setdefault((match["prefix"], match["suffix"]), {})[int(match["number"])] = picture
    several = [files for files in sequences.values() if len(files) > 1]
    if len(several) == 1:
        return several[0]
    found = ", ".join(f"{prefix}#{suffix}" for prefix, suffix in list(sequences)[:4]) or pictures[0].name
    raise FootageError(
        f"The folder {folder} holds {len(several) or 'no'} numbered sequences ({found}). "
        "Name the first picture of one, or a pattern such as shot_####.png."
    )


def _pattern_files(pattern: Path) -> dict[int, Path]:
    matches = list(_PATTERN.finditer(pattern.name))
    if len(matches) > 1:
        raise FootageError(f"The pattern {pattern.name} has more than one place for the number; leave one.")
    match = matches[0]
    width = int(match[2] or 0) if match[2] is not None else len(match[1])
    before, after = re.escape(pattern.name[: match.start()]), re.escape(pattern.name[match.end() :])
    name = re.compile(f"^{before}(\\d{{{max(width, 1)},}}){after}$", re.IGNORECASE)
    if not pattern.parent.is_dir():
        raise FootageError(f"There is no folder {pattern.parent}. Check the path.")
    found = {int(hit[1]): file for file in _listing(pattern.parent) if (hit := name.match(file.name))}
    if not found:
        raise FootageError(
            f"No picture in {pattern.parent} matches {pattern.name}. Check the name and the number."
        )
    return found


def _files_from_first(path: Path) -> dict[int, Path]:
    """The file and those that follow it, where its neighbour by number is there; else the file as a still."""
    match = _NUMBERED.match(path.name)
    if match is None:
        return {0: path}
    first = int(match["number"])
    padded = len(match["number"]) >= 3
    siblings: dict[int, Path] = {first: path}
    for file in _listing(path.parent):
        other = _NUMBERED.match(file.name)
        if other and (other["prefix"], other["suffix"]) == (match["prefix"], match["suffix"]):
            number = int(other["number"])
            if number > first:
                siblings[number] = file
    # face1.jpg beside face5.jpg is a still; shot_0001.png beside shot_0005.png is a sequence with holes.
    return siblings if padded or first + 1 in siblings else {first: path}


def _listing(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_file())
    except OSError as error:
        raise FootageError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error
    return [folder / name for name in names if not name.startswith(".")]


def _number(path: Path) -> int:
    match = _NUMBERED.match(path.name)
    return int(match["number"]) if match else 0
