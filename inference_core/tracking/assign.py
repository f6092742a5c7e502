# SPDX-License-Identifier: GPL-3.0-or-later
"""The subject's left and right hand throughout the shot, in one decision over all frames.

Every segment becomes the left hand, the right hand, or nobody's. A dynamic program over the segments, in order of
their first frame, finds the cheapest assignment. There is at most one left and one right hand at a time. The costs: a
segment's vote for a side; motion and size from one segment of a side to the next; how well two hands form a pair (of
similar size, within reach of each other); and how large, long and certain a segment is.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import RequestError
from inference_core.shared.presence import ABSENT, SEEN
from inference_core.shared.skeleton import LEFT, RIGHT, SIDES
from inference_core.tracking.detections import ShotDetections
from inference_core.tracking.hand_tracks import HandTracks, with_gaps_filled
from inference_core.tracking.segments import Segment, cut_segments

# All costs are in nats. A confident frame of the largest hand is worth as much as its vote can cost.
_FRAME_WORTH = 0.6
# The largest hand is larger than this share of all sightings, weighted by how surely (nats) they are on a side.
_LARGE, _UNDECIDED_WEIGHT = 0.9, 0.1
# The cost of a side's first segment, so that a stray one of a few frames does not pay; lower in a short shot.
_FIRST_COST, _FIRST_COST_A_FRAME = 4.0, 0.05
# Motion from one segment to the next, in hand sizes: initial sigma, and its growth per second.
_MOVE_SPREAD, _MOVE_GROWTH_A_S, _MOVE_COST_MAX = 0.4, 6.0, 4.0
_SIZE_SPREAD, _SIZE_COST_MAX = 0.3, 2.0
# The cost of one hand changing sides; lower after a touch, which may have swapped the hands.
_CHANGE_COST, _CHANGE_COST_AFTER_TOUCH, _CHANGE_MEMORY_S = 9.0, 4.0, 0.5
# The cost per frame of a pair: for sizes beyond a factor of two (e**0.7), and per hand size of distance.
_PAIR_SIZE_COST, _PAIR_SIZE_FREE, _PAIR_REACH_COST, _PAIR_REACH_MAX = 0.2, 0.7, 0.01, 12.0
# Segments of one side may overlap by this many frames: a hand may be found again
# before its old tracklet ends.
_SHARED_FRAMES = 2
# How many partial choices the dynamic program keeps.
_BEAM = 64

Hands = Literal["both", "left", "right"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TrackSettings:
    """Whose hands to track, and how gaps are treated.

    hands: both, or one side only. subject: 0 for the person with the largest and most persistent hands, 1 for the
    next one, and so on. max_gap_s: a gap up to this long, with the hand seen at both ends, is FILLED.
    """

    hands: Hands = "both"
    subject: int = 0
    max_gap_s: float = 0.5


@dataclass(frozen=True)
class _Choice:
    """A partial assignment: its cost, the last segment of each side (-1: none yet), and the sides chosen so far."""

    cost: float
    last: tuple[int, int]
    chosen: tuple["_Choice", int, int] | None


def build_tracks(detections: ShotDetections, settings: TrackSettings | None = None) -> HandTracks:
    """The subject's hands on a left and a right track. Frames without the hand are ABSENT and hold NaN.

    FILLED frames hold landmarks interpolated linearly across the gap, with score 0: good enough for a crop, not a
    reading. Raises RequestError for invalid settings.
    """
    settings = settings or TrackSettings()
    if settings.hands not in ("both", *SIDES) or settings.subject < 0 or settings.max_gap_s < 0:
        raise RequestError(
            f"Cannot track with {settings}: choose both, left or right for hands, and numbers of 0 or more."
        )
    segments = cut_segments(detections)
    rows = _rows_of_sides(_subject_sides(segments, detections.time_s, settings), segments, detections)
    return _hand_tracks(rows, detections, settings.max_gap_s)


def assign_sides(
    segments: list[Segment], time_s: Floats, sides: tuple[int, ...] = (LEFT, RIGHT)
) -> dict[int, int]:
    """The side of every segment that belongs to the subject, by its index in the list (ordered by first frame)."""
    costs = _Costs(segments, time_s)
    beam = [_Choice(0.0, (-1, -1), None)]
    for index in range(len(segments)):
        best: dict[tuple[int, int], _Choice] = {}
        for choice in beam:
            for following in _continuations(choice, index, costs, sides):
                known = best.get(following.last)
                if known is None or following.cost < known.cost:
                    best[following.last] = following
        beam = sorted(best.values(), key=lambda choice: choice.cost)[:_BEAM]
    return _unwind(beam[0])


class _Costs:
    """The costs of assignments over one list of segments."""

    def __init__(self, segments: list[Segment], time_s: Floats) -> None:
        self.segments = segments
        self._time_s = time_s
        self._large_px = _large_px(segments)

    def own(self, index: int, side: int) -> float:
        """A segment as a hand of `side`: its worth, minus its vote if that is for the other side."""
        one = self.segments[index]
        share = min(1.0, float(np.median(one.size_px)) / self._large_px)
        vote = one.vote if side == RIGHT else -one.vote
        return max(0.0, -vote) - _FRAME_WORTH * len(one.rows) * one.presence * share

    def follows(self, before: int, index: int) -> float:
        """One hand continuing from one segment to the next."""
        if before < 0:
            return min(_FIRST_COST, _FIRST_COST_A_FRAME * len(self._time_s))
        one, other = self.segments[before], self.segments[index]
        gap_s = self._gap_s(before, index)
        size_px = (one.size_px[-1] + other.size_px[0]) / 2
        moved = float(np.linalg.norm(other.centre_px[0] - one.centre_px[-1])) / size_px
        spread = _MOVE_SPREAD + _MOVE_GROWTH_A_S * gap_s
        grown = abs(np.log(other.size_px[0] / one.size_px[-1])) / (_SIZE_SPREAD * (1 + gap_s))
        return min(_MOVE_COST_MAX, 0.5 * (moved / spread) ** 2) + min(_SIZE_COST_MAX, 0.5 * float(grown) ** 2)

    def changes(self, other: int, own: int, index: int) -> float:
        """Assigning a segment to a different hand than the one it seems to continue.

        other, own: the last segments of the opposite side and of the side that the segment is assigned to.
        """
        if self.segments[index].other_arm:
            return 0.0
        worst = _CHANGE_COST_AFTER_TOUCH if self.segments[index].after_touch else _CHANGE_COST
        return worst * max(0.0, self._goes_on(other, index) - self._goes_on(own, index))

    def pairs(self, other: int, index: int) -> float:
        """Two segments that are visible together, as the two hands of one person."""
        if other < 0:
            return 0.0
        one, two = self.segments[other], self.segments[index]
        _, of_one, of_two = np.intersect1d(one.at, two.at, return_indices=True)
        if not len(of_one):
            return 0.0
        ratio = np.abs(np.log(one.size_px[of_one] / two.size_px[of_two]))
        size_px = np.maximum(one.size_px[of_one], two.size_px[of_two])
        reach = np.linalg.norm(one.centre_px[of_one] - two.centre_px[of_two], axis=-1) / size_px
        unlike = _PAIR_SIZE_COST * np.maximum(0, ratio - _PAIR_SIZE_FREE)
        return float((unlike + _PAIR_REACH_COST * np.minimum(reach, _PAIR_REACH_MAX)).sum())

    def _goes_on(self, before: int, index: int) -> float:
        """How much a segment looks like the continuation of another, 0..1."""
        if before < 0 or self.segments[before].end >= self.segments[index].start:
            return 0.0
        faded_s = self._gap_s(before, index) / _CHANGE_MEMORY_S
        if self.segments[before].tracklet == self.segments[index].tracklet:
            return float(np.exp(-faded_s))
        return float(np.exp(-self.follows(before, index) - faded_s))

    def _gap_s(self, before: int, index: int) -> float:
        return max(
            0.0, float(self._time_s[self.segments[index].start] - self._time_s[self.segments[before].end])
        )


def _large_px(segments: list[Segment]) -> float:
    """The size of a large hand that is seen for long and surely on a side: not of a few frames close to the camera, nor
    of a face, whose readings are of either side.
    """
    sizes = np.array([np.median(one.size_px) for one in segments])
    weights = np.array([len(one.rows) * (_UNDECIDED_WEIGHT + abs(one.vote)) for one in segments])
    order = np.argsort(sizes)
    below = np.cumsum(weights[order])
    return float(sizes[order][np.searchsorted(below, _LARGE * below[-1])]) if segments else 1.0


def _continuations(choice: _Choice, index: int, costs: _Costs, sides: tuple[int, ...]) -> list[_Choice]:
    """The assignment extended by one segment: nobody's, or either side's if that side is free."""
    out = [choice]
    for side in sides:
        before, other = choice.last[side], choice.last[1 - side]
        if before >= 0 and costs.segments[before].end - costs.segments[index].start >= _SHARED_FRAMES:
            continue
        cost = choice.cost + costs.own(index, side) + costs.follows(before, index)
        cost += costs.changes(other, before, index) + costs.pairs(other, index)
        last = (index, other) if side == LEFT else (other, index)
        out.append(_Choice(cost, last, (choice, index, side)))
    return out


def _unwind(choice: _Choice) -> dict[int, int]:
    sides: dict[int, int] = {}
    while choice.chosen is not None:
        choice, index, side = choice.chosen
        sides[index] = side
    return sides


def _subject_sides(segments: list[Segment], time_s: Floats, settings: TrackSettings) -> dict[int, int]:
    """The side of every segment of the subject's requested hands."""
    left_over = list(range(len(segments)))
    for _ in range(settings.subject):
        taken = assign_sides([segments[index] for index in left_over], time_s)
        left_over = [index for place, index in enumerate(left_over) if place not in taken]
    some = [segments[index] for index in left_over]
    sides = assign_sides(some, time_s)
    if settings.hands != "both":
        asked = SIDES.index(settings.hands)
        # If no hand of the requested side is found, the shot's hand is that
        # side's: people know their own hands.
        if asked not in sides.values():
            sides = assign_sides(some, time_s, (asked,))
        sides = {place: side for place, side in sides.items() if side == asked}
    return {left_over[place]: side for place, side in sides.items()}


