# SPDX-License-Identifier: GPL-3.0-or-later
"""Spans of a shot in which a hand is least certain, worst first. No bpy here."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.presence import ABSENT, SEEN

UNCERTAIN_BELOW = 0.5
_JOIN_WITHIN = 5  # spans closer together than this many frames are one to whoever looks at them


@dataclass(frozen=True)
class Span:
    """Rows first..last of one side's hand, both included, and its mean confidence there."""

    side: int
    first: int
    last: int
    confidence: float


def uncertain_spans(
    confidence: NDArray[np.floating], present: NDArray[np.integer], below: float = UNCERTAIN_BELOW
) -> list[Span]:
    """Spans of both sides whose confidence (T, 2) is low or that were filled (present (T, 2)), least certain first."""
    found: list[Span] = []
    for side in range(present.shape[1]):
        doubtful = (present[:, side] != ABSENT) & ((confidence[:, side] < below) | (present[:, side] != SEEN))
        for first, last in _runs(np.flatnonzero(doubtful)):
            found.append(Span(side, first, last, float(confidence[first : last + 1, side].mean())))
    return sorted(found, key=lambda span: span.confidence)


def _runs(rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """First and last of each run of rows that lie within _JOIN_WITHIN of the next."""
    if len(rows) == 0:
        return []
    breaks = np.flatnonzero(np.diff(rows) > _JOIN_WITHIN)
    firsts, lasts = np.append(0, breaks + 1), np.append(breaks, len(rows) - 1)
    return [(int(rows[first]), int(rows[last])) for first, last in zip(firsts, lasts, strict=True)]
