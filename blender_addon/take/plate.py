# SPDX-License-Identifier: GPL-3.0-or-later
"""The footage behind the hands: the camera's background, on the right frame whatever the rates."""

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..scene import fcurves
from ..scene.axes import Floats
from ..scene.timing import rows_shown

_OFFSET_PATH = "background_images[0].image_user.frame_offset"
_ENDLESS = 1_000_000  # the number of frames after which Blender would hold the last


def show_plate(camera: bpy.types.Object, footage: Path, numbers: NDArray[np.integer], frames: Floats) -> None:
    """Put the footage behind the camera's view; numbers (T,) of its frames are on screen from scene frames (T,) on.

    A movie's frames count from 0, a sequence's by the numbers in its file names.
    """
    data: Any = camera.data
    data.show_background_images = True
    while data.background_images:
        data.background_images.remove(data.background_images[0])
    background = data.background_images.new()
    image = bpy.data.images.load(str(footage), check_existing=True)
    if image.source == "FILE" and _is_numbered(footage):
        image.source = "SEQUENCE"
    background.image, background.alpha, background.frame_method = image, 1.0, "FIT"
    first = round(float(frames[0]))
    user = background.image_user
    user.frame_start, user.frame_duration, user.use_auto_refresh = first, _ENDLESS, True
    base = 1 if image.source == "MOVIE" else 0
    whole = np.arange(first, int(np.ceil(frames[-1])) + 1)
    shown = numbers[rows_shown(whole, frames)] + base
    offsets = shown - (whole - first + 1)
    user.frame_offset = int(offsets[0])
    changes = np.flatnonzero(np.diff(offsets, prepend=offsets[0] - 1))
    if len(changes) > 1:
        channels = fcurves.active_channels(data) or fcurves.assign_new_action(data, f"{camera.name} plate")
        keys = fcurves.held_keys(whole[changes].astype(np.float64), offsets[changes])
        fcurves.write_keys(channels, _OFFSET_PATH, "Plate", keys)


def first_file(footage: Path) -> Path | None:
    """The file that Blender opens for this footage: itself, or a folder's or pattern's first image; None if gone."""
    if footage.is_file():
        return footage
    if footage.is_dir():
        found = sorted(path for path in footage.iterdir() if _is_numbered(path))
    else:
        pattern = footage.name.replace("#", "?")
        found = sorted(footage.parent.glob(pattern)) if "?" in pattern and footage.parent.is_dir() else []
    return found[0] if found else None


def _is_numbered(path: Path) -> bool:
    return path.stem[-1:].isdigit() and path.suffix.lower() in bpy.path.extensions_image
