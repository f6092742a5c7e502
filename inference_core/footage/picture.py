# SPDX-License-Identifier: GPL-3.0-or-later
"""One picture file as upright 8-bit sRGB with square pixels: PNG, JPEG, TIFF, WebP, BMP, DPX and OpenEXR."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference_core.footage import orientation
from inference_core.footage.dpx import read_dpx
from inference_core.footage.exr import read_exr
from inference_core.footage.opencv_log import silence_opencv
from inference_core.footage.pixel_aspect import known_aspect, square_size
from inference_core.footage.png import still_png
from inference_core.footage.records import Limits
from inference_core.footage.tone_mapping import srgb_from_linear
from inference_core.shared.errors import FootageError
from inference_core.shared.picture_header import PictureHeader, read_picture_header

silence_opencv()

# How many bytes a file may hold beside its picture, and per pixel, before it is rejected.
_MOST_EXTRA_BYTES, _MOST_BYTES_A_PIXEL = 64 << 20, 32


def read_picture(path: Path, limits: Limits) -> NDArray[np.uint8]:
    """The picture (H, W, 3), uint8 sRGB. EXR and float TIFF are taken as linear; alpha goes over black.

    FootageError if the file cannot be read as a picture, or is larger than the limits allow.
    """
    header = read_picture_header(path)
    limits.check_size(str(path), header.size_px)
    try:
        _check_bytes(path, header)
        image, aspect = _read(path, header, limits)
        return _squared(image, aspect, path, limits)
    except OSError as error:
        raise FootageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (cv2.error, RuntimeError, ValueError, TypeError, KeyError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FootageError(f"{path} cannot be read as a picture: {reason}") from error


def _read(path: Path, header: PictureHeader, limits: Limits) -> tuple[NDArray[np.uint8], float]:
    match header.kind:
        case "exr":
            linear, aspect = read_exr(path, limits)
            return srgb_from_linear(linear), aspect
        case "dpx":
            stored, aspect = read_dpx(path, limits)
            turned = orientation.upright_size((1, 0), header.orientation) == (0, 1)
            return _upright(stored, header), 1 / aspect if turned else aspect
        case "cineon":
            raise FootageError(
                f"{path} is a Cineon picture, which is not supported. Convert it to DPX or OpenEXR."
            )
        case "tiff":
            return _decode(path, path.read_bytes()), 1.0  # OpenCV applies the orientation of this format only
        case "png":
            stored = _decode(path, still_png(path.read_bytes()))
        case _:
            stored = _decode(path, path.read_bytes())
    return _upright(stored, header), 1.0


def _upright(stored: NDArray[np.uint8], header: PictureHeader) -> NDArray[np.uint8]:
    return np.ascontiguousarray(orientation.upright(stored, header.orientation))


def _check_bytes(path: Path, header: PictureHeader) -> None:
    width, height = header.size_px
    if path.stat().st_size > _MOST_EXTRA_BYTES + _MOST_BYTES_A_PIXEL * width * height:
        raise FootageError(
            f"{path} holds far more than a picture of {width}x{height}. Export that picture alone."
        )


def _squared(image: NDArray[np.uint8], aspect: float, path: Path, limits: Limits) -> NDArray[np.uint8]:
    size = square_size((image.shape[1], image.shape[0]), known_aspect(aspect))
    if size == (image.shape[1], image.shape[0]):
        return image
    limits.check_size(str(path), size)
    resized: Any = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    return resized


def _decode(path: Path, content: bytes) -> NDArray[np.uint8]:
    """The picture as stored, not yet upright, except for TIFF."""
    # From memory: on Windows, imread cannot open names outside the code page.
    # Only the unchanged mode keeps alpha and depth.
    image: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise FootageError(
            f"{path} is damaged, or stored in a way that is not read. Save it again, as PNG or uncompressed."
        )
    if image.ndim == 2:
        image = image[..., None]
    colour = image[..., :3][..., ::-1] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    linear = image.dtype.kind == "f"
    full = 1.0 if linear else float(np.iinfo(image.dtype).max)
    if image.shape[2] in (2, 4):
        colour = colour * (image[..., -1:].astype(np.float32) / full)
    if linear:
        return srgb_from_linear(colour.astype(np.float32))
    if colour.dtype == np.uint8:
        return np.ascontiguousarray(colour)
    scaled: Any = cv2.convertScaleAbs(np.ascontiguousarray(colour), alpha=255 / full)
    return scaled
