# SPDX-License-Identifier: GPL-3.0-or-later
"""Key reduction: Bezier keys whose motion stays within a tolerance in millimetres or degrees. No bpy.

A span between two keys is a cubic whose handles are at a third of its length, so that time is linear in it and its
value is a Hermite polynomial: what is measured here is exactly what Blender plays. Keys are added where a span's
error is largest until all are within the tolerance, then removed where they are not needed. Bones of one hand, N = 16
in MANO's order; K keyed frames; "units" are Blender units.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.shared import quaternions

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_BOUND_SEARCH_STEPS = 7


@dataclass(frozen=True)
class BoneRest:
    """Bones at rest in their armature: parents (N,), heads, tails (N, 3), frames (N, 3, 3), columns X Y Z."""

    parents: tuple[int, ...]
    heads: Floats
    tails: Floats
    frames: Floats


@dataclass(frozen=True)
class ReducedCurve:
    """Keys of one bone's rotation or location: rows (M,) of the source, values and slopes per frame (M, C)."""

    rows: Indices
    values: Floats
    slopes: Floats


@dataclass(frozen=True)
class Reduction:
    """The reduced keys of one hand. keys: their number, one per bone and frame (location counts as one more)."""

    location: ReducedCurve
    rotations: tuple[ReducedCurve, ...]
    keys_before: int
    keys_after: int
    largest_error_units: float
    largest_error_deg: float


def reduce_within_distance(
    frames: Floats, location: Floats, rotations_wxyz: Floats, rest: BoneRest, bound_units: float
) -> Reduction:
    """The fewest keys found that keep bone heads and tails within a distance of the source on every frame.

    frames (K,) ascending; location (K, 3) of the first bone in its own axes; rotations_wxyz (K, N, 4) of pose bones,
    with continuous signs. Each bone first gets a share of the tolerance according to its reach; then all shares grow
    as long as the whole hand, measured by forward kinematics, stays within it.
    """
    reach = _reaches(rest)
    truth = points(location, rotations_wxyz, rest)

    def attempt(scale: float) -> Reduction:
        angle = 2 * np.arcsin(np.minimum(scale * bound_units / (2 * reach), 1.0)).astype(np.float64)
        reduction = _reduced(frames, location, rotations_wxyz, scale * bound_units, angle)
        return _measured(reduction, frames, rotations_wxyz, rest, truth)

    return _largest_within(attempt, lambda reduction: reduction.largest_error_units <= bound_units)


def reduce_within_angle(
    frames: Floats,
    location: Floats,
    rotations_wxyz: Floats,
    rest: BoneRest,
    bound_deg: float,
    bound_units: float,
) -> Reduction:
    """The fewest keys found that keep every bone's rotation within an angle of the source, and
    the location within a distance.
    """
    angles = np.full(rotations_wxyz.shape[1], np.radians(bound_deg))
    reduction = _reduced(frames, location, rotations_wxyz, bound_units, angles)
    truth = points(location, rotations_wxyz, rest)
    return _measured(reduction, frames, rotations_wxyz, rest, truth)


def played(curve: ReducedCurve, frames: Floats, at: Floats) -> Floats:
    """Values (A, C) of the curve's Bezier spans at the frames `at` (A,), constant before and after its keys."""
    keys = frames[curve.rows]
    if len(keys) == 1:
        return np.repeat(curve.values, len(at), 0)
    span = np.clip(np.searchsorted(keys, at, side="right") - 1, 0, len(keys) - 2)
    length = keys[span + 1] - keys[span]
    t = np.clip((at - keys[span]) / length, 0, 1)[:, None]
    rise = length[:, None]
    return (
        (1 + 2 * t) * (1 - t) ** 2 * curve.values[span]
        + t * (1 - t) ** 2 * rise * curve.slopes[span]
        + t * t * (3 - 2 * t) * curve.values[span + 1]
        + t * t * (t - 1) * rise * curve.slopes[span + 1]
    )


def points(location: Floats, rotations_wxyz: Floats, rest: BoneRest) -> Floats:
    """Bone heads and tails (K, N, 2, 3) in the armature's axes of pose-bone locations and rotations."""
    basis = quaternions.to_matrix(rotations_wxyz)
    count = len(rest.parents)
    turns = np.empty((len(location), count, 3, 3))  # from the armature's rest axes
    found = np.empty((len(location), count, 2, 3))
    for bone, parent in enumerate(rest.parents):
        own = rest.frames[bone] @ basis[:, bone] @ rest.frames[bone].T
        if parent < 0:
            turns[:, bone] = own
            found[:, bone, 0] = rest.heads[bone] + location @ rest.frames[bone].T
        else:
            turns[:, bone] = turns[:, parent] @ own
            found[:, bone, 0] = found[:, parent, 0] + turns[:, parent] @ (
                rest.heads[bone] - rest.heads[parent]
            )
        found[:, bone, 1] = found[:, bone, 0] + turns[:, bone] @ (rest.tails[bone] - rest.heads[bone])
    return found


