# SPDX-License-Identifier: GPL-3.0-or-later
"""One hand's motion as arrays, and the edits an animator makes to it. No bpy here.

K frames at which the hand is present, N = 16 bones in MANO's order; scene frames, Blender units. Rotations and
location are those of pose bones: from rest, in the bone's own axes.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from inference_core.shared import quaternions
from inference_core.shared.flag_runs import flag_runs

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class HandTrack:
    """frames (K,) ascending, location (K, 3), rotations_wxyz (K, N, 4), filled (K,): interpolated rather than seen,
    confidence (K,), absent_after (K,): the hand is absent between this frame and the next. cuts (C,): the scene frames
    at which the footage is cut, each between two pictures.
    """

    frames: Floats
    location: Floats
    rotations_wxyz: Floats
    filled: Flags
    confidence: Floats
    absent_after: Flags
    cuts: Floats = field(default_factory=lambda: np.zeros(0))

    @property
    def piece(self) -> NDArray[np.int64]:
        """(K,) the number of the piece of footage that each frame is in."""
        return np.searchsorted(self.cuts, self.frames)

    @property
    def apart_after(self) -> Flags:
        """(K,) whether nothing moves from this frame to the next: the hand is absent, or the footage is cut."""
        return self.absent_after | (np.diff(self.piece, append=self.piece[-1:]) > 0)

    @property
    def spacing(self) -> float:
        """The usual distance between two frames."""
        return float(np.median(np.diff(self.frames))) if len(self.frames) > 1 else 1.0


def inside(track: HandTrack, first: float, last: float) -> Flags:
    """(K,) which frames are in first..last, both included; scene frames need not be whole."""
    return (track.frames >= first - 0.5) & (track.frames <= last + 0.5)


def rows_of(track: HandTrack, rows: Flags) -> HandTrack:
    """The track with these rows (K,) only; where rows between two kept ones are left out, the hand is absent."""
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
        track.cuts,
    )


def same_motion(one: HandTrack, other: HandTrack, first: float = -np.inf, last: float = np.inf) -> bool:
    """Whether both tracks have the same poses, on the same frames, in first..last."""
    a, b = inside(one, first, last), inside(other, first, last)
    return (
        np.array_equal(one.frames[a], other.frames[b])
        and np.array_equal(one.location[a], other.location[b])
        and np.array_equal(one.rotations_wxyz[a], other.rotations_wxyz[b])
    )


def merged(first: HandTrack, second: HandTrack) -> HandTrack:
    """Both tracks' rows in order; the first's where both have one. The hand is absent only where it is in both."""
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
    return HandTrack(
        frames, location, quaternions.continuous(rotations), filled, confidence, away, first.cuts
    )


def runs(track: HandTrack) -> list[slice]:
    """Rows of each stretch without an absence or a cut."""
    ends = np.append(np.flatnonzero(track.apart_after[:-1]) + 1, len(track.frames))
    starts = np.append(0, ends[:-1])
    return [slice(int(start), int(end)) for start, end in zip(starts, ends, strict=True) if end > start]


def led_to(track: HandTrack, kept: HandTrack, frames: float) -> HandTrack:
    """The track blended into the rows of `kept` (frames of its own among them) over that many frames beside them.

    At each end of a run, the difference between the two motions fades out.
    """
    rows = np.isin(track.frames, kept.frames)
    if frames <= 0 or not rows.any():
        return track
    location, rotations = track.location.copy(), track.rotations_wxyz.copy()
    for start, stop in flag_runs(rows):
        for edge, beside in ((start, np.arange(0, start)), (stop - 1, np.arange(stop, len(rows)))):
            away = np.abs(track.frames[beside] - track.frames[edge])
            beside, away = beside[away <= frames], away[away <= frames]
            beside, away = _joined(track, beside, away, edge)
            at = np.searchsorted(kept.frames, track.frames[edge])
            share = 1 - away / (frames + 1)
            off = kept.location[at] - track.location[edge]
            turn = quaternions.multiply(
                quaternions.conjugate(track.rotations_wxyz[edge]), kept.rotations_wxyz[at]
            )
            location[beside] += share[:, None] * off
            some = quaternions.exp(share[:, None, None] * quaternions.log(turn)[None])
            rotations[beside] = quaternions.multiply(rotations[beside], some)
    return replace(track, location=location, rotations_wxyz=quaternions.continuous(rotations))


def _joined(
    track: HandTrack, beside: NDArray[np.int64], away: Floats, edge: int
) -> tuple[NDArray[np.int64], Floats]:
    """The rows beside an edge that no absence and no cut separates from it."""
    low, high = np.minimum(beside, edge), np.maximum(beside, edge)
    gaps = np.concatenate([[0], np.cumsum(track.apart_after)])
    there = gaps[high] == gaps[low]
    return beside[there], away[there]
