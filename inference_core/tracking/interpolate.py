# SPDX-License-Identifier: GPL-3.0-or-later
"""Values for frames that lack them, from neighbouring frames: linear across gaps, constant at the ends."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# The longest gap that is interpolated, and for how many frames the last known value is held.
MAX_GAP_FRAMES, MAX_HOLD_FRAMES = 30, 10
# Stretches of frames whose middle is drawn from their ends, from long to short: each is half of the one before.
STEPS = (8, 4, 2)
# So many frames are interpolated at once, with so many of their neighbours on either side as that takes: multiples of
# the longest stretch, and no fewer than the longest gap.
_AT_ONCE, _BESIDE = 480, 32

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


def between(values: Floats, shares: NDArray[np.floating]) -> Floats:
    """Values (T, ...) of which each frame's own count by its share (T,), 0..1; the rest lies on the line between those
    half a step before and after, in steps of `STEPS`. Own values may be anything where their share is 0.
    """
    drawn = values.astype(np.float64)
    for step in STEPS:
        half = step // 2
        at = np.arange(half, len(values) - half, step)
        at = at[shares[at] < 1]
        line = (drawn[at - half] + drawn[at + half]) / 2
        share = shares[at].reshape(-1, *[1] * (values.ndim - 1))
        drawn[at] = np.where(share > 0, share * drawn[at] + (1 - share) * line, line)
    return drawn


def parts_of_shot(count: int) -> Iterator[tuple[slice, slice]]:
    """The frames of a shot a part at a time, so that interpolating them takes little memory: the frames that a part
    needs, and where among these its own are, which come out as if the whole shot had been interpolated.
    """
    for start in range(0, count, _AT_ONCE):
        stop = min(start + _AT_ONCE, count)
        first = max(0, start - _BESIDE)
        yield slice(first, min(stop + _BESIDE, count)), slice(start - first, stop - first)


def drawn_from(wanted: NDArray[np.bool_], shares: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(T,) the frames whose own values those wanted (T,) are made of by `between`."""
    needed = wanted.copy()
    for step in reversed(STEPS):
        half = step // 2
        at = np.arange(half, len(needed) - half, step)
        at = at[needed[at] & (shares[at] < 1)]
        needed[at - half] = needed[at + half] = True
    return needed & (shares > 0)
