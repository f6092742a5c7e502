# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pictures belong together: a folder, a first file, or a pattern (shot_####.png, shot_%04d.png), by their names.

The number of a frame is the group of digits that counts: the last one, unless another has more neighbours
(shot_0001_v2.png). Standard library only: the core, the panel and the plate all use this file.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from inference_core.shared.errors import FootageError
from inference_core.shared.picture_header import read_picture_header

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".exr", ".webp", ".bmp", ".dpx", ".cin")

# More gaps than this mean two sequences under one name, or dates taken for numbers.
_MOST_HOLES_A_FILE = 100
_MOST_ENTRIES = 1_000_000  # of a folder

LAST_FRAME = 1_048_574  # the highest that Blender knows, on either side of 0

# Longer digit groups are part of the name, not frame numbers (which they would overflow).
_MOST_DIGITS = 18
_MOST_GROUPS = 16  # of digits in a name; each would be tried against each file of the folder
_PADDED = 3  # with this many digits, a lone number is more likely a frame's than a name's

_WIDEST_STEP = 10  # largest step of a sequence that has only every n-th frame

_DIGITS = re.compile(r"\d+", re.ASCII)
_PATTERN = re.compile(r"#+|%0?(\d*)d", re.ASCII)


@dataclass(frozen=True)
class NumberedName:
    """A picture's name split at one group of digits."""

    before: str
    digits: str
    after: str

    @property
    def number(self) -> int:
        """The value of the digits."""
        return int(self.digits)

    @property
    def series(self) -> tuple[str, str]:
        """What the names of one sequence have in common."""
        return self.before, self.after


def find_pictures(path: Path) -> Mapping[int, Path]:
    """The files by number, in order, of the sequence or still at `path`; a still without number is 0.

    A first file stands for itself and those that follow it. FootageError if the path matches nothing, or is ambiguous.
    """
    if is_folder(path):
        files = _folder_files(path)
    elif is_pattern(path):
        files = _pattern_files(path)
    else:
        files = _files_from_first(path)
    numbers = sorted(files)
    holes = numbers[-1] - numbers[0] + 1 - len(numbers)
    if holes > _MOST_HOLES_A_FILE * len(numbers):
        raise FootageError(
            f"{path}: the numbers {numbers[0]}..{numbers[-1]} of {len(numbers)} pictures are not a sequence. "
            "Give a pattern such as shot_####.png."
        )
    return {number: files[number] for number in numbers}


def first_pictures(folder: Path) -> list[Path]:
    """The first picture of each sequence in the folder, and each still, by name. FootageError if it cannot be read."""
    pictures = [file for file in _listing(folder) if is_picture(file)]
    firsts = [file for file in pictures if next(numbered_names(file.name), None) is None]
    for files in _sequences(pictures).values():
        series = [files[number] for number in sorted(files)]
        while series:
            firsts.append(series[0])
            taken = set(_files_from_first(series[0]).values())
            series = [file for file in series if file not in taken]
    return sorted(firsts)


def is_pattern(path: Path) -> bool:
    """Whether the name is a pattern (#### or %04d) and not a file."""
    return _PATTERN.search(path.name) is not None and not os.path.lexists(path)


def is_folder(path: Path) -> bool:
    """Whether there is a folder of that name; False for impossible names."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_picture(path: Path) -> bool:
    """Whether the name is a picture's rather than a movie's."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def numbered_names(name: str) -> Iterator[NumberedName]:
    """The ways to split a picture's name, the likeliest (the last group of digits) first."""
    stem = Path(name).stem
    for match in list(_DIGITS.finditer(stem))[: -_MOST_GROUPS - 1 : -1]:
        if len(match[0]) <= _MOST_DIGITS:
            yield NumberedName(stem[: match.start()], match[0], name[match.end() :])


def _folder_files(folder: Path) -> dict[int, Path]:
    pictures = [file for file in _listing(folder) if is_picture(file)]
    if not pictures:
        kinds = ", ".join(suffix[1:] for suffix in PICTURE_SUFFIXES)
        raise FootageError(
            f"The folder {folder} holds no pictures ({kinds}). Choose the folder of the frames."
        )
    if len(pictures) == 1:
        return {_own_number(pictures[0]): pictures[0]}
    sequences = [files for files in _sequences(pictures).values() if len(files) > 1]
    if len(sequences) == 1:
        return sequences[0]
    found = ", ".join(min(files.values()).name for files in sequences[:4]) or pictures[0].name
    raise FootageError(
        f"The folder {folder} holds {len(sequences) or 'no'} numbered sequences ({found}). "
        "Name the first picture of one, or a pattern such as shot_####.png."
    )


