# SPDX-License-Identifier: GPL-3.0-or-later
"""The eight orientations of a stored picture, rotated and flipped, as EXIF numbers them."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

UPRIGHT = 1

# Operations on the stored rows and columns, in this order: transposed, rows reversed, columns reversed.
_STEPS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
_NUMBER_OF = {steps: number for number, steps in _STEPS.items()}


def upright(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The upright picture (H, W, ...); a view where possible."""
    exchanged, rows, columns = _STEPS[orientation]
    image = image.swapaxes(0, 1) if exchanged else image
    return image[:: -1 if rows else 1, :: -1 if columns else 1]


def upright_size(size_px: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height of the upright picture."""
    return (size_px[1], size_px[0]) if _STEPS[orientation][0] else size_px


def orientation_of_matrix(matrix: Sequence[int]) -> int:
    """The orientation nearest to a display matrix: nine numbers in rows a b u, c d v, x y w.

    Such a matrix maps stored to displayed positions: x' = a x + c y, y' = b x + d y.
    """
    a, b, _, c, d = (float(value) for value in matrix[:5])
    exchanged = abs(b) + abs(c) > abs(a) + abs(d)
    across, down = (c, b) if exchanged else (a, d)
    return _NUMBER_OF[exchanged, down < 0, across < 0]
