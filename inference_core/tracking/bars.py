# SPDX-License-Identifier: GPL-3.0-or-later
"""Bars: dark borders that footage has throughout, of equal width on opposite sides, as of a film in a wider picture."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

# No pixel of a bar is brighter than this; so many of each line are looked at.
_DARK, _LOOKED_AT = 24, 64
# Bars are at least this wide, and opposite ones differ by no more than this: shares of the picture's side.
_LEAST, _ALIKE = 0.02, 0.015

Image = NDArray[np.uint8]


class DarkBorders:
    """How wide the picture is dark at its borders, in every frame so far.

    known (4,): pixels on the left, at the top, on the right, at the bottom; empty before the first picture.
    """

    def __init__(self, known: NDArray[np.int64] | Sequence[int] = ()) -> None:
        self.known = np.asarray(known, np.int64)

    def add(self, images: Iterable[Image | None]) -> None:
        """The next frames of the shot; None without a picture."""
        for image in images:
            if image is None:
                continue
            upright, turned = image, image.transpose(1, 0, 2)
            ways = (turned, upright, turned[::-1], upright[::-1])
            most = self.known.tolist() if len(self.known) else [len(lines) for lines in ways]
            widths = [_dark_lines(lines[:width]) for lines, width in zip(ways, most, strict=True)]
            self.known = np.array(widths, np.int64)


def bars_px(dark_px: NDArray[np.int64], size_px: tuple[int, int]) -> tuple[int, int, int, int]:
    """How wide the bars on the left, at the top, on the right and at the bottom are, by the dark borders (4,)."""
    found = [0, 0, 0, 0]
    for axis, side_px in enumerate(size_px if len(dark_px) else ()):
        ends = dark_px[axis::2]
        if ends.min() >= _LEAST * side_px and np.ptp(ends) <= _ALIKE * side_px and ends.sum() < side_px:
            found[axis::2] = ends.tolist()
    return found[0], found[1], found[2], found[3]


def _dark_lines(lines: Image) -> int:
    """How many of the lines (N, M, 3) are dark before the first one that is not."""
    if not len(lines):
        return 0
    bright = lines[:, :: max(lines.shape[1] // _LOOKED_AT, 1)].max((1, 2)) > _DARK
    return int(bright.argmax()) if bright.any() else len(lines)
