# SPDX-License-Identifier: GPL-3.0-or-later
"""Values for frames that lack them, from neighbouring frames: linear across gaps, constant at the ends."""

import numpy as np
from numpy.typing import NDArray

# The longest gap that is interpolated, and for how many frames the last known value is held.
MAX_GAP_FRAMES, MAX_HOLD_FRAMES = 30, 10

Floats = NDArray[np.float64]


def interpolated(values: Floats, known: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.int64]]:
    """Values (T, S, ...) with short gaps filled, and the distance to the nearest known frame (T, S).

    known (T, S): entries that belong to the frame itself (distance 0). Entries too far from any known frame are NaN,
    and their distance is the shot's length.
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


def between(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Values (T, ...) with those of unknown frames drawn linearly between the known frames (T,) around them."""
    frames, at = np.arange(len(known)), np.flatnonzero(known)
    place = np.interp(frames, at, np.arange(len(at)))
    first = np.floor(place).astype(np.int64)
    last, share = np.ceil(place).astype(np.int64), (place - first).reshape(-1, *[1] * (values.ndim - 1))
    return (1 - share) * values[at[first]] + share * values[at[last]]
