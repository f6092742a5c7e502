# SPDX-License-Identifier: GPL-3.0-or-later
"""Both hands of a picture, chosen together.

Where hands touch, a picture has several plausible readings of each, and the likeliest left and the likeliest right one
are often the same hand. So each reading is also asked where its other hand is (the partner network), and the pair wins
that the choice network (`pair_choice`) finds likeliest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.hand_crops import crop_features
from inference_core.landmarks.hand_search import crops_about, likely_crops
from inference_core.landmarks.head_reader import (
    HeadWithLandmarks,
    expected_errors,
    points_in_frame,
    world_in_frame,
)
from inference_core.landmarks.pair_detector import proposed_crops
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.pair_choice import Candidates, load_pair_chooser, pairs_of, told_by_pairs

# Crops that are read as either hand, and how many of them the pair detector may propose; readings of a side that stay
# after each round.
_KEPT, _PROPOSED, _STAY = 24, 12, 16
# Readings of a side nearer than this, of their crop's side, are one.
_SAME = 0.04
# How many readings are asked for their other hand, and the sizes of its crop, as multiples of their own.
_ASKING, _AS_LARGE = 10, (0.85, 1.1)
# A pair is accepted with these log odds, and if the landmark network sees both hands (presence) so far: a face or cloth
# beside a single hand, which the training does not show, is hardly seen. If one is seen less than half, both together
# must tell of another hand with these log odds: a blurred hand and a face have 11.5 and less.
_SURE, _LEAST_SEEN = 1.5, 0.2
_HALF_SEEN, _SURELY_THERE = 0.5, 12.0
# The log odds that it needs against the hands of a track: about them, pairs with less are wrong as often as right.
_SURE_AGAINST = 3.7
# A reading this near to a known hand, of its crop's side, is of that hand.
_AT_KNOWN = 0.2

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]
Indices = NDArray[np.int64]
Where = Literal["picture", "about hands", "hands"]
_NONE: Floats = np.empty((0, 21, 2))
_NO_SIDES: Indices = np.empty(0, np.int64)


@dataclass(frozen=True)
class Pair:
    """A left and a right hand: candidates (2), in this order. odds: log odds that the picture shows two hands there,
    this pair or one like it.
    """

    hands: Candidates
    odds: float

    @property
    def good(self) -> bool:
        """Whether these are certainly two hands, not one of them read twice."""
        seen, told = self.hands.presence.min(), self.hands.there.sum()
        return bool(self.odds > _SURE and seen > _LEAST_SEEN and (seen > _HALF_SEEN or told > _SURELY_THERE))

    @property
    def sets_right(self) -> bool:
        """Whether it is believed rather than tracks that have a hand elsewhere."""
        return self.good and self.odds > _SURE_AGAINST


def search_pair(
    image: Image,
    head: HeadWithLandmarks,
    known_px: Floats = _NONE,
    known_sides: Indices = _NO_SIDES,
    where: Where = "picture",
) -> Pair | None:
    """The likeliest left and right hand in an RGB image (H, W, 3); None without a reading of each.

    known_px (N, 21, 2): hands that were found already, to be read again; known_sides (N,): theirs, probably. where:
    see `search`.
    """
    return likeliest_pair(search(image, head, known_px, where), known_px, known_sides)


def likeliest_pair(read: Candidates | None, known_px: Floats, known_sides: Indices) -> Pair | None:
    """The likeliest left and right hand of the readings that `search` found about known hands."""
    if read is None or not len(pairs := pairs_of(read)):
        return None
    told = told_by_pairs(read, pairs, contrary_to(read, known_px, known_sides))
    odds = load_pair_chooser().odds(told)
    return Pair(read.rows(pairs[odds.argmax()]), float(np.logaddexp.reduce(odds)))


def certain_pair(
    image: Image, head: HeadWithLandmarks, known_px: Floats, known_sides: Indices, where: Where
) -> Pair | None:
    """The pair of `search_pair`, if it is certain."""
    pair = search_pair(image, head, known_px, known_sides, where)
    return pair if pair is not None and pair.good else None


def search(image: Image, head: HeadWithLandmarks, known_px: Floats, where: Where) -> Candidates | None:
    """The likeliest readings of either side in an RGB image (H, W, 3), each hand once; None if nothing is like a hand.

    where: search the whole picture; or about known hands (N, 21, 2) only, for half the cost; or where known hands are
    and expect each other, for a twentieth, which finds two of three pairs and hardly a wrong one.
    """
    known = crops_from_landmarks(known_px)
    crops = known if where == "hands" else np.concatenate([known, _likely(image, head, known, where)[:_KEPT]])
    if not len(crops):
        return None
    sides = np.repeat([LEFT, RIGHT], len(crops))
    first = _best(read_as(image, np.tile(crops, (2, 1)), sides, head))
    crops, sides = _asked(first)
    second = _best(
        read_as(image, np.concatenate([first.crops, crops]), np.concatenate([first.sides, sides]), head)
    )
    if where == "hands":
        return second
    return _best(_joined(second, read_as(image, second.crops, second.sides, head)))


def contrary_to(read: Candidates, known_px: Floats, known_sides: Indices) -> NDArray[np.bool_]:
    """(N,) which readings are of a known hand, but of the other side."""
    apart = np.linalg.norm(read.points_px[:, None] - known_px, axis=-1).mean(-1) / read.crops[:, 2:3]
    return ((apart < _AT_KNOWN) & (read.sides[:, None] != known_sides)).any(1)


def _likely(image: Image, head: HeadWithLandmarks, known: Floats, where: Where) -> Floats:
    """Crops (N, 4) that squares about known hands (K, 4) lead to, likeliest first; before them those that the pair
    detector proposes in the picture, if that is searched.
    """
    proposed = (
        proposed_crops(image, known, _PROPOSED, head.landmarks) if where == "picture" else np.empty((0, 4))
    )
    if not len(known):
        return proposed
    about = likely_crops(image, np.concatenate([crops_about(crop) for crop in known]), head.landmarks)
    return np.concatenate([proposed, about])


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


def _joined(first: Candidates, second: Candidates) -> Candidates:
    return Candidates(
        *(np.concatenate(both) for both in zip(vars(first).values(), vars(second).values(), strict=True))
    )


def read_as(image: Image, crops: Floats, sides: Indices, head: HeadWithLandmarks) -> Candidates:
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
