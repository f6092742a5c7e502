# SPDX-License-Identifier: GPL-3.0-or-later
"""One key for everything a shot's take depends on: the contents of its inputs, its settings, the version."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, astuple
from pathlib import Path

from inference_core import __version__
from inference_core.footage import parse_frame_range
from inference_core.request_inputs import inputs_beside_footage
from inference_core.shared.errors import FootageError, RequestError
from inference_core.shared.messages import NAMED_NETWORKS, CaptureRequest
from inference_core.shared.picture_sequences import find_pictures, is_folder, is_pattern, is_picture

# Locations, and settings that do not change the take.
_NOT_CONTENT = (
    "footage",
    "out",
    "preview",
    "proxy",
    "mano",
    "camera_path",
    "resume",
    "max_pixels",
    "max_frames",
    "part",
)


def content_key(request: CaptureRequest) -> str | None:
    """A key that is equal for requests with equal takes, whatever their footage's path.

    None if the inputs cannot be read: the capture itself will then report why.
    """
    settings = {name: value for name, value in asdict(request).items() if name not in _NOT_CONTENT}
    if request.network not in NAMED_NETWORKS:
        del settings["network"]
    try:
        settings["frames"] = astuple(parse_frame_range(request.frames))
        contents = [*_footage_digests(Path(request.footage)), *_other_digests(request)]
    except (OSError, ValueError, FootageError, RequestError):
        return None
    text = json.dumps([__version__, settings, contents], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes. OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _footage_digests(path: Path) -> Iterator[tuple[int, str]]:
    if is_folder(path) or is_pattern(path) or is_picture(path):
        for number, picture in find_pictures(path).items():
            yield number, file_digest(picture)
    else:
        yield 0, file_digest(path)


def _other_digests(request: CaptureRequest) -> Iterator[tuple[str, str]]:
    for path in sorted(inputs_beside_footage(request)):
        if path.is_file():
            yield path.name, file_digest(path)
