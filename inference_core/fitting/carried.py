# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames whose hands cannot be separated where they are: the pair as it is in a frame beside them, as one rigid body.

Such hands were misread: they change places in depth within a few frames, say, and would have to pass through one
another. Any motion between the frames before and those after would, too, so each frame takes one side's pair.
"""

from collections.abc import Iterator

import numpy as np

from inference_core.fitting.arrays import Flags, Floats, Indices
from inference_core.fitting.contact import unbroken_runs
from inference_core.fitting.observations import Observations, pairs
from inference_core.fitting.parameterisation import (
    JOINTS,
    HandParameterisation,
    HandState,
    image_depth_of,
    pose_points,
)
from inference_core.geometry.rigid import fit_rigid

# A pair is carried over so many frames at most.
_FARTHEST = 8


def carried(
    parameterisation: HandParameterisation,
    seen: Observations,
    fitted: HandState,
    apart: HandState,
    deep: Flags,
    fine: Flags,
) -> HandState:
    """The separated state `apart`, with the pairs around `deep` ones (P,) carried from the nearest `fine` ones (P,).

    All pairs between these that are not fine are replaced, from the side that they are more like. They move as the pair
    as a whole does in the fitted state. The depth to which hands intersect is that of the pair that was carried.
    """
    left, right = pairs(seen)
    run = unbroken_runs(seen.frame[left])
    posed = pose_points(parameterisation, seen.side, fitted)
    joints_m = np.concatenate([posed.points_m[left, JOINTS], posed.points_m[right, JOINTS]], 1)
    for rows in _stretches(deep, fine, run):
        beside = [row for row in (rows[0] - 1, rows[-1] + 1) if _follows(run, row, rows[0])]
        if not beside:
            continue
        source = _nearer(joints_m, rows, beside)
        near = np.abs(source - rows) <= _FARTHEST
        apart = _moved(apart, (left, right), joints_m, source[near], rows[near])
    return apart


def _stretches(deep: Flags, fine: Flags, run: Indices) -> Iterator[Indices]:
    """The indices of each stretch of pairs that are not fine and of which one is deep."""
    rows = np.flatnonzero(~fine)
    breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(run[rows]) != 0)) + 1
    for stretch in np.split(rows, breaks):
        if deep[stretch].any():
            yield stretch


def _follows(run: Indices, row: int, beside: int) -> bool:
    return 0 <= row < len(run) and run[row] == run[beside]


def _nearer(joints_m: Floats, rows: Indices, beside: list[int]) -> Indices:
    """(n,) of `beside` for each of the rows (n,): the first one up to a frame, the last one from there."""
    errors = [
        ((fit_rigid(joints_m[row], joints_m[rows]).apply(joints_m[row]) - joints_m[rows]) ** 2).sum((1, 2))
        for row in beside
    ]
    first, last = errors[0], errors[-1]
    at = np.arange(len(rows) + 1)
    cost = np.append(0, first.cumsum()) + np.append(last[::-1].cumsum()[::-1], 0)
    return np.where(at[:-1] < cost.argmin(), beside[0], beside[-1])


def _moved(
    state: HandState, hands: tuple[Indices, Indices], joints_m: Floats, source: Indices, rows: Indices
) -> HandState:
    """The state with the pairs `rows` (n,) replaced by those of `source` (n,), moved as joints_m (P, 42, 3) do."""
    motion = fit_rigid(joints_m[source], joints_m[rows])
    for own in hands:
        there = state.take(own[source])
        wrist_m = motion.apply(there.wrist_m[:, None])[:, 0]
        moved = HandState(image_depth_of(wrist_m), motion.rotation @ there.root, there.angles_rad)
        state = state.put(own[rows], moved)
    return state
