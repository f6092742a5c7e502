# SPDX-License-Identifier: GPL-3.0-or-later
"""The text in the preview: the frame, its time, and each hand's confidence."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference_core.preview.hands import COLOURS
from inference_core.shared.presence import ABSENT, FILLED, SEEN

_FONT = cv2.FONT_HERSHEY_DUPLEX
_WORDS = {ABSENT: "absent", SEEN: "seen", FILLED: "filled"}
_NAMES = ("L", "R")

Image = NDArray[np.uint8]


def draw_labels(
    image: Image, frame: int, time_s: float, present: NDArray[np.uint8], confidence: NDArray[np.float32]
) -> Image:
    """The picture with the frame's number and time above and a bar of confidence a hand below; in place.

    present, confidence (S,): as in a take.
    """
    height, width = image.shape[:2]
    unit = max(max(height, width) / 1000, 0.6)
    margin, row = round(18 * unit), round(26 * unit)
    _write(image, f"{frame:5d}   {time_s:7.2f} s", (margin, margin + round(14 * unit)), unit)
    for side in (0, 1):
        y = height - margin - (1 - side) * row
        _draw_bar(image, side, int(present[side]), float(confidence[side]), (margin, y), unit)
    return image


def _draw_bar(image: Image, side: int, present: int, sure: float, at: tuple[int, int], unit: float) -> None:
    x, y = at
    length, thickness = round(150 * unit), max(round(9 * unit), 2)
    start = x + round(24 * unit)
    colour = [int(value * 255) for value in COLOURS[side]]
    _write(image, _NAMES[side], (x, y), unit)
    top, bottom = y - thickness - round(1 * unit), y - round(1 * unit)
    panel = image[max(top - 1, 0) : bottom + 2, start - 1 : start + length + 2]
    panel[:] = panel // 3
    if present != ABSENT:
        cv2.rectangle(_any(image), (start, top), (start + round(length * sure), bottom), colour, cv2.FILLED)
    words = _WORDS[present] if present != SEEN else f"{100 * sure:.0f} %"
    _write(image, words, (start + length + round(12 * unit), y), unit)


def _write(image: Image, text: str, at: tuple[int, int], unit: float) -> None:
    """White text with a dark outline, readable on any plate."""
    scale, line = 0.55 * unit, max(round(unit), 1)
    cv2.putText(
        _any(image), text, at, _FONT, scale, (20, 20, 20), line + max(round(3 * unit), 2), cv2.LINE_AA
    )
    cv2.putText(_any(image), text, at, _FONT, scale, (245, 245, 245), line, cv2.LINE_AA)


def _any(image: Image) -> Any:
    return image  # OpenCV's stubs only accept its own array type
