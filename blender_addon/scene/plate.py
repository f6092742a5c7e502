# SPDX-License-Identifier: GPL-3.0-or-later
"""The footage behind the hands: the camera's background, on the right frame whatever the rates."""

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from . import fcurves
from .axes import Floats
from .paths import absolute, is_numbered, stored
from .timing import rows_shown

_ENDLESS = 1_000_000  # the number of frames after which Blender would hold the last


def show_plate(camera: bpy.types.Object, footage: Path, numbers: NDArray[np.integer], frames: Floats) -> None:
    """Put the footage behind the camera's view; numbers (T,) of its frames are on screen from scene frames (T,) on.

    A movie's frames count from 0, a sequence's by the numbers in its file names. A plate that is there keeps its
    opacity and the like.
    """
    data: Any = camera.data
    image = _image(footage)
    place = _plate_index(camera)
    if place is None:
        data.show_background_images = True
        data.background_images.new()
        place = len(data.background_images) - 1
        background = data.background_images[place]
        background.alpha, background.frame_method = 1.0, "FIT"
    background = data.background_images[place]
    background.source, background.image = "IMAGE", image
    first = round(float(frames[0]))
    user = background.image_user
    user.frame_start, user.frame_duration, user.use_auto_refresh = first, _ENDLESS, True
    base = 1 if image.source == "MOVIE" else 0
    whole = np.arange(first, int(np.ceil(frames[-1])) + 1)
    shown = numbers[rows_shown(whole, frames)] + base
    offsets = shown - (whole - first + 1)
    _key_offsets(camera, f"background_images[{place}].image_user.frame_offset", whole, offsets)
    user.frame_offset = int(offsets[0])


def has_plate(camera: bpy.types.Object) -> bool:
    """Whether the camera shows footage."""
    return _plate_index(camera) is not None


def relink_plate(camera: bpy.types.Object, footage: Path) -> None:
    """Let the camera's plate show the same footage where it lies now."""
    place = _plate_index(camera)
    data: Any = camera.data
    if place is not None and data.background_images[place].image is not None:
        image = data.background_images[place].image
        if absolute(image.filepath) != str(footage):
            image.filepath = stored(str(footage))
            image.reload()


def plate_image(camera: bpy.types.Object) -> Any:
    """The image or movie that the camera's plate shows; None where it shows none."""
    place = _plate_index(camera)
    data: Any = camera.data
    return None if place is None else data.background_images[place].image


def first_file(footage: Path) -> Path | None:
    """The file that Blender opens for this footage: itself, or a folder's or pattern's first image; None if gone."""
    if footage.is_file():
        return footage
    if footage.is_dir():
        found = sorted(path for path in footage.iterdir() if is_numbered(path))
    else:
        pattern = footage.name.replace("#", "?")
        found = sorted(footage.parent.glob(pattern)) if "?" in pattern and footage.parent.is_dir() else []
    return found[0] if found else None


def _plate_index(camera: bpy.types.Object) -> int | None:
    """Which of the camera's backgrounds is the footage: the first that shows a movie or a sequence."""
    data: Any = camera.data
    for index, background in enumerate(data.background_images):
        if background.image is not None and background.image.source in ("MOVIE", "SEQUENCE"):
            return index
    return None


def _image(footage: Path) -> Any:
    image = bpy.data.images.load(str(footage), check_existing=True)
    if image.source == "FILE" and is_numbered(footage):
        image.source = "SEQUENCE"
    image.filepath = stored(str(footage))
    return image


def _key_offsets(
    camera: bpy.types.Object, path: str, whole: NDArray[np.integer], offsets: NDArray[np.integer]
) -> None:
    """Hold each offset until the next; no keys where it never changes."""
    data: Any = camera.data
    changes = np.flatnonzero(np.diff(offsets, prepend=offsets[0] - 1))
    channels = fcurves.active_channels(data)
    old = channels.fcurves.find(path) if channels is not None else None
    if channels is not None and old is not None:
        channels.fcurves.remove(old)
    if len(changes) > 1:
        channels = channels or fcurves.assign_new_action(data, f"{camera.name} plate")
        keys = fcurves.held_keys(whole[changes].astype(np.float64), offsets[changes])
        fcurves.write_keys(channels, path, "Plate", keys)
