# SPDX-License-Identifier: GPL-3.0-or-later
"""Pauses at the cuts of a shot: rows without a picture, so that nothing reaches from one piece to the next.

A hand is interpolated, remembered and smoothed over a few seconds at most. Between the pieces of footage that is cut,
there are longer pauses while hands are recovered, read and solved, or solved again.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A pause is longer than a hand is remembered, in frames, and than a gap may be that is filled, in seconds.
_PAUSE_FRAMES, _PAUSE_S = 96, 1.0


@dataclass(frozen=True)
class Pauses:
    """The T frames of a shot in a longer list of rows. row (T,): of each frame. count: of rows."""

    row: NDArray[np.int64]
    count: int

    @property
    def frame(self) -> NDArray[np.int64]:
        """(count,) the frame of each row; -1 in a pause."""
        frame = np.full(self.count, -1)
        frame[self.row] = np.arange(len(self.row))
        return frame

    @property
    def last_frame(self) -> NDArray[np.int64]:
        """(count,) the frame of each row; in a pause, the one before it."""
        return np.maximum.accumulate(self.frame)

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values (T, ...) or () in all rows (count, ...): NaN or 0 in pauses."""
        if not len(values):
            return values
        empty = np.nan if np.issubdtype(values.dtype, np.floating) else 0
        spread = np.full((self.count, *values.shape[1:]), empty, values.dtype)
        spread[self.row] = values
        return spread

    def times(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """(count,) the rows' times, by those of the frames (T,): pauses pass at the usual rate."""
        steps = np.full(self.count, float(np.median(np.diff(time_s))))
        follows = np.diff(self.row) == 1
        steps[self.row[1:][follows]] = np.diff(time_s)[follows]
        return np.cumsum(steps) - steps[0] + time_s[0]


def pauses_at(cuts: NDArray[np.int64], time_s: NDArray[np.float64]) -> Pauses:
    """The pauses before the frames `cuts` (C,) of a shot. time_s (T,)."""
    rows = np.arange(len(time_s))
    if not len(cuts):
        return Pauses(rows, len(rows))
    length = max(_PAUSE_FRAMES, round(_PAUSE_S / float(np.median(np.diff(time_s)))))
    rows = rows + length * np.searchsorted(cuts, rows, side="right")
    return Pauses(rows, int(rows[-1]) + 1)
