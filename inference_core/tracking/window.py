# SPDX-License-Identifier: GPL-3.0-or-later
"""The frames currently in memory: where hands are sought in them, and followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_palms, cut
from inference_core.landmarks.formats import CROP_PX
from inference_core.landmarks.hand_search import (
    crops_about,
    crops_over,
    plausible,
    search_hands,
)
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.landmarks.networks import LandmarkNetworks
from inference_core.landmarks.pair_detector import proposed_apart
from inference_core.landmarks.palm_detector import (
    Palms,
    closer_side,
    detect_palms,
    detect_palms_in,
    squares_over,
)
from inference_core.runtime.network_graph import Run
from inference_core.runtime.stopwatch import SEARCH, timed
from inference_core.tracking.follower import Follower, Front, Image, sightings_of
from inference_core.tracking.settings import DetectionSettings
from inference_core.tracking.sure_hands import sure_hands
from inference_core.tracking.tracklets import Sighting, Tracklets
from inference_core.tracking.wider_square import growth, is_same_hand, widened

# Frames with fewer hands than this are searched more closely.
_HANDS = 2
# A palm is a known hand's if its crop nearly has its centre (shares of its side), rotation (radians) and log size.
_SAME_PLACE, _SAME_TURN, _SAME_SIZE = 0.15, 0.45, 0.3
# Log odds of another hand below which there is none near a known one: of single hands -2.7 at most, of hands that touch
# at least 2.
_ALONE = -1.0
# Small hands are sought in squares of this many sides of their crop, if these are smaller than this share of those of
# the closer search; where no hand is known, in squares of this share of the picture's shorter side.
_SQUARE, _SMALL, _SMALLEST = 3.0, 0.7, 0.375
# How much longer it is to the next search after one without success: beside a known hand, and where there is none.
_LONGER_ALONE, _LONGER_EMPTY = 2, 4


class Window:
    """Follows hands through one group of frames after another and extends the tracklets."""

    def __init__(
        self,
        networks: LandmarkNetworks,
        settings: DetectionSettings,
        tracklets: Tracklets,
        head: Callable[[], HeadWithLandmarks | None] = lambda: None,
        partner: Callable[[], Run | None] | None = None,
    ) -> None:
        self._networks = networks
        self._head, self._partner = head, partner
        self._search_at, self._search_gap = 0, settings.search_first
        self._closer_at, self._closer_gap = 0, settings.detect_every
        self._asked: dict[int, bool] = {}
        self._settings = settings
        self._tracklets = tracklets
        self._images: dict[int, Image | None] = {}
        self._cuts = set[int]()
        self._follower = Follower(networks, settings, tracklets, self._images, self._cuts)
        self._end = 0
        self._waiting: list[Front] = []

    def restore(self, images: Sequence[Image | None], end: int, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue after frame `end` of a shot with the tracklets known so far.

        images: the last ones before `end`. state: the `state` of that moment.
        """
        self._end = end
        self._images.update(zip(range(end - len(images), end), images, strict=True))
        numbers = state["search"].tolist()
        self._search_at, self._search_gap, self._closer_at, self._closer_gap = numbers
        self._cuts.update(state["cuts"].tolist())
        self._waiting = self._follower.ends()

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs apart from images and tracklets."""
        numbers = self._search_at, self._search_gap, self._closer_at, self._closer_gap
        return {"search": np.array(numbers), "cuts": np.array(sorted(self._cuts), np.int64)}

    def advance(
        self,
        images: Sequence[Image | None],
        at_arms: Callable[[], NDArray[np.float64]] | None = None,
        cuts: Sequence[int] = (),
    ) -> None:
        """Add the next frames of the shot and follow every hand through them.

        at_arms: waits for where a body has its hands in each of them, crops (T, S, 4) as in `Arms`. cuts: those of them
        that begin a piece: hands are not followed from one to the next, but searched for anew.
        """
        start = self._end
        self._end = start + len(images)
        self._images.update(zip(range(start, self._end), images, strict=True))
        if cuts:
            self._cuts.update(cuts)
            self._search_at = self._closer_at = 0
            self._search_gap, self._closer_gap = self._settings.search_first, self._settings.detect_every

        there = [at for at in range(start, self._end) if self._images[at] is not None]
        self._go_on(there)
        self._find(
            [at for at in there[:: self._settings.detect_every_empty] if not self._tracklets.count(at)]
        )
        self._find([at for at in there if self._is_short_of_hands(at)])
        if at_arms is not None:
            self._find_at_arms(start, there, at_arms)
        wanting = [at for at in there[:: self._settings.detect_every] if self._tracklets.count(at) < _HANDS]
        if not any(self._tracklets.count(at) for at in there):
            # What is found there is followed through all of these frames.
            wanting = wanting[:1]
        self._find_closer(wanting)
        self._search(wanting)
        self._find_proposed(wanting)
        self._read_sizes(there)
        self._waiting = self._follower.ends()
        oldest = self._end - self._settings.history_frames
        for at in [at for at in self._images if at < oldest]:
            del self._images[at]
            self._cuts.discard(at)
        self._asked = {at: answer for at, answer in self._asked.items() if at >= oldest}

    def _go_on(self, there: Sequence[int]) -> None:
        """Follow the hands known so far through these frames, and new ones from the palms of every n-th frame.

        Hands that are plain to see are followed first, so that their palms need not be read; others together with the
        palms, so that they are followed from those.
        """
        if self._waiting:
            self._follower.by_strides = not self._may_hide_another(self._waiting[0].at)
        plain, others = list[Front](), list[Front]()
        for front in self._waiting:
            sighting = self._tracklets.sighting(front.tracklet, front.at)
            (plain if self._follower.is_plain(sighting) else others).append(front)
        self._follower.forwards(plain)
        fresh = self._seek(there[:: self._settings.detect_every])
        if there and not self._waiting:
            self._follower.by_strides = not self._may_hide_another(there[0])
        self._follower.both_ways(fresh, others)
        self._waiting = []

    def _find(self, frames: Sequence[int]) -> None:
        """Detect palms in some frames and follow new hands both ways."""
        self._follower.both_ways(self._seek(frames))

    def _seek(self, frames: Sequence[int]) -> list[Front]:
        """New tracklets from the palms of some frames."""
        images = [image for at in frames if (image := self._images[at]) is not None]
        return self._started(frames, detect_palms(images, self._networks, self._settings.min_palm_score))

    def _find_closer(self, frames: Sequence[int]) -> None:
        """The same by the detector's closer search; less and less often while a known hand remains the only one."""
        for at in frames:
            image = self._images[at]
            alone = self._tracklets.count(at) > 0 and not self._may_hide_another(at)
            if image is None or (alone and at < self._closer_at):
                continue
            size_px = size_of(image)
            known_px = [sighting.next_crop[2] for _, sighting in self._tracklets.last_of(at)]
            side = _small_side(max(known_px, default=np.inf), size_px) or closer_side(*size_px)
            fresh = self._found_in(at, image, squares_over(*size_px, side))
            if alone:
                longer = min(2 * self._closer_gap, self._settings.closer_most)
                self._closer_gap = self._settings.detect_every if fresh else longer
                self._closer_at = at + self._closer_gap
            self._follower.both_ways(fresh)

    @timed(SEARCH)
    def _find_proposed(self, frames: Sequence[int]) -> None:
        """Read hands where the pair detector proposes some in frames that lack one, and follow them both ways.

        It tells of single hands as well whose palm is turned away, dark or cut off. If they are not surely hands, they
        may be some frames on.
        """
        for at in frames:
            if self._read_proposed(at):
                self._read_proposed(at + self._settings.detect_every // 2)

    def _read_proposed(self, at: int) -> bool:
        """Whether hands are proposed in a frame and none of them is surely one."""
        image, missing = self._images.get(at), _HANDS - self._tracklets.count(at)
        if image is None or missing <= 0:
            return False
        known = [sighting.next_crop for _, sighting in self._tracklets.last_of(at)]
        told = proposed_apart(image, np.reshape(known, (-1, 4)), _HANDS, self._networks)
        read = self._read_twice([at] * len(told.crops), list(told.crops))
        fresh = self._follower.started(sure_hands(image, read, self._head(), told.likely)[:missing])
        self._follower.both_ways(fresh)
        return bool(read) and not fresh

    @timed(SEARCH)
    def _found_in(self, at: int, image: Image, squares: NDArray[np.int64]) -> list[Front]:
        """New tracklets from the palms in squares (N, 3) of a frame.

        The smaller the squares, the more is taken for a hand in them, so that in small ones the landmark head decides.
        """
        palms = detect_palms_in(image, squares, self._networks, self._settings.min_palm_score_closer)
        found = self._sightings([at], [palms])
        if squares[0, 2] < closer_side(*size_of(image)):
            found = sure_hands(image, found, self._head())
        return self._follower.started(found)

    def _find_at_arms(
        self, start: int, there: Sequence[int], at_arms: Callable[[], NDArray[np.float64]]
    ) -> None:
        """Read hands where a body has them, in frames that lack one, and follow what is found both ways."""
        lacking = [at for at in there if self._settings.tells_arms(at) and self._tracklets.count(at) < _HANDS]
        if not lacking:
            return
        crops = at_arms()
        for at in lacking:
            image, hands = self._images[at], crops[at - start]
            hands = hands[np.isfinite(hands).all(-1)]
            if image is not None and len(hands) and self._tracklets.count(at) < _HANDS:
                found = self._read_twice([at] * len(hands), list(hands))
                self._follower.both_ways(self._follower.started(sure_hands(image, found, self._head())))

    @timed(SEARCH)
    def _search(self, frames: Sequence[int]) -> None:
        """Search frames that lack a hand, if a search is due: where none is known, for palms of small hands, then
        without relying on palms; follow what is found both ways.

        The latter needs the landmark head, the only means of telling hands from forearms.
        """
        for at in frames:
            image = self._images[at]
            missing = self._tracklets.count(at) < _HANDS and at >= self._search_at
            if image is None or not missing:
                continue
            known = [sighting.next_crop for _, sighting in self._tracklets.last_of(at)]
            if known and self._partner and not self._may_hide_another(at):
                continue
            size_px = size_of(image)
            fresh = list[Front]()
            if not known:
                small = squares_over(*size_px, round(_SMALLEST * min(size_px)))
                fresh = self._found_in(at, image, small)
            head = None if fresh else self._head()
            if head is not None:
                crops = crops_about(known[0]) if known else crops_over(*size_px)
                found = search_hands(image, crops, self._networks, known[0] if known else None)
                sightings = sightings_of([at] * len(found.presence), found)
                good = np.flatnonzero(plausible(image, found.next_crops, head))[:_HANDS]
                fresh = self._follower.started([sightings[row] for row in good])
            longer = _LONGER_ALONE if known else _LONGER_EMPTY
            self._search_gap = self._settings.search_first if fresh else longer * self._search_gap
            self._search_at = at + self._search_gap
            self._follower.both_ways(fresh)

    def _may_hide_another(self, at: int) -> bool:
        """Whether the only hand known in a frame may be one of two that touch, according to the partner network; False
        without one.
        """
        known, image = self._tracklets.last_of(at), self._images.get(at)
        partner = self._partner() if self._partner else None
        if partner is None or image is None or len(known) != 1:
            return False
        if at not in self._asked:
            picture = cut(image, known[0][1].next_crop, CROP_PX)
            # Whether this is a left or a right hand is not known yet.
            features = self._networks.early_features(np.stack([picture, picture[:, ::-1]]))
            self._asked[at] = bool(partner(features)[0].max() > _ALONE)
        return self._asked[at]

    def _started(self, frames: Sequence[int], palms: Sequence[Palms]) -> list[Front]:
        """New tracklets from the palms of some frames; palms of known hands start none."""
        return self._follower.started(self._sightings(frames, palms))

    def _sightings(self, frames: Sequence[int], palms: Sequence[Palms]) -> list[Sighting]:
        """What the palms of some frames lead to, those of known hands apart."""
        places, crops = [], []
        for at, found in zip(frames, palms, strict=True):
            best = slice(self._settings.max_palms)
            for crop in crops_from_palms(found.boxes_px[best], found.key_points_px[best]):
                if not self._is_known(at, crop):
                    places.append(at)
                    crops.append(crop)
        return self._read_twice(places, crops)

    def _read_twice(self, frames: Sequence[int], crops: Sequence[NDArray[np.float64]]) -> list[Sighting]:
        """Readings of hands that are about in these crops, in the ones where they are."""
        first = self._follower.read(frames, crops)
        return self._follower.read([one.at for one in first], [one.next_crop for one in first])

    def _is_known(self, at: int, crop: NDArray[np.float64]) -> bool:
        """Whether a palm's crop (4,) is where a hand plain to see is, as large and turned as it."""
        for _, known in self._tracklets.last_of(at):
            if not self._follower.is_plain(known):
                continue
            off = known.next_crop - crop
            turned = abs((off[3] + np.pi) % (2 * np.pi) - np.pi)
            near = np.linalg.norm(off[:2]) < _SAME_PLACE * crop[2] and turned < _SAME_TURN
            if near and abs(np.log(known.next_crop[2] / crop[2])) < _SAME_SIZE:
                return True
        return False

    def _read_sizes(self, frames: Sequence[int]) -> None:
        """Read in wider squares how large hands are: each in its first of these frames, then in every n-th."""
        every = self._settings.sizes_every
        asked, due = list[tuple[int, Sighting]](), dict[int, int]()
        for at in frames if every else ():
            for tracklet, sighting in self._tracklets.last_of(at):
                if at >= due.get(tracklet, at):
                    asked.append((tracklet, sighting))
                    due[tracklet] = at + every
        crops = [widened(sighting.next_crop) for _, sighting in asked]
        wide = self._follower.read([sighting.at for _, sighting in asked], crops)
        for (tracklet, sighting), other in zip(asked, wide, strict=True):
            own_px, wide_px = (one.points_px[:, :2].astype(np.float64) for one in (sighting, other))
            if is_same_hand(np.array(other.presence), wide_px, own_px, sighting.next_crop):
                self._tracklets.add(tracklet, replace(sighting, growth=float(growth(own_px, wide_px))))

    def _is_short_of_hands(self, at: int) -> bool:
        """Whether fewer hands are known in a frame than in some frame nearby."""
        reach = self._settings.detect_every
        nearby = max(self._tracklets.count(near) for near in range(at - reach, at + reach + 1))
        return self._tracklets.count(at) < nearby


def size_of(image: Image) -> tuple[int, int]:
    """Width and height in pixels."""
    return image.shape[1], image.shape[0]


def _small_side(crop_px: float, size_px: tuple[int, int]) -> int:
    """Side of the squares for hands of such crops, in a picture of that size; 0 if they are not small in it."""
    side = _SQUARE * crop_px
    return round(side) if side < _SMALL * closer_side(*size_px) else 0
