# SPDX-License-Identifier: GPL-3.0-or-later
"""The time offset between a take and a body's motion, from the motion of their wrists. Does not import bpy.

Three signals do not depend on the camera, on scale, or on whether the body walks: the speed of each wrist, and the
distance between the two. Their masked normalised correlation is computed for all shifts at once (Padfield 2010).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import RequestError
from inference_core.shared.flag_runs import flag_runs

from ..scene.axes import Floats

_STEPS: Final = 4  # of the correlation to the shorter spacing of the two motions
_LEAST_OVERLAP: Final = 0.5  # of the shorter motion: what overlaps less matches by chance
_LEAST_STEPS: Final = 32  # shorter motions tell nothing
_BELL_FRAMES: Final = 1.0  # smoothing of both before their speeds are taken
_CLEAR_LEAD: Final = 0.2  # of the best shift over the next best peak, for it to be trusted in full
_STILL: Final = 1e-9  # variance of a signal that does not move

Signals = Floats  # (N, 3): speed left, speed right, distance; NaN where unknown


@dataclass(frozen=True)
class Wrists:
    """frames (K,) ascending; points (K, 2, 3) of the left and the right wrist in any fixed axes, NaN where unknown."""

    frames: Floats
    points: Floats


@dataclass(frozen=True)
class Offset:
    """frames: to be added to the take's frames; sure: 0 (a guess) to 1."""

    frames: float
    sure: float


def find_offset(take: Wrists, body: Wrists) -> Offset:
    """The shift at which the take's wrists move like the body's. RequestError if either hardly moves."""
    step = min(_spacing(take), _spacing(body)) / _STEPS
    ours, theirs = _signals(take, step), _signals(body, step)
    if min(len(ours), len(theirs)) < _LEAST_STEPS:
        raise RequestError(
            "The range is too short to find the offset. Choose a longer one, or set it by hand."
        )
    shifts, scores = _scores(theirs, ours)
    if not np.isfinite(scores).any():
        raise RequestError(
            "The wrists do not move enough, or hands and body do not overlap. Set the offset by hand."
        )
    best = int(np.nanargmax(scores))
    frames = (shifts[best] + _vertex(scores, best)) * step + body.frames[0] - take.frames[0]
    return Offset(float(frames), _sure(scores, best))


def _spacing(wrists: Wrists) -> float:
    if len(wrists.frames) < 2:
        raise RequestError("A single frame is not enough to find an offset. Set it by hand.")
    return float(np.median(np.diff(wrists.frames)))


def _signals(wrists: Wrists, step: float) -> Signals:
    """The signals on a grid that starts at the first frame."""
    at = np.arange(wrists.frames[0], wrists.frames[-1] + step / 2, step)
    points = _smoothed(_resampled(wrists, at), _BELL_FRAMES * max(_spacing(wrists), step * _STEPS) / step)
    speed = np.linalg.norm(np.gradient(points, axis=0), axis=-1) if len(at) > 1 else np.zeros((len(at), 2))
    distance = np.linalg.norm(points[:, 0] - points[:, 1], axis=-1)
    return np.concatenate([speed, distance[:, None]], axis=1)


def _resampled(wrists: Wrists, at: Floats) -> Floats:
    """Points (N, 2, 3) interpolated between the known ones; NaN across gaps."""
    found = np.full((len(at), 2, 3), np.nan)
    for side in (0, 1):
        known = np.isfinite(wrists.points[:, side, 0])
        if not known.any():
            continue
        near = np.interp(at, wrists.frames, known.astype(np.float64)) > 1 - 1e-9
        for axis in range(3):
            line = np.interp(at, wrists.frames[known], wrists.points[known, side, axis])
            found[:, side, axis] = np.where(near, line, np.nan)
    return found


