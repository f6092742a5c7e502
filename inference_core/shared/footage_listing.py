# SPDX-License-Identifier: GPL-3.0-or-later
"""The clips in a folder: every movie, and the first picture of every sequence; and the name of a clip.

Standard library only.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from inference_core.shared.picture_sequences import first_pictures, is_folder

MOVIE_SUFFIXES = (
    ".mov",
    ".mp4",
    ".m4v",
    ".mkv",
    ".avi",
    ".webm",
    ".mpg",
    ".mpeg",
    ".mts",
    ".m2ts",
    ".mxf",
    ".ogv",
)


def clips_in(folder: Path) -> Iterator[Path]:
    """Movies and sequences in the folder and those below it, by name; hidden files and folders are skipped.

    FootageError if a folder cannot be read.
    """
    for place, below, files in os.walk(folder):
        below[:] = sorted(
            name for name in below if not name.startswith(".") and not name.endswith(".partial")
        )
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in MOVIE_SUFFIXES:
                yield Path(place, name)
        yield from first_pictures(Path(place))


def footage_stem(footage: str) -> str:
    """The footage's name without suffix and without a pattern's frame number. May be empty."""
    path = Path(footage)
    stem = path.name if is_folder(path) else path.stem
    return stem.partition("#")[0].partition("%")[0].rstrip("._- ")
