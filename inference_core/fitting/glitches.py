# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds a frame or two in which the landmarks were on something other than the hand."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from inference_core.fitting.arrays import Flags, Floats, Indices, lengths, means
from inference_core.fitting.observations import Observations
from inference_core.fitting.parameterisation import DEPTH, IMAGE, ROOT, HandParameterisation, HandState
from inference_core.fitting.temporal import accelerations
from inference_core.geometry.rotations import geodesic_angle

# A hand that jumps away and back within one frame accelerates by a, -2a, a. No waving hand
# does: its accelerations about a turning point all have one direction. The frames beside the
# jump accelerate half as much.
_JUMP_SHARE, _MORE_THAN_BESIDE = 0.6, 1.3
# The smallest jumps: across the picture and in depth, as shares of the distance (18 and 60 mm at 0.6
# m), and of the wrist's rotation.
_SMALLEST_IMAGE, _SMALLEST_DEPTH, _SMALLEST_ROTATION_DEG = 0.03, 0.10, 35.0
# A jump may last this many frames if the hand is calm before and after it and returns to
# within this share of the jump.
_LONGEST_JUMP, _CALM = 3, 0.35
_TRUST = 0.02


def glitches(parameterisation: HandParameterisation, seen: Observations, state: HandState) -> Flags:
    """(N,) bool: hand frames whose own solved `state` jumps away from those before and after, which agree."""
    second = accelerations(seen, state, parameterisation)
    smallest = (
        (IMAGE, _SMALLEST_IMAGE),
        (DEPTH, _SMALLEST_DEPTH),
        (ROOT, math.radians(_SMALLEST_ROTATION_DEG)),
    )
    single = np.any([_jumps(second[:, part], least) for part, least in smallest], axis=0)
    depth, root = state.image_depth[:, 2], state.root
    return (
        single
        | _excursions(seen, lambda a, b: np.abs(depth[a] - depth[b]), _SMALLEST_DEPTH)
        | _excursions(
            seen, lambda a, b: geodesic_angle(root[a], root[b]), math.radians(_SMALLEST_ROTATION_DEG)
        )
    )


def _jumps(second: Floats, smallest: float) -> Flags:
    around = np.roll(second, 1, 0) + np.roll(second, -1, 0)
    own = (second**2).sum(-1)
    back = -(around * second).sum(-1) / np.maximum(own, 1e-12)
    beside = np.maximum(np.roll(own, 1), np.roll(own, -1))
    return (back > _JUMP_SHARE) & (np.sqrt(own) / 2 > smallest) & (own > _MORE_THAN_BESIDE**2 * beside)


def _excursions(seen: Observations, apart: Callable[[Indices, Indices], Floats], smallest: float) -> Flags:
    """(N,) bool: within a short excursion of the hand, which is calm before and after. apart: the distance
    between two lists of hand frames.
    """
    count, steps = len(seen), seen.steps
    away = np.zeros(count, bool)
    for length in range(1, _LONGEST_JUMP + 1):
        if count < length + 4:
            break
        first = np.arange(2, count - length - 1)
        before, after = first - 1, first + length
        jump = np.minimum(apart(before, first), apart(after - 1, after))
        calm = np.max([apart(before - 1, before), apart(after, after + 1), apart(before, after)], axis=0)
        unbroken = np.all([steps[before - 1 + k] > 0 for k in range(length + 3)], axis=0)
        found = first[unbroken & (jump > smallest) & (calm < _CALM * jump)]
        for k in range(length):
            away[found + k] = True
    return away


def distrusted(seen: Observations, jumped: Flags) -> Observations:
    """The observations, with the landmarks of the hand frames that jumped (N,) almost ignored; and, where no other hand
    is near, the network's estimates too: they were made from these landmarks, and without landmarks beside them the
    hand would leap to where the network has it. Of hands that lie on one another the network tells which is where.
    """
    score = np.where(jumped[:, None], _TRUST * seen.score, seen.score)
    if seen.network is None:
        return replace(seen, score=score)
    confidence = seen.network.confidence
    confidence = np.where(jumped & _alone(seen), _TRUST * confidence, confidence)
    return replace(seen, score=score, network=replace(seen.network, confidence=confidence))


def _alone(seen: Observations) -> Flags:
    """(N,) bool: there is no other hand, or none of its landmarks is within a hand's size of this one's middle."""
    apart_px = lengths(seen.pixels[seen.other] - means(seen.pixels)).min(-1)
    return (seen.other < 0) | seen.seen[seen.other] & (apart_px > seen.diagonal_px)
