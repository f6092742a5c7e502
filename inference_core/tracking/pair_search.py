# SPDX-License-Identifier: GPL-3.0-or-later
"""Both hands of a picture, chosen together.

Where hands touch, a picture has several plausible readings of each, and the likeliest left and the likeliest right one
are often the same hand. So each reading is also asked where its other hand is (the partner network), and the pair wins
whose readings are sure and expect each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.hand_crops import crop_features
from inference_core.landmarks.hand_search import likely_crops, squares_about
from inference_core.landmarks.head_reader import (
    HeadWithLandmarks,
    expected_errors,
    points_in_frame,
    world_in_frame,
)
from inference_core.landmarks.pair_detector import proposed_crops
from inference_core.shared.skeleton import LEFT, RIGHT

# Crops that are read as either hand, and how many of them the pair detector may propose; readings of a side that stay
# after each round.
_KEPT, _PROPOSED, _STAY = 24, 12, 16
# Readings of a side nearer than this, of their crop's side, are one.
_SAME = 0.04
# How many readings are asked for their other hand, and the sizes of its crop, as multiples of their own.
_ASKING, _AS_LARGE = 10, (0.85, 1.1)
# The cost of a pair, in nats: see `_costs`.
_ERROR, _ODDS, _PRESENCE, _EXPECTED, _UNLIKE, _ON_ONE = 3.0, 0.35, 0.8, 5.0, 3.0, 20.0
_MOST_ODDS, _LEAST_ERROR, _LEAST_PRESENCE, _MOST_OFF = 3.0, 0.02, 0.01, 4.0
# A pair is accepted if both hands tell of another one (log odds, each and in total; a hand alone: below -3, or 0 to 4
# where it is blurred), at most at this cost.
_LEAST_THERE, _SURELY_THERE, _WORST = 0.0, 6.5, -5.6
# Where the whole picture was searched, each hand must tell of the other one (a blurred hand read twice: up to 3.2). The
# cost is at most this where no hand was known, or where only known hands and what is about them were searched.
_LEAST_THERE_ANYWHERE, _WORST_UNKNOWN, _WORST_ABOUT = 3.5, -8.0, -6.2
# In total, if the landmark network does not see one of them (presence): a face beside a blurred hand has 11.5 and less.
_SEEN, _SURELY_THERE_UNSEEN = 0.5, 12.0
# Part of a crop's side by which an expected hand may be off in any case; how near two hands may be.
_ROUGHLY, _APART = 0.1, 0.12
# A reading this near to a known hand, of its crop's side, is of that hand; what it costs to take it for the other side.
_AT_KNOWN, _OTHER_SIDE = 0.2, 3.0

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]
Indices = NDArray[np.int64]
Where = Literal["picture", "about hands", "hands"]
_NONE: Floats = np.empty((0, 21, 2))
_NO_SIDES: Indices = np.empty(0, np.int64)


@dataclass(frozen=True)
class Candidates:
    """N readings of the landmark head, as hands of `sides` (N,).

    points_px (N, 21, 2), world_m (N, 21, 3). error: expected, of half the crop's side. odds: log odds of its side.
    presence: the landmark network's, 0..1. there: log odds of another hand, whose landmarks are expected at told_px
    (N, 21, 2), give or take told_off_px. All (N,).
    """

    points_px: Floats
    world_m: Floats
    sides: Indices
    error: Floats
    odds: Floats
    presence: Floats
    there: Floats
    told_px: Floats
    told_off_px: Floats

    def rows(self, rows: Indices) -> Candidates:
        """Some of them."""
        return Candidates(*(values[rows] for values in vars(self).values()))

    @property
    def crops(self) -> Floats:
        """(N, 4) in which to read them again."""
        return crops_from_landmarks(self.points_px)

    @property
    def own_costs(self) -> Floats:
        """(N,) nats: how unlikely each is a hand of its side."""
        error, presence = self.error.clip(_LEAST_ERROR), self.presence.clip(_LEAST_PRESENCE)
        odds = self.odds.clip(-_MOST_ODDS, _MOST_ODDS)
        return _ERROR * np.log(error) - _ODDS * odds - _PRESENCE * np.log(presence)


@dataclass(frozen=True)
class Pair:
    """A left and a right hand: candidates (2), in this order, and the pair's cost."""

    hands: Candidates
    cost: float

    @property
    def good(self) -> bool:
        """Whether these are certainly two hands, not one of them read twice."""
        there, seen = self.hands.there, self.hands.presence.min() > _SEEN
        surely = _SURELY_THERE if seen else _SURELY_THERE_UNSEEN
        return bool(self.cost < _WORST and there.min() > _LEAST_THERE and there.sum() > surely)


