# SPDX-License-Identifier: GPL-3.0-or-later
"""One hand's motion as arrays, and the edits an animator makes to it. No bpy here.

K frames at which the hand is present, N = 16 bones in MANO's order; scene frames, Blender units. Rotations and
location are those of pose bones: from rest, in the bone's own axes.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_core.shared import quaternions
from inference_core.shared.smoothing import smooth_positions, smooth_rotations

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

REFILLED_CONFIDENCE = 0.2
_SLOPE_FRAMES = 3  # neighbours on each side that tell how fast the hand moved into a gap


@dataclass(frozen=True)
class HandTrack:
    """frames (K,) ascending, location (K, 3), rotations_wxyz (K, N, 4), filled (K,): bridged rather than seen,
    confidence (K,), absent_after (K,): the hand is away between this frame and the next one."""

    frames: Floats
    location: Floats
    rotations_wxyz: Floats
    filled: Flags
    confidence: Floats
    absent_after: Flags

    @property
    def spacing(self) -> float:
        """The usual distance between two frames."""
        return float(np.median(np.diff(self.frames))) if len(self.frames) > 1 else 1.0


def inside(track: HandTrack, first: float, last: float) -> Flags:
    """(K,) which frames lie in first..last, both included; scene frames need not be whole."""
    return (track.frames >= first - 0.5) & (track.frames <= last + 0.5)


def rows_of(track: HandTrack, rows: Flags) -> HandTrack:
    """The track with these rows (K,) only; where rows between two kept ones are left out, the hand is away."""
    kept = np.flatnonzero(rows)
    skipped = np.diff(kept, append=len(rows)) > 1
    away = np.array(
        [
            bool(track.absent_after[a : a + step].any())
            for a, step in zip(kept, np.diff(kept, append=len(rows)), strict=True)
        ],
        bool,
    )
    return HandTrack(
        track.frames[kept],
        track.location[kept],
        track.rotations_wxyz[kept],
        track.filled[kept],
        track.confidence[kept],
        away | skipped,
    )


def merged(first: HandTrack, second: HandTrack) -> HandTrack:
    """Both tracks' rows in order; the first's where both have one. The hand is away only where both say so."""
    fresh = ~np.isin(second.frames, first.frames)
    parts = (first, rows_of(second, fresh) if fresh.any() else None)
    rows = [part for part in parts if part is not None and len(part.frames)]
    if not rows:
        return first
    order = np.argsort(np.concatenate([part.frames for part in rows]), kind="stable")
    frames, location, rotations, filled, confidence, away = (
        np.concatenate([getattr(part, name) for part in rows])[order]
        for name in ("frames", "location", "rotations_wxyz", "filled", "confidence", "absent_after")
    )
    usual = min(part.spacing for part in rows if len(part.frames) > 1) if len(frames) > 1 else 1.0
    away = away & (np.diff(frames, append=np.inf) > 1.5 * usual)
    return HandTrack(frames, location, quaternions.continuous(rotations), filled, confidence, away)


def held(track: HandTrack, first: float, last: float) -> HandTrack:
    """The pose of the range's first frame kept through the range."""
    rows = np.flatnonzero(inside(track, first, last))
    if not len(rows):
        return track
    location, rotations = track.location.copy(), track.rotations_wxyz.copy()
    location[rows], rotations[rows] = location[rows[0]], rotations[rows[0]]
    return replace(track, location=location, rotations_wxyz=quaternions.continuous(rotations))


def deleted(track: HandTrack, first: float, last: float) -> HandTrack:
    """The hand away through the range."""
    return rows_of(track, ~inside(track, first, last))


def refilled(track: HandTrack, first: float, last: float) -> HandTrack:
    """The range bridged by the motion on both sides of it, which must be there; marked as filled.

    Hermite cubics through the frames around the gap, with the speeds that the hand had there.
    """
    outside = rows_of(track, ~inside(track, first, last))
    before = np.flatnonzero(outside.frames < first)
    after = np.flatnonzero(outside.frames > last)
    if not len(before) or not len(after):
        return track
    a, b = before[-1], after[0]
    start, end = float(outside.frames[a]), float(outside.frames[b])
    steps = max(int(np.ceil((end - start) / outside.spacing - 1e-6)) - 1, 1)
    frames = np.linspace(start, end, steps + 2)[1:-1]
    near = slice(max(a - _SLOPE_FRAMES, 0), b + _SLOPE_FRAMES + 1)
    turns = quaternions.continuous(outside.rotations_wxyz[near]).reshape(
        -1, outside.rotations_wxyz.shape[1] * 4
    )
    middle = a - near.start
    bridge = _bridge(np.hstack([outside.location[near], turns]), outside.frames[near], middle, frames)
    count = len(frames)
    filling = HandTrack(
        frames,
        bridge[:, :3],
        quaternions.normalized(bridge[:, 3:].reshape(count, -1, 4)),
        np.ones(count, bool),
        np.full(count, REFILLED_CONFIDENCE),
        np.zeros(count, bool),
    )
    closed = replace(outside, absent_after=outside.absent_after & (np.arange(len(outside.frames)) != a))
    found = merged(closed, filling)
    return replace(found, absent_after=found.absent_after & ~inside(found, start, last))


def smoothed(track: HandTrack, fps: float, strength: float) -> HandTrack:
    """The track smoothed without lag, strength 0..1; nothing is smoothed across an absence."""
    location, rotations = track.location.copy(), quaternions.continuous(track.rotations_wxyz)
    for run in runs(track):
        seconds = track.frames[run] / fps
        location[run] = smooth_positions(location[run], seconds, strength)
        rotations[run] = smooth_rotations(rotations[run], seconds, strength)
    return replace(track, location=location, rotations_wxyz=rotations)


def turned_over(rotations_wxyz: Floats) -> Floats:
    """Finger rotations (..., 4) of one side on the other side's bones.

    Local X flexes on both sides and Y runs along the bone: flexion stays, spread and twist are mirrored.
    """
    return rotations_wxyz * np.array([1.0, 1.0, -1.0, -1.0])


def runs(track: HandTrack) -> list[slice]:
    """Rows of each stretch in which the hand is never away."""
    ends = np.append(np.flatnonzero(track.absent_after[:-1]) + 1, len(track.frames))
    starts = np.append(0, ends[:-1])
    return [slice(int(start), int(end)) for start, end in zip(starts, ends, strict=True) if end > start]


def _bridge(values: Floats, frames: Floats, middle: int, at: Floats) -> Floats:
    """Cubic (A, C) between rows `middle` and `middle + 1` of values (M, C), with the speeds around them."""
    start, end = frames[middle], frames[middle + 1]
    speed_in = _speed(values[: middle + 1], frames[: middle + 1])
    speed_out = _speed(values[middle + 1 :], frames[middle + 1 :])
    length = end - start
    t = ((at - start) / length)[:, None]
    return (
        (1 + 2 * t) * (1 - t) ** 2 * values[middle]
        + t * (1 - t) ** 2 * length * speed_in
        + t * t * (3 - 2 * t) * values[middle + 1]
        + t * t * (t - 1) * length * speed_out
    )


def _speed(values: Floats, frames: Floats) -> Floats:
    """Mean change (C,) a frame over the rows; 0 for one row."""
    if len(frames) < 2:
        return np.zeros(values.shape[1])
    return (values[-1] - values[0]) / (frames[-1] - frames[0])
