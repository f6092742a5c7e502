# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of rows that are all flagged."""

import numpy as np
from numpy.typing import NDArray


def flag_runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First row, and the row after the last one, of each run of True in flags (N,), in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