def search_pair(
    image: Image,
    head: HeadWithLandmarks,
    known_px: Floats = _NONE,
    known_sides: Indices = _NO_SIDES,
    where: Where = "picture",
) -> Pair | None:
    """The likeliest left and right hand in an RGB image (H, W, 3); None without two hands that could be a pair.

    known_px (N, 21, 2): hands that were found already, to be read again; known_sides (N,): theirs, probably. where:
    search the whole picture; or about known hands only, for half the cost; or where known hands are and expect each
    other, for a twentieth, which finds two of three pairs and hardly a wrong one.
    """
    known = crops_from_landmarks(known_px)
    crops = known if where == "hands" else np.concatenate([known, _likely(image, head, known, where)[:_KEPT]])
    if not len(crops):
        return None
    sides = np.repeat([LEFT, RIGHT], len(crops))
    first = _best(_read(image, np.tile(crops, (2, 1)), sides, head))
    crops, sides = _asked(first)
    second = _best(
        _read(image, np.concatenate([first.crops, crops]), np.concatenate([first.sides, sides]), head)
    )
    best = second
    if where != "hands":
        best = _best(_joined(second, _read(image, second.crops, second.sides, head)))
    pair = _pair(best, _on_other_side(best, known_px, known_sides))
    return None if pair is None or _is_unsure(pair, where, bool(len(known))) else pair


def certain_pair(
    image: Image, head: HeadWithLandmarks, known_px: Floats, known_sides: Indices, where: Where
) -> Pair | None:
    """The pair of `search_pair`, if it is certain."""
    pair = search_pair(image, head, known_px, known_sides, where)
    return pair if pair is not None and pair.good else None


def _likely(image: Image, head: HeadWithLandmarks, known: Floats, where: Where) -> Floats:
    """Crops (N, 4) that squares about known hands (K, 4) lead to, likeliest first; before them those that the pair
    detector proposes in the picture, if that is searched.
    """
    proposed = (
        proposed_crops(image, known, _PROPOSED, head.landmarks) if where == "picture" else np.empty((0, 4))
    )
    if not len(known):
        return proposed
    about = likely_crops(image, np.concatenate([squares_about(crop) for crop in known]), head.landmarks)
    return np.concatenate([proposed, about])


def _is_unsure(pair: Pair, where: Where, known: bool) -> bool:
    """Whether a pair may be one hand, because of where it was searched for. known: one of its hands was known."""
    if where != "picture":
        return pair.cost > _WORST_ABOUT
    return bool(pair.hands.there.min() < _LEAST_THERE_ANYWHERE or (not known and pair.cost > _WORST_UNKNOWN))


def _asked(known: Candidates) -> tuple[Floats, Indices]:
    """Crops of the other hands that the likeliest readings tell of, and their sides."""
    likely = np.argsort(known.own_costs, kind="stable")
    asking = known.rows(likely[known.there[likely] > 0][:_ASKING])
    crops = np.repeat(crops_from_landmarks(asking.told_px), len(_AS_LARGE), axis=0)
    crops[:, 2] = (asking.crops[:, 2:3] * _AS_LARGE).ravel()
    return crops, np.repeat(1 - asking.sides, len(_AS_LARGE))