def _smoothed(points: Floats, bell: float) -> Floats:
    """Points (N, 2, 3) smoothed by a Gaussian of that many steps, each run of known ones by itself."""
    reach = int(np.ceil(3 * bell))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / bell) ** 2)
    found = points.copy()
    for side in (0, 1):
        for start, stop in flag_runs(np.isfinite(points[:, side, 0])):
            run = points[start:stop, side]
            total = np.stack([np.convolve(column, kernel)[reach:-reach] for column in run.T], 1)
            weight = np.convolve(np.ones(len(run)), kernel)[reach:-reach]
            found[start:stop, side] = total / weight[:, None]
    return found


def _scores(body: Signals, take: Signals) -> tuple[NDArray[np.int64], Floats]:
    """Shifts (M,) in steps and the similarity (M,), -1 to 1, of body[i + shift] and take[i]; NaN if few overlap."""
    shifts = np.arange(-(len(take) - 1), len(body))
    total, count = np.zeros(len(shifts)), np.zeros(len(shifts))
    for column in range(body.shape[1]):
        likeness = _correlation(body[:, column], take[:, column])
        known = np.isfinite(likeness)
        total[known] += likeness[known]
        count += known
    return shifts, np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _correlation(first: Floats, second: Floats) -> Floats:
    """Correlation coefficients (M,) of first[i + shift] with second[i] over the known rows of both."""
    known, other = np.isfinite(first).astype(np.float64), np.isfinite(second).astype(np.float64)
    one, two = _centred(first), _centred(second)
    rows = _crossed(known, other)
    least = max(_LEAST_STEPS, _LEAST_OVERLAP * min(known.sum(), other.sum()))
    enough = np.maximum(rows, 1)
    mean_one, mean_two = _crossed(one, other) / enough, _crossed(known, two) / enough
    spread_one = _crossed(one**2, other) / enough - mean_one**2
    spread_two = _crossed(known, two**2) / enough - mean_two**2
    shared = _crossed(one, two) / enough - mean_one * mean_two
    still = _STILL * max(float(np.square(one).max()), 1e-30), _STILL * max(float(np.square(two).max()), 1e-30)
    moving = (rows >= least - 0.5) & (spread_one > still[0]) & (spread_two > still[1])
    return np.where(moving, shared / np.sqrt(np.where(moving, spread_one * spread_two, 1)), np.nan)


def _centred(values: Floats) -> Floats:
    """The values minus their mean; 0 where they are unknown."""
    known = np.isfinite(values)
    return np.where(known, values - values[known].mean(), 0.0) if known.any() else np.zeros(len(values))


def _crossed(first: Floats, second: Floats) -> Floats:
    """Sums over i of first[i + shift] second[i], by shift from -(len(second) - 1) on."""
    size = len(first) + len(second) - 1
    length = 1 << (size - 1).bit_length()
    found = np.fft.irfft(np.fft.rfft(first, length) * np.fft.rfft(second[::-1], length), length)
    return found[:size]


def _vertex(scores: Floats, best: int) -> float:
    """Position (-1/2 to 1/2) of the maximum of a parabola through the best score and its neighbours."""
    if not 0 < best < len(scores) - 1:
        return 0.0
    before, here, after = scores[best - 1 : best + 2]
    bend = before - 2 * here + after
    if not np.isfinite(bend) or bend >= 0:
        return 0.0
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))


def _sure(scores: Floats, best: int) -> float:
    """Certainty, from the similarity at the best shift and its margin over the next best peak."""
    padded = np.concatenate([[-1.0], np.nan_to_num(scores, nan=-1.0), [-1.0]])
    peaks = np.flatnonzero((padded[1:-1] > padded[:-2]) & (padded[1:-1] >= padded[2:]))
    rivals = scores[peaks[np.abs(peaks - best) > 1]]
    lead = scores[best] - max(float(np.nanmax(rivals)) if len(rivals) else 0.0, 0.0)
    return float(np.clip(scores[best], 0, 1) * np.clip(lead / _CLEAR_LEAD, 0, 1))
