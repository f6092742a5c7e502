# SPDX-License-Identifier: GPL-3.0-or-later
"""What the frames around say of a hand that the landmarks lost: values drawn across gaps, held at the ends."""

import numpy as np
from numpy.typing import NDArray

# Across gaps up to so long values are drawn straight; at the end of what is known they are held so long.
MAX_GAP_FRAMES, MAX_HOLD_FRAMES = 30, 10

Floats = NDArray[np.float64]


def interpolated(values: Floats, known: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.int64]]:
    """Values (T, S, ...) with short gaps filled, and how far the nearest known frame is (T, S).

    known (T, S): where they are of the frame itself (distance 0). Where nothing near says anything values are
    NaN and the distance is the shot's length.
    """
    filled = np.where(known.reshape(*known.shape, *[1] * (values.ndim - 2)), values, np.nan)
    distance = np.where(known, 0, len(values))
    frames = np.arange(len(values))
    for side in range(known.shape[1]):
        at = np.flatnonzero(known[:, side])
        if len(at) == 0:
            continue
        before = at[np.clip(np.searchsorted(at, frames, "right") - 1, 0, None)]
        after = at[np.clip(np.searchsorted(at, frames, "left"), None, len(at) - 1)]
        near = np.minimum(np.abs(frames - before), np.abs(frames - after))
        across = (before < frames) & (frames < after) & (after - before <= MAX_GAP_FRAMES)
        held = ~known[:, side] & ~across & (near <= MAX_HOLD_FRAMES)
        share = ((frames - before) / np.maximum(after - before, 1)).reshape(-1, *[1] * (values.ndim - 2))
        drawn = (1 - share) * values[before, side] + share * values[after, side]
        nearest = np.where(np.abs(frames - before) <= np.abs(frames - after), before, after)
        filled[across, side] = drawn[across]
        filled[held, side] = values[nearest[held], side]
        distance[across | held, side] = near[across | held]
    return filled, distance
