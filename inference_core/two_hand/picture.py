# SPDX-License-Identifier: GPL-3.0-or-later
"""The network's input picture: a square RGB crop, normalised by ImageNet's mean and standard deviation."""

from __future__ import annotations

from inference_core.geometry.array_api import Array, constant
from inference_core.shared.errors import RequestError
from inference_core.two_hand.configuration import CROP_PX

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalised(rgb: Array) -> Array:
    """RGB in 0..1 (B, 3, N, N), normalised for the network, float32."""
    return (rgb - _channels(IMAGENET_MEAN, rgb)) / _channels(IMAGENET_STD, rgb)


def rgb_of(image: Array) -> Array:
    """RGB 0..1 (B, 3, N, N) of a normalised picture."""
    return image * _channels(IMAGENET_STD, image) + _channels(IMAGENET_MEAN, image)


def _channels(values: tuple[float, float, float], image: Array) -> Array:
    return constant(values, image)[:, None, None]


def check_picture(image: Array) -> None:
    """Raises RequestError unless `image` is a finite float (B, 3, 256, 256) with at least one picture."""
    if image.ndim != 4 or tuple(image.shape[1:]) != (3, CROP_PX, CROP_PX):
        raise RequestError(
            f"The network takes pictures of shape (B, 3, {CROP_PX}, {CROP_PX}), "
            f"not {tuple(image.shape)}: resize the crop."
        )
    if image.shape[0] == 0:
        raise RequestError("The batch is empty: give the network at least one picture.")
    if "float" not in str(image.dtype):
        raise RequestError(
            f"The network takes normalised float pictures, not {image.dtype}: divide by 255 and normalise."
        )
    bad = [row for row, picture in enumerate(image) if not bool((abs(picture) < float("inf")).all())]
    if bad:
        raise RequestError(
            f"Pictures {bad[:8]} hold NaN or infinite values: check the frames they were cut from."
        )
