# SPDX-License-Identifier: GPL-3.0-or-later
"""The smoothing of a hand's motion, applied to its current keys: edits are kept.

More smoothing is applied to the current motion. Less brings back the raw motion's jitter between both strengths, within
bounds: larger differences are errors that the solve removed. The strength of each frame, 0..1, is known: that of the
solve, and of ranges that were smoothed since.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from inference_core.shared import quaternions

from ..scene.hand_curves import HandRig, read_raw_track, read_track, write_tracks
from ..scene.track import Floats, HandTrack, inside, same_motion
from .edits import smoothed
from .soft_ends import mixed, weights

MOST_M: Final = 0.01  # jitter is at most this large
MOST_RAD: Final = 0.2
FADE_FRAMES: Final = 5.0  # at the ends of a range


@dataclass(frozen=True)
class _Base:
    """Motion and strength (K,) that smoothing starts from, and what was last written of it."""

    track: HandTrack
    strengths: Floats
    written: HandTrack


_bases: dict[int, _Base] = {}


def smooth(rig: HandRig, fps: float, strength: float, first: int, last: int) -> None:
    """Set the range's smoothing (scene frames, both included); frames outside do not change."""
    now = read_track(rig)
    rows = inside(now, first, last)
    base = _base(rig, now)
    target = _at_strength(rig, base, fps, strength)
    result = mixed(now, target, weights(now, rows, FADE_FRAMES))
    write_tracks([(rig, result)])
    _remember(rig, strength, first, last)
    _bases[rig.armature.session_uid] = replace(base, written=read_track(rig))


def strength_of(rig: HandRig, first: int, last: int) -> float:
    """The range's current smoothing; if it has several, the one set last for a part of it."""
    found = rig.armature.duohand.solved_smoothing
    for item in rig.armature.duohand.smoothing:
        if item.first <= last and item.last >= first:
            found = item.strength
    return found


def _base(rig: HandRig, now: HandTrack) -> _Base:
    """The motion to start from: as before while a slider is being dragged, else the current motion."""
    kept = _bases.get(rig.armature.session_uid)
    if kept is not None and same_motion(kept.written, now):
        return kept
    return _Base(now, _strengths(rig, now), now)


def _strengths(rig: HandRig, track: HandTrack) -> Floats:
    found = np.full(len(track.frames), rig.armature.duohand.solved_smoothing)
    for item in rig.armature.duohand.smoothing:
        found[inside(track, item.first, item.last)] = item.strength
    return found


def _at_strength(rig: HandRig, base: _Base, fps: float, strength: float) -> HandTrack:
    """The whole base track at that strength."""
    location, rotations = base.track.location.copy(), base.track.rotations_wxyz.copy()
    for level in np.unique(base.strengths):
        rows = base.strengths == level
        if abs(strength - level) < 1e-6:
            continue
        if strength > level:
            # Squared window widths add up, and a width grows with the strength's square.
            found = smoothed(base.track, fps, float((strength**4 - level**4) ** 0.25))
        else:
            found = _with_shake(rig, base.track, fps, strength, float(level))
        location[rows], rotations[rows] = found.location[rows], found.rotations_wxyz[rows]
    return replace(base.track, location=location, rotations_wxyz=rotations)


def _with_shake(rig: HandRig, track: HandTrack, fps: float, strength: float, level: float) -> HandTrack:
    """The track plus the difference of the raw motion smoothed at `strength` and at `level`, within bounds."""
    raw = read_raw_track(rig, track)
    less, more = smoothed(raw, fps, strength), smoothed(raw, fps, level)
    shift = _within(less.location - more.location, MOST_M * rig.shot.duohand.scale)
    turn = quaternions.multiply(quaternions.conjugate(more.rotations_wxyz), less.rotations_wxyz)
    turn = quaternions.exp(_within(quaternions.log(turn), MOST_RAD))
    turned = quaternions.multiply(track.rotations_wxyz, turn)
    return replace(track, location=track.location + shift, rotations_wxyz=quaternions.continuous(turned))


def _within(vectors: Floats, most: float) -> Floats:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors * np.minimum(1.0, most / np.maximum(lengths, 1e-12))


def _remember(rig: HandRig, strength: float, first: int, last: int) -> None:
    kept = rig.armature.duohand.smoothing
    for index in reversed(range(len(kept))):
        if kept[index].first >= first and kept[index].last <= last:
            kept.remove(index)
    item = kept.add()
    item.first, item.last, item.strength = first, last, strength
