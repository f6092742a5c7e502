# SPDX-License-Identifier: GPL-3.0-or-later
"""Non-square pixels, and the size of the picture in square ones."""

_MOST_STRETCH = 4  # larger values come from damaged files, not from cameras
_SQUARE = 1e-3


def known_aspect(aspect: float) -> float:
    """A pixel's width over its height as declared by a file; 1 if that is invalid or makes no difference."""
    possible = 1 / _MOST_STRETCH <= aspect <= _MOST_STRETCH  # also false for NaN
    return aspect if possible and abs(aspect - 1) > _SQUARE else 1.0


def square_size(size_px: tuple[int, int], aspect: float) -> tuple[int, int]:
    """Width and height in square pixels: the compressed side is stretched, so that no detail is lost."""
    width, height = size_px
    return (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))
