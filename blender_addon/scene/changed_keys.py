# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a motion's keys need writing: those where it changed. Keys beside them stay as an animator left them."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from inference_core.shared import quaternions

from . import fcurves
from .fcurves import Channels, Keys
from .track import Floats, HandTrack

_SAME: Final = 1e-6  # of the largest value, which Blender stores in 32 bits
_NEAR: Final = 2e-3  # frames: keys so close are the same key


@dataclass(frozen=True)
class Part:
    """Keys to write, and the first and last of the frames whose keys they replace."""

    keys: Keys
    span: tuple[float, float]


def frames_apart(one: HandTrack, other: HandTrack) -> Floats:
    """Frames at which only one of the tracks has the hand, or has it filled, or absent afterwards."""
    both, a, b = np.intersect1d(one.frames, other.frames, return_indices=True)
    differ = (one.filled[a] != other.filled[b]) | (one.absent_after[a] != other.absent_after[b])
    return np.concatenate([np.setxor1d(one.frames, other.frames), both[differ]])


def changed(channels: Channels, path: str, keys: Keys, apart: Floats) -> Part | None:
    """The keys among those of the C curves of `path` that give other values than its curves, or lie on the frames
    `apart`, and those between them and the next key that stays; None if nothing changes.
    """
    count = keys.values.shape[1]
    curves = [channels.fcurves.find(path, index=index) for index in range(count)]
    if any(curve is None for curve in curves):
        return Part(keys, (float(keys.frames[0]), float(keys.frames[-1])))
    now = fcurves.read_keys(channels, path, count)
    values = (
        now.values
        if now is not None and np.array_equal(now.frames, keys.frames)
        else fcurves.sample_keys(curves, keys.frames)
    )
    if path.endswith("rotation_quaternion"):
        values = quaternions.normalized(values)
    differs = (np.abs(values - keys.values) > _SAME * np.abs(keys.values).max()).any(1)
    at = np.concatenate([keys.frames[differs], apart])
    if not len(at):
        return None
    there = np.unique(np.concatenate([fcurves.key_points(curve)[0] for curve in curves]))
    low = there[there < at.min() - _NEAR].max(initial=-np.inf) + _NEAR
    high = there[there > at.max() + _NEAR].min(initial=np.inf) - _NEAR
    rows = (keys.frames > low) & (keys.frames < high)
    if not rows.any():  # the hand is only absent here
        nearest = keys.frames[np.abs(keys.frames - at.min()).argmin()]
        low, high, rows = min(low, nearest), max(high, nearest), keys.frames == nearest
    part = Keys(keys.frames[rows], keys.values[rows], keys.kinds[rows], keys.interpolation[rows])
    return Part(part, (float(low), float(high)))
