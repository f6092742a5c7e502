# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a hand that moves steadily is followed at once, and its sightings in the frames between.

A hand at rest or in smooth motion tells nothing new in every frame. It is read some frames on, and where it is found
there as it was expected, the frames between are drawn from what is known on both sides.
"""

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.tracking.tracklets import Sighting

# What a line across a stride misses in its middle, on average over the landmarks, as a share of the crop's side: up to
# the first, sightings between are drawn, from the second on they are read. A single landmark, a moving finger's, may
# be missed by so many times more.
_STEADY, _UNSTEADY, _ONE_FINGER = 0.005, 0.012, 3.0
# Hands of lower presence may be leaving, or be something else: they are read in every frame.
_SURE = 0.95

Floats = NDArray[np.float64]


def is_sure(sighting: Sighting) -> bool:
    """Whether a hand is seen so surely that it may be followed across several frames."""
    return sighting.presence >= _SURE


def crop_ahead(before: Sighting, last: Sighting, at: int) -> Floats:
    """The crop (4,) of frame `at` for a hand that goes on as from one sighting to the next."""
    share = (at - last.at) / (last.at - before.at)
    crop = last.next_crop.copy()
    crop[:2] += share * (last.next_crop[:2] - before.next_crop[:2])
    return crop


def unsteadiness(before: Sighting, last: Sighting, found: Sighting) -> float:
    """0..1: how much what is read between `last` and `found` counts beside what is drawn there; 0: it need not be read.

    It grows so that a tiny difference in the landmarks does not change a take.
    """
    first_px, middle_px, end_px = (
        sighting.points_px[:, :2].astype(np.float64) for sighting in (before, last, found)
    )
    to_last, to_found = abs(last.at - before.at), abs(found.at - last.at)
    bend_px = (end_px - middle_px) / to_found - (middle_px - first_px) / to_last
    missed_px = np.linalg.norm(bend_px, axis=-1) / (to_last + to_found) * to_found**2 / 4
    missed = max(missed_px.mean(), missed_px.max() / _ONE_FINGER) / found.next_crop[2]
    return float(np.clip((missed - _STEADY) / (_UNSTEADY - _STEADY), 0, 1))


def between(before: Sighting, last: Sighting, found: Sighting) -> list[Sighting]:
    """Sightings of the frames between `last` and `found`, on the parabola through all three."""
    step = 1 if found.at > last.at else -1
    frames = range(last.at + step, found.at, step)
    known = before, last, found
    weights = _weights(np.array(frames), np.array([one.at for one in known]))
    points_px, world_m = (
        np.stack([np.tensordot(row, values, 1) for row in weights]).astype(np.float32)
        for values in (
            np.array([one.points_px for one in known], np.float64),
            np.array([one.world_m for one in known], np.float64),
        )
    )
    crops = crops_from_landmarks(points_px.astype(np.float64))
    presence, right = min(last.presence, found.presence), (last.right + found.right) / 2
    return [
        Sighting(at, points_px[n], world_m[n], presence, right, crops[n], crops[n])
        for n, at in enumerate(frames)
    ]


def blended(drawn: Sighting, read: Sighting, share: float) -> Sighting:
    """A sighting that is read to a share of 0..1, and drawn for the rest."""
    points_px, world_m = (
        ((1 - share) * ours + share * theirs).astype(np.float32)
        for ours, theirs in ((drawn.points_px, read.points_px), (drawn.world_m, read.world_m))
    )
    presence, right = (
        (1 - share) * ours + share * theirs
        for ours, theirs in ((drawn.presence, read.presence), (drawn.right, read.right))
    )
    crop = crops_from_landmarks(points_px.astype(np.float64))
    return Sighting(drawn.at, points_px, world_m, presence, right, drawn.crop, crop)


def _weights(at: NDArray[np.int64], known: NDArray[np.int64]) -> Floats:
    """(N, K) how much each of K known frames counts in frames `at` (N,), on the polynomial through all of them."""
    own = np.eye(len(known), dtype=bool)
    return np.where(own, 1.0, (at[:, None, None] - known) / (known[:, None] - known + own)).prod(-1)
