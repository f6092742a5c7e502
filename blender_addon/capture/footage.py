# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender itself can tell of footage before anything is captured: size, rate, length, a thumbnail."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import bpy.utils.previews

MOVIE_SUFFIXES = (".mov", ".mp4", ".m4v", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".ogv")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".exr")

_NUMBER = re.compile(r"(\d+)$")
_thumbnails: list[bpy.utils.previews.ImagePreviewCollection] = []


@dataclass(frozen=True)
class FootageFacts:
    """What the Footage panel shows. first and last are frame numbers; a movie's count from 0."""

    size_px: tuple[int, int] = (0, 0)
    fps: float = 0.0
    first: int = 0
    last: int = 0
    is_sequence: bool = False
    problem: str = ""

    @property
    def text(self) -> str:
        """The facts in a line."""
        if self.problem or not self.size_px[0]:
            return ""
        count = self.last - self.first + 1
        length = f", {count / self.fps:.1f} s at {self.fps:g} fps" if self.fps else ""
        return f"{self.size_px[0]} x {self.size_px[1]}, {count} frames{length}"


def read_facts(path: str) -> FootageFacts:
    """What the footage at the path is; a problem in words where Blender cannot read it."""
    try:
        return _facts(path)
    except OSError as error:
        return FootageFacts(problem=f"{path} cannot be read: {error.strerror}")


def thumbnail(path: str) -> int:
    """Icon number of a thumbnail of the footage, 0 where there is none."""
    file = Path(path)
    if not _thumbnails or not file.is_file():
        return 0
    kept = _thumbnails[0]
    if path not in kept:
        kept.clear()
        kept.load(path, path, "IMAGE" if file.suffix.lower() in IMAGE_SUFFIXES else "MOVIE")
    return kept[path].icon_id


def _facts(path: str) -> FootageFacts:
    file = Path(path)
    if not path:
        return FootageFacts()
    if file.is_dir():
        pictures = sorted(item for item in file.iterdir() if item.suffix.lower() in IMAGE_SUFFIXES)
        if not pictures:
            return FootageFacts(problem=f"There are no pictures in {file}")
        file = pictures[0]
    if not file.is_file():
        return FootageFacts(problem=f"There is no file {file}")
    if file.suffix.lower() in IMAGE_SUFFIXES:
        return _sequence_facts(file)
    return _movie_facts(file)


def _movie_facts(file: Path) -> FootageFacts:
    try:
        clip: Any = bpy.data.movieclips.load(str(file))
    except RuntimeError as error:
        return FootageFacts(problem=f"Blender cannot read {file.name}: {error}")
    size, fps, count = tuple(clip.size), clip.fps, clip.frame_duration
    bpy.data.movieclips.remove(clip)
    if not size[0] or count < 1:
        return FootageFacts(problem=f"{file.name} is not a movie that Blender can read")
    return FootageFacts((size[0], size[1]), fps, 0, count - 1)


def _sequence_facts(file: Path) -> FootageFacts:
    try:
        image: Any = bpy.data.images.load(str(file), check_existing=False)
    except RuntimeError as error:
        return FootageFacts(problem=f"Blender cannot read {file.name}: {error}")
    size = tuple(image.size)
    bpy.data.images.remove(image)
    if not size[0]:
        return FootageFacts(problem=f"{file.name} is not a picture that Blender can read")
    numbers = _numbers_beside(file)
    return FootageFacts((size[0], size[1]), 0.0, min(numbers), max(numbers), is_sequence=True)


def _numbers_beside(file: Path) -> list[int]:
    """Numbers of the pictures that belong to one sequence with this one."""
    number = _NUMBER.search(file.stem)
    if number is None:
        return [0]
    prefix = file.stem[: number.start()]
    found: list[int] = []
    for item in file.parent.iterdir():
        match = _NUMBER.search(item.stem)
        if match and item.suffix == file.suffix and item.stem[: match.start()] == prefix:
            found.append(int(match.group()))
    return found


def register() -> None:
    _thumbnails.append(bpy.utils.previews.new())


def unregister() -> None:
    bpy.utils.previews.remove(_thumbnails.pop())
