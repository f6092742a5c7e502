# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths stored in a .blend: relative to the saved file; found beside it if a project has moved."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import bpy

from inference_core.shared.picture_sequences import is_picture, numbered_names

# Blender 4.5 and later mark paths that may begin with // by this option, and warn of such paths elsewhere.
RELATIVE: Final[Any] = (
    {"ANIMATABLE", "PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else {"ANIMATABLE"}
)

_NUMBER: Final = re.compile(r"\d+$")
_FOLDERS_ABOVE: Final = 2  # levels above a take's folder that are searched for its project


def absolute(path: str, library: Any = None) -> str:
    """The path with Blender's // resolved relative to the library (bpy.types.Library) that stores it, if any."""
    return str(Path(bpy.path.abspath(path, library=library)))


def stored(path: str, blend: str | None = None) -> str:
    """The path as stored in the .blend (the open one if None): relative if both are on one drive."""
    blend = bpy.data.filepath if blend is None else blend
    if not path or not blend:
        return path
    try:
        return bpy.path.relpath(absolute(path), start=str(Path(blend).parent))
    except ValueError:  # on Windows, another drive
        return absolute(path)


def take_file(shot: bpy.types.Collection) -> str:
    """Where the shot's take lies, whichever .blend its path is relative to: this one, its library, or the one that
    it was appended from.
    """
    return kept_file(shot, shot.duohand.take_path)


def kept_file(shot: bpy.types.Collection, path: str) -> str:
    """The whole path of a file that is stored with the shot."""
    override = shot.override_library
    library = override.reference.library if override is not None else shot.library
    if library is None and is_appended(shot) and path.startswith("//"):
        there = Path(bpy.path.abspath(path, start=shot.duohand.beside))
        if there.exists():
            return str(there)
    return absolute(path, library)


def is_appended(shot: bpy.types.Collection) -> bool:
    """Whether the shot's paths are still relative to the folder of another .blend, from which it was appended."""
    beside = shot.duohand.beside
    return bool(beside) and beside != folder_of(bpy.data.filepath)


def folder_of(blend: str) -> str:
    """The folder of a .blend; empty if it is not saved yet."""
    return str(Path(blend).parent) if blend else ""


def found(path: str, *near: str) -> Path | None:
    """The file or folder at that path; else the one with the longest common ending beside
    the .blend or the files `near`.

    This finds files of a project that was moved as a whole. None if there is nothing.
    """
    if not path:
        return None
    whole = Path(absolute(path))
    if whole.exists():
        return whole
    parts = [part for part in re.split(r"[\\/]+", str(whole)) if part and not part.endswith(":")]
    for folder in _folders(*near):
        for count in range(len(parts), 0, -1):
            candidate = folder.joinpath(*parts[-count:])
            if candidate.exists():
                return candidate
    return None


def footage_key(path: str) -> str:
    """A key that identifies footage: its path without detours, with one key for all pictures of a numbered sequence."""
    if not path:
        return ""
    file = Path(absolute(path)) if path.startswith("//") else Path(path)
    if file.is_dir():
        file = min((item for item in file.iterdir() if is_numbered(item)), default=file)
    name = file.name
    if is_numbered(file):
        name = _NUMBER.sub("#", file.stem) + file.suffix
    return os.path.normcase(os.path.normpath(file.with_name(re.sub("#+", "#", name))))


def footage_name(path: str) -> str:
    """A name for data made from the footage: a movie's whole name, a sequence's without its numbers."""
    file = Path(path)
    stem = _NUMBER.sub("", file.stem) if is_numbered(file) else file.stem
    return stem.rstrip("#_.- ") or file.stem


def is_numbered(path: Path) -> bool:
    """Whether the path names a picture of a numbered sequence."""
    return is_picture(path) and next(numbered_names(path.name), None) is not None


def _folders(*near: str) -> Iterator[Path]:
    if bpy.data.filepath:
        yield Path(bpy.data.filepath).parent
    for path in near:
        yield from list(Path(absolute(path)).parents)[: _FOLDERS_ABOVE + 1]
