# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a long shot whose equations are in memory together.

Every step of the solve is taken for all frames before the next, whatever the parts are: a part has frames of its own
and a margin on either side, whose results are discarded. So a shot has the same solve in parts and in one piece.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.arrays import Flags, Indices
from inference_core.fitting.settings import SolveSettings

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True)
class Window:
    """Hand frames in memory together: rows (n,) of the list; own (n,) bool: not in a margin."""

    rows: Indices
    own: Flags

    @property
    def own_rows(self) -> Indices:
        """(m,) its own hand frames, of the list."""
        return self.rows[self.own]


def windows_of(frame: Indices, settings: SolveSettings) -> list[Window]:
    """Windows over the hand frames of the given frames (N,); each is one window's own."""
    if not len(frame):
        return []
    first, last = int(frame.min()), int(frame.max())
    margin = settings.overlap_frames // 2
    start, stride, out = first, settings.window_frames - 2 * margin, list[Window]()
    while start == first or start + 2 * margin <= last:
        stop = start + settings.window_frames
        own_first = first if start == first else start + margin
        own_stop = last + 1 if stop > last else stop - margin
        rows = np.flatnonzero((frame >= start) & (frame < stop))
        own = (frame[rows] >= own_first) & (frame[rows] < own_stop)
        if own.any():
            out.append(Window(rows, own))
        start += stride
    return out


def gathered(windows: Sequence[Window], values: Sequence[NDArray[Value]]) -> NDArray[Value]:
    """(N, ...) what each window says (m, ...) of its own hand frames."""
    out = np.empty((sum(map(len, values)), *values[0].shape[1:]), values[0].dtype)
    for window, value in zip(windows, values, strict=True):
        out[window.own_rows] = value
    return out