def _rows_of_sides(
    sides: dict[int, int], segments: list[Segment], detections: ShotDetections
) -> NDArray[np.int64]:
    """The detections' row (T, S) that shows each hand in each frame; -1 if none does."""
    rows = np.full((len(detections.time_s), len(SIDES)), -1)
    for index, side in sorted(sides.items()):
        for row, at in zip(segments[index].rows, segments[index].at, strict=True):
            other = rows[at, side]
            if other < 0 or detections.presence[row] > detections.presence[other]:
                rows[at, side] = row
    return rows


def _hand_tracks(rows: NDArray[np.int64], detections: ShotDetections, max_gap_s: float) -> HandTracks:
    frames = len(rows)
    seen = rows >= 0
    landmarks_px = np.full((frames, 2, 21, 3), np.nan, np.float32)
    landmarks_px[..., 2] = 0
    world_m = np.full((frames, 2, 21, 3), np.nan, np.float32)
    side_score = np.zeros((frames, 2), np.float32)
    picked = rows[seen]
    landmarks_px[seen, :, :2] = detections.points_px[picked, :, :2]
    landmarks_px[seen, :, 2] = detections.presence[picked, None]
    world_m[seen] = detections.world_m[picked]
    right = detections.right[picked]
    side_score[seen] = np.where(np.nonzero(seen)[1] == RIGHT, right, 1 - right)

    present = np.where(seen, SEEN, ABSENT).astype(np.uint8)
    tracks = HandTracks(landmarks_px, world_m, present, side_score)
    return with_gaps_filled(tracks, detections.time_s, max_gap_s)
