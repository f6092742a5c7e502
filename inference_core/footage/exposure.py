# SPDX-License-Identifier: GPL-3.0-or-later
"""Dark footage brightened for the networks, which know hands in daylight."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Footage, Frame

# The bright spots (99th percentile) of a dark frame are raised to half of white; lit frames have brighter ones.
_HALF_WHITE = 130.0
# A frame may be black, and its noise is no picture.
_MAX_GAIN = 4.0
# Every n-th pixel of every n-th row tells how bright a frame is.
_EVERY = 8


def brightened(footage: Footage) -> Footage:
    """The same footage, its dark frames brighter."""
    return replace(footage, read=lambda numbers: map(_brightened, footage.read(numbers)))


def brightened_picture(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same picture (H, W, 3), brighter if it is dark."""
    red, green, blue = np.moveaxis(image[::_EVERY, ::_EVERY], -1, 0)
    levels = np.maximum(np.maximum(red, green), blue)
    # Most frames are lit, which counting tells sooner than sorting.
    if np.count_nonzero(levels >= _HALF_WHITE) > 0.01 * levels.size + 1:
        return image
    bright = float(np.percentile(levels, 99))
    if bright >= _HALF_WHITE:
        return image
    gain = min(_HALF_WHITE / max(bright, 1), _MAX_GAIN)
    values = np.clip(np.rint(gain * np.arange(256)), 0, 255).astype(np.uint8)
    # Clipped, which cannot happen here, it is twice as fast as an index.
    return np.take(values, image, mode="clip")


def _brightened(frame: Frame) -> Frame:
    return frame if frame.image is None else replace(frame, image=brightened_picture(frame.image))
