# SPDX-License-Identifier: GPL-3.0-or-later
"""The footage behind the hands: the camera's background, on the right frame for any pair of frame rates."""

from pathlib import Path, PureWindowsPath
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import FootageError
from inference_core.shared.picture_sequences import LAST_FRAME, find_pictures
from inference_core.shared.take import Take

from . import fcurves, values_by_hand
from .axes import Floats
from .paths import absolute, is_numbered, stored
from .timing import rows_shown

# On every image that was made a plate: whether it is derived from the footage. An animator's own has none.
_IS_MADE = "duohand_plate_movie"


def show_plate(
    camera: bpy.types.Object,
    footage: Path,
    numbers: NDArray[np.integer],
    frames: Floats,
    is_made: bool = False,
) -> list[str]:
    """Show the footage in the camera's view; numbers (T,) of its frames belong to scene frames (T,). A line if its
    timing had been set by hand.

    A movie's frames count from 0, a sequence's by the numbers in its file names; those of a plate movie are the
    take's rows. An existing plate keeps its opacity and other settings, and a movie that an animator put in its place.
    is_made: whether it is a plate movie, which footage found elsewhere does not replace.
    """
    data: Any = camera.data
    place = _plate_index(camera)
    if place is None:
        data.show_background_images = True
        data.background_images.new()
        place = len(data.background_images) - 1
        background = data.background_images[place]
        background.alpha, background.frame_method = 1.0, "FIT"
    background = data.background_images[place]
    if background.image is None or _IS_MADE in background.image:
        background.source, background.image = "IMAGE", _image(footage)
        background.image[_IS_MADE] = is_made
    return key_plate(camera, numbers, frames)


def key_plate(camera: bpy.types.Object, numbers: NDArray[np.integer], frames: Floats) -> list[str]:
    """Key the existing plate to show the nearest of frame numbers (T,), which fall on scene frames (T,); a line if its
    timing had been set by hand.
    """
    data: Any = camera.data
    place = _plate_index(camera) or 0
    image = data.background_images[place].image
    first = round(float(frames[0]))
    base = 1 if image.source == "MOVIE" else 0
    whole = np.arange(first, int(np.ceil(frames[-1])) + 1)
    shown = numbers[rows_shown(whole, frames)] + base
    offsets = shown - (whole - first + 1)
    changes = np.flatnonzero(np.diff(offsets, prepend=offsets[0] - 1))
    changes = changes if len(changes) > 1 else changes[:0]
    # After its duration, Blender would hold the last frame.
    given = {"frame_start": first, "frame_duration": LAST_FRAME, "frame_offset": int(offsets[0])}
    user = f"background_images[{place}].image_user."
    said = values_by_hand.give(camera, "plate", data, given, user, is_moving=len(changes) > 0)
    data.background_images[place].image_user.use_auto_refresh = True
    _key_offsets(camera, whole[changes], offsets[changes])
    return said


def has_plate(camera: bpy.types.Object) -> bool:
    """Whether the camera shows footage."""
    return _plate_index(camera) is not None


def relink_plate(camera: bpy.types.Object, footage: Path) -> None:
    """Let the camera's plate show the same footage at its current place."""
    place = _plate_index(camera)
    data: Any = camera.data
    if place is not None and data.background_images[place].image is not None:
        image = data.background_images[place].image
        if _IS_MADE in image and not is_made(image) and absolute(image.filepath) != str(footage):
            image.filepath = stored(str(footage))
            image.reload()


def background(camera: bpy.types.Object) -> Any:
    """The camera's background image that shows the footage; None if none does."""
    place = _plate_index(camera)
    data: Any = camera.data
    return None if place is None else data.background_images[place]


def plate_image(camera: bpy.types.Object) -> Any:
    """The image or movie of the camera's plate; None if there is none."""
    behind = background(camera)
    return None if behind is None else behind.image


def offset_path(camera: bpy.types.Object) -> str:
    """The path, from the camera's data, of the plate's frame offset."""
    return f"background_images[{_plate_index(camera) or 0}].image_user.frame_offset"


def is_made(image: Any) -> bool:
    """Whether the plate's image is a plate movie rather than the footage itself."""
    return bool(image.get(_IS_MADE))


def first_file(footage: Path) -> Path | None:
    """The file that Blender opens for this footage: itself, or a folder's or pattern's first image; None if gone."""
    if footage.is_file():
        return footage
    try:
        files = find_pictures(footage)
    except FootageError:
        return None
    first = files[min(files)]
    return first if first.is_file() else None


def plate_movie(take: Take, take_path: str) -> tuple[Path | None, str]:
    """The movie that shows the take's frames one by one, if the footage itself does not, and why it does not.

    It is searched for beside the take, then where it was written; None if it is gone, or none is needed.
    """
    footage = take.meta.get("footage")
    said: Any = footage if isinstance(footage, dict) else {}
    showing: Any = said.get("showing")
    differences: Any = showing.get("differences") if isinstance(showing, dict) else None
    reason = ", ".join(str(text) for text in differences) if isinstance(differences, list) else ""
    written = said.get("plate")
    if not isinstance(written, str) or not written:
        return None, reason
    name = PureWindowsPath(written).name  # paths of either system
    beside = Path(take_path).with_name(name) if take_path and name else Path(written)
    return next((path for path in (beside, Path(written)) if path.is_file()), None), reason


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


def _key_offsets(camera: bpy.types.Object, frames: NDArray[np.integer], offsets: NDArray[np.integer]) -> None:
    """Key the offsets (N,) at the scene frames (N,), each constant until the next; none removes the keys."""
    data: Any = camera.data
    if fcurves.active_channels(data) is not None or len(frames):
        channels = fcurves.writable(data, f"{camera.name} plate")
        keys = fcurves.held_keys(frames.astype(np.float64), offsets)
        fcurves.write_keys(channels, offset_path(camera), "Plate", keys)
