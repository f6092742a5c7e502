# SPDX-License-Identifier: GPL-3.0-or-later
"""The frames most worth checking: spans of one hand's motion and the worst frame of each. No bpy here.

A frame is doubtful because of what the take says about it (low confidence, filled) or because of its motion: a
hand that turns over, or jumps towards or away from the camera, and returns within MOST_ASTRAY frames was
misread, however confident the reading.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference_core.shared import quaternions
from inference_core.shared.presence import ABSENT, FILLED, SEEN
from inference_core.shared.take import Take

from .axes import Floats

GOOD_FROM: Final = 0.7
BAD_BELOW: Final = 0.5
MOST_ASTRAY: Final = 3  # frames; a longer excursion may be real
TURNED_RAD: Final = 1.0
LEAPT_M: Final = 0.03
LEAPT_SHARE: Final = 0.06  # of the hand's distance, if that is more
_BACK: Final = 0.5  # of the distance travelled: closer than this counts as returned
_JOIN_WITHIN: Final = 5  # spans closer together than this many frames count as one

# The distance between rows (P,) and other rows (P,) of a hand.
Apart = Callable[[NDArray[np.int64], NDArray[np.int64]], Floats]


class Verdict(StrEnum):
    """Verdicts on a hand's frame, best first. The values are the panel's texts."""

    GOOD = "good"
    CHECK = "check"
    FILLED = "filled in"
    BAD = "bad"
    LEAP = "jumps in depth"
    FLIP = "flips"
    ABSENT = "absent"


_ASTRAY: Final = (Verdict.LEAP, Verdict.FLIP)
_DOUBTFUL: Final = (Verdict.FILLED, Verdict.BAD, *_ASTRAY)


@dataclass(frozen=True)
class Sightings:
    """K frames of one hand in order: confidence (K,), present (K,), its distance from the camera (K,) and its
    wrist's rotation (K, 4) in any fixed axes. Absent entries may be NaN. piece (K,): of the footage, which may be cut.
    """

    confidence: Floats
    present: NDArray[np.integer]
    distance_m: Floats
    turns_wxyz: Floats
    piece: NDArray[np.int64]


@dataclass(frozen=True)
class Span:
    """Rows first..last, both included, the worst of them, and its confidence, verdict and doubt (higher is worse)."""

    first: int
    last: int
    worst: int
    confidence: float
    verdict: Verdict
    doubt: float


def take_sightings(take: Take, side: int) -> Sightings:
    """The take's data for that side."""
    return Sightings(
        np.asarray(take.confidence[:, side], np.float64),
        take.present[:, side],
        np.linalg.norm(np.asarray(take.wrist_cam_m[:, side], np.float64), axis=-1),
        np.asarray(take.root_wxyz[:, side], np.float64),
        take.piece,
    )


def uncertain_spans(hand: Sightings) -> list[Span]:
    """Spans in which the hand is doubtful, the worst first."""
    verdicts = verdicts_of(hand)
    doubt = np.array([_doubt(*told) for told in zip(verdicts, hand.confidence, strict=True)])
    spans: list[Span] = []
    for first, last in _runs(np.flatnonzero(doubt > 0)):
        inside = doubt[first : last + 1]
        equally_bad = first + np.flatnonzero(inside > inside.max() - 1e-6)
        worst = int(equally_bad[len(equally_bad) // 2])
        told = float(hand.confidence[worst]), verdicts[worst], float(doubt[worst])
        spans.append(Span(first, last, worst, *told))
    return sorted(spans, key=lambda span: -span.doubt)


def verdicts_of(hand: Sightings) -> list[Verdict]:
    """The verdict on each frame (K,)."""
    found = [
        verdict_of(float(confidence), int(present))
        for confidence, present in zip(hand.confidence, hand.present, strict=True)
    ]
    for rows, verdict in ((_leaps(hand), Verdict.LEAP), (_flips(hand), Verdict.FLIP)):
        for row in np.flatnonzero(rows):
            found[row] = verdict
    return found


def rows_astray(hand: Sightings) -> NDArray[np.bool_]:
    """(K,) the frames in which the hand turns over or leaps."""
    return _leaps(hand) | _flips(hand)


def astray_at(hand: Sightings, row: int) -> Verdict | None:
    """Whether the hand turns over or jumps in that row; None if neither."""
    verdict = verdicts_of(hand)[row]
    return verdict if verdict in _ASTRAY else None


def verdict_of(confidence: float, present: int) -> Verdict:
    """The take's verdict on a frame, regardless of the motion there."""
    if present != SEEN:
        return Verdict.FILLED if present == FILLED else Verdict.ABSENT
    if confidence >= GOOD_FROM:
        return Verdict.GOOD
    return Verdict.BAD if confidence < BAD_BELOW else Verdict.CHECK


def _doubt(verdict: Verdict, confidence: float) -> float:
    """How doubtful a frame is; 0 if it needs no check. Excursions count more than low confidence."""
    if verdict not in _DOUBTFUL:
        return 0.0
    return 1.001 - confidence + (verdict in _ASTRAY)


def _flips(hand: Sightings) -> NDArray[np.bool_]:
    def apart(one: NDArray[np.int64], other: NDArray[np.int64]) -> Floats:
        return quaternions.angle_between(hand.turns_wxyz[one], hand.turns_wxyz[other])

    return _astray(hand, apart, np.full(len(hand.present), TURNED_RAD))


def _leaps(hand: Sightings) -> NDArray[np.bool_]:
    def apart(one: NDArray[np.int64], other: NDArray[np.int64]) -> Floats:
        return hand.distance_m[other] - hand.distance_m[one]

    return _astray(hand, apart, np.maximum(LEAPT_M, LEAPT_SHARE * np.nan_to_num(hand.distance_m)))


def _astray(hand: Sightings, apart: Apart, least: Floats) -> NDArray[np.bool_]:
    """(K,) rows of excursions: a change of more than `least` (K,) between rows, and a return within MOST_ASTRAY."""
    count = len(hand.present)
    found = np.zeros(count, bool)
    for length in range(1, MOST_ASTRAY + 1):
        before = np.arange(max(count - length - 1, 0))
        first, last, after = before + 1, before + length, before + length + 1
        out, back, across = apart(before, first), apart(last, after), apart(before, after)
        shorter = np.minimum(np.abs(out), np.abs(back))
        gone = (shorter > least[before]) & (np.abs(across) < _BACK * shorter)
        for row in np.flatnonzero(gone):
            span = slice(row, row + length + 2)
            if (hand.present[span] != ABSENT).all() and np.ptp(hand.piece[span]) == 0:
                found[row + 1 : row + length + 1] = True
    return found


def _runs(rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """First and last of each run of rows within _JOIN_WITHIN of the next."""
    if len(rows) == 0:
        return []
    breaks = np.flatnonzero(np.diff(rows) > _JOIN_WITHIN)
    firsts, lasts = np.append(0, breaks + 1), np.append(breaks, len(rows) - 1)
    return [(int(rows[first]), int(rows[last])) for first, last in zip(firsts, lasts, strict=True)]
