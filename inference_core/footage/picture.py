# SPDX-License-Identifier: GPL-3.0-or-later
"""One picture file as upright 8-bit sRGB: PNG, JPEG, TIFF, WebP, BMP and OpenEXR."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import FootageError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".exr", ".webp", ".bmp")

# Layers that renderers call the picture itself, tried in this order when a file has no plain R, G, B.
_EXR_LAYERS = ("rgba", "rgb", "combined", "beauty", "composite")


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The picture (H, W, 3), uint8 sRGB. EXR and float TIFF are taken as linear; alpha goes over black.

    FootageError where the file cannot be read as a picture.
    """
    try:
        if path.suffix.lower() == ".exr":
            return _to_srgb8(_read_exr(path))
        return _decode(path)
    except OSError as error:
        raise FootageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (cv2.error, RuntimeError, ValueError, TypeError, KeyError, MemoryError) as error:
        raise FootageError(f"{path} cannot be read as a picture: {error}") from error


def _decode(path: Path) -> NDArray[np.uint8]:
    data = np.frombuffer(
        path.read_bytes(), np.uint8
    )  # imread knows no names outside the code page on Windows
    if data.size == 0:
        raise FootageError(f"{path} is an empty file.")
    # Only the colour mode turns a JPEG upright by its EXIF orientation; only the unchanged one keeps alpha.
    jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    image: Any = cv2.imdecode(data, cv2.IMREAD_COLOR if jpeg else cv2.IMREAD_UNCHANGED)
    if image is None:
        raise FootageError(f"{path} is damaged or not a picture of the kind that its name says.")
    if image.ndim == 2:
        image = image[..., None]
    colour = image[..., :3][..., ::-1] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    linear = image.dtype.kind == "f"
    full = 1.0 if linear else float(np.iinfo(image.dtype).max)
    if image.shape[2] in (2, 4):
        colour = colour * (image[..., -1:].astype(np.float32) / full)
    if linear:
        return _to_srgb8(colour.astype(np.float32))
    if image.dtype == np.uint8 and colour.dtype == np.uint8:
        return np.ascontiguousarray(colour)
    return np.clip(colour.astype(np.float32) * (255 / full) + 0.5, 0, 255).astype(np.uint8)


def _read_exr(path: Path) -> NDArray[np.float32]:
    """Linear R, G, B (H, W, 3) of the display window, from the plain channels or the picture's layer."""
    import OpenEXR  # an import of its own: a machine without its wheel still reads everything else

    with OpenEXR.File(str(path), separate_channels=True) as file:
        for part in file.parts:
            names = _exr_colour_channels(list(part.channels))
            if names is not None:
                planes = [np.asarray(part.channels[name].pixels, np.float32) for name in names]
                return _in_display_window(np.stack(planes, -1), part.header)
    raise FootageError(f"{path} holds no R, G, B and no Y channel that could be shown.")


def _exr_colour_channels(names: list[str]) -> tuple[str, str, str] | None:
    layers: dict[str, dict[str, str]] = {}
    for name in names:
        layer, _, channel = name.rpartition(".")
        layers.setdefault(layer, {})[channel.upper()] = name
    order = sorted(layers, key=lambda layer: (layer != "", _layer_rank(layer)))
    for layer in order:
        if {"R", "G", "B"} <= layers[layer].keys():
            return layers[layer]["R"], layers[layer]["G"], layers[layer]["B"]
    for layer in order:
        if "Y" in layers[layer]:
            luminance = layers[layer]["Y"]
            return luminance, luminance, luminance
    return None


def _layer_rank(layer: str) -> int:
    last = layer.rpartition(".")[2].lower()
    return _EXR_LAYERS.index(last) if last in _EXR_LAYERS else len(_EXR_LAYERS)


def _in_display_window(pixels: NDArray[np.float32], header: Any) -> NDArray[np.float32]:
    """The pixels of the data window placed in the display window; black where there are none."""
    if "displayWindow" not in header or "dataWindow" not in header:
        return pixels
    (x0, y0), (x1, y1) = (np.asarray(corner).astype(int) for corner in header["displayWindow"])
    (left, top), _ = (np.asarray(corner).astype(int) for corner in header["dataWindow"])
    height, width = y1 - y0 + 1, x1 - x0 + 1
    if (left, top) == (x0, y0) and pixels.shape[:2] == (height, width):
        return pixels
    shown = np.zeros((height, width, 3), np.float32)
    rows = slice(max(top - y0, 0), min(top - y0 + pixels.shape[0], height))
    columns = slice(max(left - x0, 0), min(left - x0 + pixels.shape[1], width))
    if rows.start < rows.stop and columns.start < columns.stop:
        source_top, source_left = rows.start - (top - y0), columns.start - (left - x0)
        shown[rows, columns] = pixels[
            source_top : source_top + rows.stop - rows.start,
            source_left : source_left + columns.stop - columns.start,
        ]
    return shown


def _to_srgb8(linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    """IEC 61966-2-1's curve on linear values, clipped to 0..1."""
    values = np.clip(np.nan_to_num(linear, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
    encoded = np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)
    return (encoded * 255 + 0.5).astype(np.uint8)
