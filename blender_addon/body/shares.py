# SPDX-License-Identifier: GPL-3.0-or-later
"""The share of a new motion on each frame: all of it in a range, fading at its ends. Does not import bpy."""

import numpy as np
from numpy.typing import NDArray

from inference_core.shared import quaternions
from inference_core.shared.flag_runs import flag_runs

from ..scene.axes import Floats


def shares(inside: NDArray[np.bool_], blend: int, open_ends: tuple[bool, bool] = (True, True)) -> Floats:
    """(F,) 1 where `inside` (F,), rising and falling smoothly over `blend` frames at the ends of each of its runs.

    open_ends: whether there is motion to blend with before the first frame and after the last one.
    """
    found = inside.astype(np.float64)
    for start, stop in flag_runs(inside):
        rows = np.arange(start, stop)
        if start > 0 or open_ends[0]:
            found[rows] = np.minimum(found[rows], (rows - start + 1) / (blend + 1))
        if stop < len(inside) or open_ends[1]:
            found[rows] = np.minimum(found[rows], (stop - rows) / (blend + 1))
    return found * found * (3 - 2 * found)


def blended_turns(first: Floats, second: Floats, share: Floats) -> Floats:
    """Unit quaternions (F, ..., 4) from `first` (share 0) to `second` (1), share (F,), with continuous signs."""
    turns = quaternions.slerp(first, second, share.reshape(-1, *[1] * (first.ndim - 2)))
    return quaternions.continuous(turns)


def blended(first: Floats, second: Floats, share: Floats) -> Floats:
    """Points (F, 3) from `first` (share 0) to `second` (1)."""
    return first + share[:, None] * (second - first)
