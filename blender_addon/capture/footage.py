# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender itself knows about footage before a capture: size, rate, length, a thumbnail."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import bpy.utils.previews
from bpy.app.translations import pgettext_iface as iface_

from inference_core.shared.errors import FootageError
from inference_core.shared.footage_listing import clips_in
from inference_core.shared.picture_header import read_picture_header
from inference_core.shared.picture_sequences import PICTURE_SUFFIXES, find_pictures, is_pattern, is_picture

from ..scene.paths import footage_key

IMAGE_SUFFIXES = PICTURE_SUFFIXES

_MATROSKA = b"\x1aE\xdf\xa3"

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
    is_unknown: bool = False

    @property
    def text(self) -> str:
        """The facts in a line."""
        if self.is_unknown:
            return iface_("Blender cannot read it; the engine may")
        if self.problem or not self.size_px[0]:
            return ""
        count = self.last - self.first + 1
        width, height = self.size_px
        parts = [iface_("{width} x {height}, {count} frames").format(width=width, height=height, count=count)]
        if self.fps:
            length = count / self.fps
            parts.append(iface_("{length:.1f} s at {fps:g} fps").format(length=length, fps=self.fps))
        return ", ".join(parts)


def read_facts(path: str) -> FootageFacts:
    """Facts about the footage at the path, or a description of the problem if Blender cannot read it."""
    try:
        return _facts(path)
    except OSError as error:
        return FootageFacts(problem=f"{path} cannot be read: {error.strerror}")
    except FootageError as error:
        return FootageFacts(problem=str(error))


def clips_among(paths: Iterable[Path]) -> list[Path]:
    """The footage among files and folders, in order, without repeats: one picture stands for its sequence."""
    found: dict[str, Path] = {}
    for path in paths:
        for file in clips_in(path) if path.is_dir() else [path]:
            found.setdefault(footage_key(str(file)), file)
    return list(found.values())


def thumbnail(path: str) -> int:
    """Icon number of a thumbnail of the footage, 0 if there is none."""
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
    if file.is_dir() or is_pattern(file) or is_picture(file):
        return _sequence_facts(find_pictures(file))
    if not file.is_file():
        return FootageFacts(problem=f"There is no file {file}")
    return _movie_facts(file)


def _movie_facts(file: Path) -> FootageFacts:
    """Blender's facts about a movie. Recordings from browsers have no length; only the engine can read them."""
    with file.open("rb") as content:
        unread = FootageFacts(is_unknown=True) if content.read(4) == _MATROSKA else None
    try:
        clip: Any = bpy.data.movieclips.load(str(file))
    except RuntimeError as error:
        return unread or FootageFacts(problem=f"Blender cannot read {file.name}: {error}")
    size, fps, count = tuple(clip.size), clip.fps, clip.frame_duration
    bpy.data.movieclips.remove(clip)
    if not size[0] or count < 1 or fps <= 0:
        return unread or FootageFacts(problem=f"{file.name} is not a movie that Blender can read")
    return FootageFacts((size[0], size[1]), fps, 0, count - 1)


def _sequence_facts(files: Mapping[int, Path]) -> FootageFacts:
    width, height = read_picture_header(files[min(files)]).shown_px
    return FootageFacts((width, height), 0.0, min(files), max(files), is_sequence=True)


def register() -> None:
    _thumbnails.append(bpy.utils.previews.new())


def unregister() -> None:
    bpy.utils.previews.remove(_thumbnails.pop())
