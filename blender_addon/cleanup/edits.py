# SPDX-License-Identifier: GPL-3.0-or-later
"""The edits an animator makes to one hand's motion, on arrays. No bpy here."""

from dataclasses import replace

import numpy as np

from inference_core.shared import quaternions
from inference_core.shared.smoothing import smooth_positions, smooth_rotations

from ..scene.track import Floats, HandTrack, inside, merged, rows_of, runs

REFILLED_CONFIDENCE = 0.2
_SLOPE_FRAMES = 3  # neighbours on each side that determine the speed at a gap


def held(track: HandTrack, first: float, last: float) -> HandTrack:
    """The pose of the range's first frame kept through the range; from a cut on, that of the first one after it."""
    rows = np.flatnonzero(inside(track, first, last))
    piece = track.piece[rows]
    source = rows[np.searchsorted(piece, piece)]
    location, rotations = track.location.copy(), track.rotations_wxyz.copy()
    location[rows], rotations[rows] = location[source], rotations[source]
    return replace(track, location=location, rotations_wxyz=quaternions.continuous(rotations))


def deleted(track: HandTrack, first: float, last: float) -> HandTrack:
    """The hand absent through the range."""
    return rows_of(track, ~inside(track, first, last))


def refilled(track: HandTrack, first: float, last: float) -> HandTrack:
    """The range interpolated from the motion before and after it, which must exist within the same piece of footage;
    marked as filled.

    Hermite cubics through the frames around the gap, with the hand's speed there.
    """
    outside = rows_of(track, ~inside(track, first, last))
    piece, last_piece = np.searchsorted(track.cuts, [first, last])
    low, high = np.searchsorted(outside.piece, [piece, piece + 1])
    before = low + np.flatnonzero(outside.frames[low:high] < first)
    after = low + np.flatnonzero(outside.frames[low:high] > last)
    if piece != last_piece or not len(before) or not len(after):
        return track
    a, b = before[-1], after[0]
    start, end = float(outside.frames[a]), float(outside.frames[b])
    steps = max(int(np.ceil((end - start) / outside.spacing - 1e-6)) - 1, 1)
    frames = np.linspace(start, end, steps + 2)[1:-1]
    near = slice(max(a - _SLOPE_FRAMES, low), min(b + _SLOPE_FRAMES + 1, high))
    turns = quaternions.continuous(outside.rotations_wxyz[near]).reshape(
        -1, outside.rotations_wxyz.shape[1] * 4
    )
    middle = a - near.start
    between = _interpolated(np.hstack([outside.location[near], turns]), outside.frames[near], middle, frames)
    count = len(frames)
    filling = HandTrack(
        frames,
        between[:, :3],
        quaternions.normalized(between[:, 3:].reshape(count, -1, 4)),
        np.ones(count, bool),
        np.full(count, REFILLED_CONFIDENCE),
        np.zeros(count, bool),
    )
    closed = replace(outside, absent_after=outside.absent_after & (np.arange(len(outside.frames)) != a))
    found = merged(closed, filling)
    return replace(found, absent_after=found.absent_after & ~inside(found, start, last))


def filled_from(track: HandTrack, other: HandTrack) -> HandTrack:
    """The other track's motion on this track's frames; this track's own where the other has none."""
    at = np.searchsorted(other.frames, track.frames).clip(max=len(other.frames) - 1)
    same = other.frames[at] == track.frames
    location, rotations = track.location.copy(), track.rotations_wxyz.copy()
    location[same], rotations[same] = other.location[at[same]], other.rotations_wxyz[at[same]]
    return replace(track, location=location, rotations_wxyz=rotations)


def smoothed(track: HandTrack, fps: float, strength: float) -> HandTrack:
    """The track smoothed without lag, strength 0..1; nothing is smoothed across an absence or a cut."""
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


def _interpolated(values: Floats, frames: Floats, middle: int, at: Floats) -> Floats:
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
    """Mean change (C,) per frame over the rows; 0 for one row."""
    if len(frames) < 2:
        return np.zeros(values.shape[1])
    return (values[-1] - values[0]) / (frames[-1] - frames[0])