def _best(read: Candidates) -> Candidates:
    """The likeliest readings of each side, each hand once."""
    crops_px = read.crops[:, 2]
    kept: list[int] = []
    for row in np.argsort(read.own_costs, kind="stable").tolist():
        alike = [other for other in kept if read.sides[other] == read.sides[row]]
        apart_px = np.linalg.norm(read.points_px[alike] - read.points_px[row], axis=-1).mean(-1)
        if len(alike) < _STAY and not (apart_px < _SAME * crops_px[row]).any():
            kept.append(row)
    return read.rows(np.array(kept, np.int64))


def _on_other_side(read: Candidates, known_px: Floats, known_sides: Indices) -> Floats:
    """(N,) nats for readings of known hands as hands of the other side."""
    apart = np.linalg.norm(read.points_px[:, None] - known_px, axis=-1).mean(-1) / read.crops[:, 2:3]
    other = (apart < _AT_KNOWN) & (read.sides[:, None] != known_sides)
    return _OTHER_SIDE * other.any(1)


def _pair(read: Candidates, against: Floats) -> Pair | None:
    """The pair with the least cost. against (N,): what further counts against each reading, in nats."""
    left, right = (np.flatnonzero(read.sides == side) for side in (LEFT, RIGHT))
    if not len(left) or not len(right):
        return None
    costs = _costs(read.rows(left), read.rows(right)) + against[left][:, None] + against[right]
    row, column = np.unravel_index(int(costs.argmin()), costs.shape)
    return Pair(read.rows(np.array([left[row], right[column]])), float(costs.min()))


def _costs(left: Candidates, right: Candidates) -> Floats:
    """(L, R) nats of each pair: how unlikely its hands are by themselves, how far each is from where the other one
    expects it, how different in size they are, and whether they are one.
    """
    left_px, right_px = (hands.crops[:, 2] for hands in (left, right))
    size_px = np.sqrt(left_px[:, None] * right_px)
    apart = np.linalg.norm(left.points_px[:, None] - right.points_px, axis=-1).mean(-1) / size_px
    off = _off(left, right) + _off(right, left).T
    unlike = np.abs(np.log(left_px[:, None] / right_px))
    own = left.own_costs[:, None] + right.own_costs
    return own + _EXPECTED * off + _UNLIKE * unlike + _ON_ONE * (_APART - apart).clip(0)


def _off(asking: Candidates, asked: Candidates) -> Floats:
    """(N, M) how far the M hands are from where each of the N readings expects its other hand, in expected errors."""
    off_px = np.linalg.norm(asking.told_px[:, None] - asked.points_px, axis=-1).mean(-1)
    allowed_px = asking.told_off_px + _ROUGHLY * asking.crops[:, 2]
    return (off_px / allowed_px[:, None]).clip(0, _MOST_OFF)


def _joined(first: Candidates, second: Candidates) -> Candidates:
    return Candidates(
        *(np.concatenate(both) for both in zip(vars(first).values(), vars(second).values(), strict=True))
    )


def _read(image: Image, crops: Floats, sides: Indices, head: HeadWithLandmarks) -> Candidates:
    """A reading of each crop (N, 4) as a hand of its side. head: with a partner network."""
    assert head.partner is not None
    features = crop_features([image] * len(crops), crops, sides, head.landmarks)
    read, told = head.network(features), head.partner(features)
    return Candidates(
        points_px=points_in_frame(read, crops, sides),
        world_m=world_in_frame(read, crops, sides),
        sides=sides,
        error=expected_errors(read),
        odds=np.asarray(read.right, np.float64),
        presence=np.asarray(head.landmarks.read(features).presence, np.float64),
        there=np.asarray(told.there, np.float64),
        told_px=points_in_frame(told, crops, sides),
        told_off_px=np.exp(np.asarray(told.log_sigma, np.float64)) * crops[:, 2] / 2,
    )
