# SPDX-License-Identifier: GPL-3.0-or-later
"""Pixels that are wider than high, or higher than wide, and the size of the picture in square ones."""

_MOST_STRETCH = 4  # no camera has more; what says so is damaged
_SQUARE = 1e-3


def known_aspect(aspect: float) -> float:
    """Width of a pixel over its height as a file has it; 1 where that cannot be, or makes no difference."""
    possible = 1 / _MOST_STRETCH <= aspect <= _MOST_STRETCH  # not where it is NaN
    return aspect if possible and abs(aspect - 1) > _SQUARE else 1.0


def square_size(size_px: tuple[int, int], aspect: float) -> tuple[int, int]:
    """Width and height in square pixels: the side that is squeezed is drawn out, so that nothing is lost."""
    width, height = size_px
    return (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))