def _largest_within(attempt: Callable[[float], Reduction], holds: Callable[[Reduction], bool]) -> Reduction:
    """The reduction with the largest scale found that stays within the tolerance;
    scale 0 removes only redundant keys.
    """
    best, low, high = attempt(0.0), 0.0, 2.0
    scale = 0.5
    for _ in range(_BOUND_SEARCH_STEPS):
        found = attempt(scale)
        if holds(found):
            low = scale
            if found.keys_after <= best.keys_after:
                best = found
        else:
            high = scale
        scale = (low + high) / 2
    return best


def _reduced(
    frames: Floats, location: Floats, rotations: Floats, bound_units: float, bound_rad: Floats
) -> tuple[ReducedCurve, ...]:
    """Curves of the location, then of each bone's rotation, each with its own tolerance."""

    def distance(found: Floats, rows: Indices) -> Floats:
        return np.linalg.norm(found - location[rows], axis=-1)

    curves = [_reduced_curve(frames, location, bound_units, distance)]
    for bone in range(rotations.shape[1]):
        source = rotations[:, bone]

        def angle(found: Floats, rows: Indices, source: Floats = source) -> Floats:
            return quaternions.angle_between(quaternions.normalized(found), source[rows])

        curves.append(_reduced_curve(frames, source, float(bound_rad[bone]), angle))
    return tuple(curves)


def _reduced_curve(
    frames: Floats, values: Floats, bound: float, error: Callable[[Floats, Indices], Floats]
) -> ReducedCurve:
    count = len(frames)
    rows = np.arange(count)
    slopes = np.gradient(values, frames, axis=0) if count > 1 else np.zeros_like(values)
    keep = np.zeros(count, bool)
    keep[[0, -1]] = True
    while True:
        strays = error(_play(keep, frames, values, slopes), rows)
        strays[keep] = 0
        worst = _worst_of_each_span(strays, keep, bound)
        if not len(worst):
            break
        keep[worst] = True
    for first in (0, 1):  # of neighbouring keys, remove only every other one at a time
        keep = _pruned(keep, first, frames, values, slopes, bound, error)
    kept = np.flatnonzero(keep)
    return ReducedCurve(kept, values[kept], slopes[kept])


def _pruned(
    keep: NDArray[np.bool_],
    first: int,
    frames: Floats,
    values: Floats,
    slopes: Floats,
    bound: float,
    error: Callable[[Floats, Indices], Floats],
) -> NDArray[np.bool_]:
    """The rows without every other inner key whose span stays within the tolerance without it."""
    candidates = np.flatnonzero(keep)[1:-1][first::2]
    trial = keep.copy()
    trial[candidates] = False
    strays = error(_play(trial, frames, values, slopes), np.arange(len(frames)))
    spans = np.cumsum(trial) - 1
    too_far = np.zeros(spans[-1] + 1, bool)
    np.logical_or.at(too_far, spans, strays > bound)
    trial[candidates[too_far[spans[candidates]]]] = True
    return trial


def _play(keep: NDArray[np.bool_], frames: Floats, values: Floats, slopes: Floats) -> Floats:
    kept = np.flatnonzero(keep)
    return played(ReducedCurve(kept, values[kept], slopes[kept]), frames, frames)


def _worst_of_each_span(strays: Floats, keep: NDArray[np.bool_], bound: float) -> Indices:
    """The row with the largest error in each span that exceeds the tolerance."""
    rows = np.flatnonzero(strays > bound)
    if not len(rows):
        return rows
    spans = np.cumsum(keep)[rows]
    order = np.lexsort((-strays[rows], spans))
    _, first = np.unique(spans[order], return_index=True)
    return rows[order[first]]


def _reaches(rest: BoneRest) -> Floats:
    """(N,) the greatest distance from each bone's head to a point that it moves, at rest."""
    reach = np.linalg.norm(rest.tails - rest.heads, axis=-1)
    for bone in range(len(rest.parents)):
        ancestor = rest.parents[bone]
        while ancestor >= 0:
            reach[ancestor] = max(reach[ancestor], np.linalg.norm(rest.tails[bone] - rest.heads[ancestor]))
            ancestor = rest.parents[ancestor]
    return np.maximum(reach, 1e-9)


def _measured(
    curves: tuple[ReducedCurve, ...],
    frames: Floats,
    rotations: Floats,
    rest: BoneRest,
    truth: Floats,
) -> Reduction:
    moved = played(curves[0], frames, frames)
    turned = np.stack([quaternions.normalized(played(curve, frames, frames)) for curve in curves[1:]], 1)
    apart = np.linalg.norm(points(moved, turned, rest) - truth, axis=-1)
    angles = quaternions.angle_between(turned, rotations)
    return Reduction(
        location=curves[0],
        rotations=curves[1:],
        keys_before=len(frames) * len(curves),
        keys_after=sum(len(curve.rows) for curve in curves),
        largest_error_units=float(apart.max(initial=0.0)),
        largest_error_deg=float(np.degrees(angles.max(initial=0.0))),
    )
