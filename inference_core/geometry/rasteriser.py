# SPDX-License-Identifier: GPL-3.0-or-later
"""Triangles to pixels: a z-buffer over all triangles of one picture, in numpy, with barycentric weights.

Training has its own (training/synthetic/raster.py): it renders batches of pictures on a GPU and needs no weights. The
core must not depend on training, nor on the compiler (numba) that makes that one fast on a CPU.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Cover:
    """The visible surface in the box of pixels [top, top + H) x [left, left + W).

    triangle (H, W): the nearest triangle's number, -1 if there is none. weights (H, W, 3): perspective-correct
    weights of its corners, which sum to 1.
    """

    top: int
    left: int
    triangle: NDArray[np.int32]
    weights: NDArray[np.float32]


def rasterise(corners_px: Floats, depths_m: Floats, size_px: tuple[int, int]) -> Cover | None:
    """The nearest triangle at every pixel; None if none is in the picture.

    corners_px (F, 3, 2): x, y with pixel centres at +0.5. depths_m (F, 3), above 0. Triangles whose corners run
    counter-clockwise as seen (y down) face away and are skipped. size_px: width, height.
    """
    width, height = size_px
    low = np.ceil(corners_px.min(1) - 0.5).astype(np.int64)
    high = np.floor(corners_px.max(1) - 0.5).astype(np.int64) + 1
    low, high = np.clip(low, 0, (width, height)), np.clip(high, 0, (width, height))
    area = _cross(corners_px[:, 1] - corners_px[:, 0], corners_px[:, 2] - corners_px[:, 0])
    shown = np.flatnonzero((high > low).all(1) & (area > 1e-9))
    if len(shown) == 0:
        return None
    left, top = low[shown].min(0)
    right, bottom = high[shown].max(0)
    triangle, x, y = _candidates(low[shown], high[shown])
    triangle, x, y, weights = _covered(corners_px[shown], area[shown], triangle, x, y)
    weights /= depths_m[shown][triangle]
    nearness = weights.sum(1)
    place = (y - top) * (right - left) + (x - left)
    # Far to near: of several values written to one pixel, the last one stays.
    order = np.argsort(nearness, kind="stable")
    nearest = np.full((bottom - top) * (right - left), -1, np.int64)
    nearest[place[order]] = order
    seen = nearest >= 0
    chosen = nearest[seen]
    numbers = np.full(len(nearest), -1, np.int32)
    numbers[seen] = shown[triangle[chosen]]
    blend = np.zeros((len(nearest), 3), np.float32)
    blend[seen] = weights[chosen] / nearness[chosen, None]
    shape = (bottom - top, right - left)
    return Cover(int(top), int(left), numbers.reshape(shape), blend.reshape(*shape, 3))


def _candidates(low: Integers, high: Integers) -> tuple[Integers, Integers, Integers]:
    """Every pixel of every triangle's box: triangle, x, y."""
    widths = high[:, 0] - low[:, 0]
    counts = widths * (high[:, 1] - low[:, 1])
    triangle = np.repeat(np.arange(len(low)), counts)
    within = np.arange(len(triangle)) - np.repeat(np.cumsum(counts) - counts, counts)
    row, column = np.divmod(within, widths[triangle])
    return triangle, low[triangle, 0] + column, low[triangle, 1] + row


def _covered(
    corners: Floats, area: Floats, triangle: Integers, x: Integers, y: Integers
) -> tuple[Integers, Integers, Integers, Floats]:
    """Those of the pixels whose centres their triangle covers, with barycentric weights (N, 3) there.

    A weight is a linear function of x and y, set up once a triangle; two make the third.
    """
    weights: list[Floats] = []
    for following, last in ((1, 2), (2, 0)):
        edge = (corners[:, last] - corners[:, following]) / area[:, None]
        constant = _cross(corners[:, following], edge) + 0.5 * (edge[:, 0] - edge[:, 1])
        weights.append(constant[triangle] - edge[triangle, 1] * x + edge[triangle, 0] * y)
    first, second = weights
    third = 1 - first - second
    inside = np.flatnonzero((first >= 0) & (second >= 0) & (third >= 0))
    blend = np.stack([first[inside], second[inside], third[inside]], -1)
    return triangle[inside], x[inside], y[inside], blend


def _cross(a: Floats, b: Floats) -> Floats:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
