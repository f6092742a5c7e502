# SPDX-License-Identifier: GPL-3.0-or-later
"""Initial states for hand frames without evidence: linear interpolation between their held neighbours."""

import numpy as np

from inference_core.fitting.arrays import Flags, Floats, Indices
from inference_core.fitting.observations import Observations
from inference_core.fitting.parameterisation import HandState
from inference_core.geometry.rotations import slerp


def interpolate_gaps(seen: Observations, held: Flags, state: HandState) -> HandState:
    """The state with hand frames that are not `held` (N,) interpolated between their held neighbours of the same run.

    A frame with a held neighbour on one side only copies it.
    """
    if held.all() or not held.any():
        return state
    gap = np.flatnonzero(~held)
    before, after = (beside[gap] for beside in _held_neighbours(seen, held))
    span = np.maximum(seen.time[after] - seen.time[before], 1e-9)
    fraction = np.where(after == before, 0.0, (seen.time[gap] - seen.time[before]) / span)
    laid = HandState(
        _between(state.image_depth[before], state.image_depth[after], fraction[:, None]),
        slerp(state.root[before], state.root[after], fraction),
        _between(state.angles_rad[before], state.angles_rad[after], fraction[:, None, None]),
    )
    return state.put(gap, laid)


def _between(first: Floats, second: Floats, fraction: Floats) -> Floats:
    return first + fraction * (second - first)


def _held_neighbours(seen: Observations, held: Flags) -> tuple[Indices, Indices]:
    """Indices (N,) of the nearest held hand frames at or before and at or after each one, within its run."""
    count = len(held)
    run = np.concatenate([[0], np.cumsum(seen.steps == 0)])
    index = np.arange(count)
    before = np.maximum.accumulate(np.where(held, index, -1))
    after = np.minimum.accumulate(np.where(held, index, count)[::-1])[::-1]
    has_before = (before >= 0) & (run[before.clip(0)] == run)
    has_after = (after < count) & (run[after.clip(max=count - 1)] == run)
    nearest = np.where(has_before, before, np.where(has_after, after, index))
    return nearest, np.where(has_after, after, nearest)
