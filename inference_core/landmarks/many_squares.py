# SPDX-License-Identifier: GPL-3.0-or-later
"""A hand read in several squares about it, larger and turned ones.

One square may be the wrong one, above all where it is not upright: then the head is unsure of the hand's side too. Six
more squares cost some 50 ms a hand, so only shots of few frames are read this way; elsewhere, hands that the networks
have hardly seen the like of are read in two more.
"""

from collections.abc import Sequence

import numpy as np

from inference_core.footage.records import Frame
from inference_core.geometry.rigid import fit_similarity
from inference_core.landmarks.hand_crops import Floats, Sides
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.landmarks.off_axis import read_squares

# Each square's side, relative to the hand's own square, and its turn in radians: turned ones, and wider ones besides. A
# hand is read too large in wider ones than the last number.
TURNED = ((1.0, 0.0), (1.0, -0.35), (1.0, 0.35))
MANY = (*TURNED, (1.15, 0.0), (1.3, 0.0), (1.3, -0.35), (1.3, 0.35))
_LARGEST_FOR_SIZE = 1.15
# A landmark's weight falls with its expected error to this power, and a reading's grows by this much with the log odds
# that the hand is of its side, up to the most that counts.
_ERROR_POWER, _SIDE_WEIGHT, _SURE_OF_SIDE = 2.0, 0.6, 8.0
_ALIGNMENTS = 3


def read_in_many_squares(
    frames: Sequence[Frame],
    crops: Floats,
    sides: Sides,
    K: Floats,
    head: KeptReadings,
    squares: Sequence[tuple[float, float]],
) -> tuple[Floats, Floats, Floats]:
    """Landmarks (N, 21, 2) in frame pixels, world landmarks (N, 21, 3) about the hand's centre and trust (N, 21).

    All squares about crops (N, 4), N > 0, count for world landmarks; for the others those that show the hand at
    its size. squares: TURNED or MANY.
    """
    places = [crops * (1, 1, size, 1) + (0, 0, 0, turn) for size, turn in squares]
    read_at = [read_squares(frames, place, sides, K, head) for place in places]
    readings = [read for read, *_ in read_at]
    points_px, world_m, trust = (
        np.stack(values) for values in zip(*(said for _, *said in read_at), strict=True)
    )
    log_errors = np.stack([read.log_sigma for read in readings]).astype(np.float64)
    right = np.stack([read.right for read in readings]).astype(np.float64)
    sized = np.array([size <= _LARGEST_FOR_SIZE for size, _ in squares])
    share = _weights(log_errors[sized, ..., 0], right[sized])
    return (
        (share[..., None] * points_px[sized]).sum(0),
        agreed(world_m, log_errors[..., 1], right),
        (share * trust[sized]).sum(0),
    )


def agreed(world_m: Floats, log_errors: Floats, right: Floats) -> Floats:
    """(N, 21, 3) the weighted mean of K readings' hands (K, N, 21, 3), as the surest reading has them placed.

    log_errors (K, N, 21): logarithms of the expected errors. right (K, N): log odds that the side is the right one.
    """
    share = _weights(log_errors, right)
    surest = share.mean(-1).argmax(0)
    mean = world_m[surest, np.arange(len(surest))]
    for _ in range(_ALIGNMENTS):
        aligned = fit_similarity(world_m, np.broadcast_to(mean, world_m.shape)).apply(world_m)
        mean = (share[..., None] * aligned).sum(0)
    return mean


def _weights(log_errors: Floats, right: Floats) -> Floats:
    """(K, N, 21) shares of K readings in each landmark, as for `agreed`."""
    log_weight = _SIDE_WEIGHT * right.clip(max=_SURE_OF_SIDE)[..., None] - _ERROR_POWER * log_errors
    weight = np.exp(log_weight - log_weight.max(0))
    return weight / weight.sum(0)