def _sequences(pictures: list[Path]) -> dict[tuple[str, str], dict[int, Path]]:
    """The pictures by what their names have in common, each in the largest series that it could belong to."""
    series: dict[tuple[str, str], dict[int, Path]] = {}
    for picture in pictures:
        for name in numbered_names(picture.name):
            series.setdefault(name.series, {})[name.number] = picture
    chosen: dict[tuple[str, str], dict[int, Path]] = {}
    for picture in pictures:
        names = list(numbered_names(picture.name))
        if names:
            name = max(
                names, key=lambda item: len(series[item.series])
            )  # the first of equals, which has the last digits
            chosen.setdefault(name.series, {})[name.number] = picture
    return chosen


def _pattern_files(pattern: Path) -> dict[int, Path]:
    matches = list(_PATTERN.finditer(pattern.name))
    if len(matches) > 1:
        raise FootageError(f"The pattern {pattern.name} has more than one place for the number; leave one.")
    match = matches[0]
    width = len(match[0]) if match[0].startswith("#") else int(match[1] or 1)
    if width > _MOST_DIGITS:
        raise FootageError(f"The pattern {pattern.name} asks for more than {_MOST_DIGITS} digits.")
    before, after = re.escape(pattern.name[: match.start()]), re.escape(pattern.name[match.end() :])
    name = re.compile(f"{before}(\\d{{{max(width, 1)},{_MOST_DIGITS}}}){after}", re.IGNORECASE | re.ASCII)
    if not is_folder(pattern.parent):
        raise FootageError(f"There is no folder {pattern.parent}. Check the path.")
    found = {int(hit[1]): file for file in _listing(pattern.parent) if (hit := name.fullmatch(file.name))}
    if not found:
        raise FootageError(
            f"No picture in {pattern.parent} matches {pattern.name}. Check the name and the number."
        )
    return found


def _files_from_first(path: Path) -> dict[int, Path]:
    """The file and those that follow it, if they form a sequence; else the file as a still."""
    names = list(numbered_names(path.name))
    if not names:
        return {0: path}
    others = [file for file in _listing(path.parent) if file.suffix == path.suffix and file.name != path.name]
    following = [_following(path, name, others) for name in names]
    best = max(range(len(names)), key=lambda place: len(following[place]))
    name, files = names[best], following[best]
    return files if _is_sequence(name, files) else {names[0].number: path}


def _following(first: Path, name: NumberedName, others: list[Path]) -> dict[int, Path]:
    """The first file and its followers by number; of two with equal numbers (1, 01), the one with the same padding."""
    found = {name.number: first}
    for file in others:
        digits = file.name.removeprefix(name.before).removesuffix(name.after)
        alike = f"{name.before}{digits}{name.after}" == file.name and _DIGITS.fullmatch(digits)
        if not alike or len(digits) > _MOST_DIGITS or int(digits) <= name.number:
            continue
        if int(digits) not in found or len(digits) == len(name.digits):
            found[int(digits)] = file
    return found


def _is_sequence(name: NumberedName, files: Mapping[int, Path]) -> bool:
    """face1.jpg beside face5.jpg is a still, and so is a photograph before others that are not of the same shot;
    frames 1, 2, 4, 5 are a sequence with a gap, frames 1, 3, 5 one with every other frame.
    """
    numbers = sorted(files)
    if len(numbers) == 1:
        return True
    if numbers[1] == numbers[0] + 1:
        return _are_alike(files[numbers[0]], files[numbers[1]])
    steps = {later - earlier for earlier, later in pairwise(numbers)}
    dense = 2 * len(numbers) > numbers[-1] - numbers[0]
    even = len(numbers) > 2 and len(steps) == 1 and min(steps) <= _WIDEST_STEP
    return len(name.digits) >= _PADDED and (dense or even)


def _are_alike(first: Path, second: Path) -> bool:
    """Whether two neighbours may be frames of one shot: their sizes, if both are known, are the same."""
    try:
        return read_picture_header(first).shown_px == read_picture_header(second).shown_px
    except FootageError:
        return True  # the picture reader will say which one is damaged


def _listing(folder: Path) -> list[Path]:
    """The folder's files by name, without hidden ones and macOS's companions (._shot_0001.png)."""
    names: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and _is_file(entry):
                    names.append(entry.name)
                    if len(names) > _MOST_ENTRIES:
                        raise FootageError(f"The folder {folder} holds more than {_MOST_ENTRIES} files.")
    except OSError as error:
        raise FootageError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error
    return [folder / name for name in sorted(names)]


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False  # a circular link


def _own_number(path: Path) -> int:
    name = next(numbered_names(path.name), None)
    return name.number if name else 0
