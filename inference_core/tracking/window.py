# SPDX-License-Identifier: GPL-3.0-or-later
"""The frames currently in memory, and the following of hands through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_palms
from inference_core.landmarks.hand_reader import HandReadings, read_hands
from inference_core.landmarks.networks import LandmarkNetworks
from inference_core.landmarks.palm_detector import detect_palms, detect_palms_closer
from inference_core.runtime.stopwatch import SEARCH, timed
from inference_core.tracking.tracklets import Sighting, Tracklets

if TYPE_CHECKING:
    from inference_core.landmarks.landmark_head import HeadWithLandmarks

Image = NDArray[np.uint8]
FORWARDS, BACKWARDS = 1, -1
_STILL = np.zeros(2)
# Frames with fewer hands than this are searched more closely.
_HANDS = 2
# A hand whose apparent size (logarithm) or rotation (radians) changes this much between frames needs at least
# this presence to be accepted; smaller changes need less.
_FULL_GROWTH, _FULL_TURN, _FULL_PRESENCE = 0.45, 1.0, 0.85


@dataclass(frozen=True)
class DetectionSettings:
    """How thoroughly to search.

    detect_every: palms are detected on every n-th frame. detect_every_empty: likewise where no hand is known at all.
    window_frames, window_bytes: images held at once.
    history_frames: how many earlier images are kept for following a hand backwards. max_palms: at most this many
    per frame. min_palm_score, min_presence: MediaPipe's own. min_palm_score_closer: for the closer search of
    frames with fewer than two hands; the landmark network checks these palms as well. reread_shift: a hand
    further from its crop's middle than this share of the side is read again in a centred crop. widen_lost: a lost
    hand is sought in a crop this much larger. search_first: a missing hand is searched for without its palm on
    the first frame, then this many frames later, at twice the distance after each failure. arms_every: a body's
    arms are located on every n-th frame.
    """

    detect_every: int = 12
    detect_every_empty: int = 3
    window_frames: int = 24
    window_bytes: int = 100_000_000
    history_frames: int = 12
    max_palms: int = 6
    min_palm_score: float = 0.5
    min_palm_score_closer: float = 0.3
    min_presence: float = 0.5
    reread_shift: float = 0.1
    widen_lost: float = 1.25
    search_first: int = 24
    arms_every: int = 12


@dataclass(frozen=True)
class _Front:
    """The end of a tracklet that is being followed: from frame `at`, look in `crop` next.

    motion_px (2,): how far the hand moved in the last step.
    """

    tracklet: int
    at: int
    crop: NDArray[np.float64]
    motion_px: NDArray[np.float64]


class Window:
    """Follows hands through one group of frames after another and extends the tracklets."""

    def __init__(
        self,
        networks: LandmarkNetworks,
        settings: DetectionSettings,
        tracklets: Tracklets,
        head: Callable[[], HeadWithLandmarks | None] = lambda: None,
    ) -> None:
        self._networks = networks
        self._head = head
        self._search_at, self._search_gap = 0, settings.search_first
        self._settings = settings
        self._tracklets = tracklets
        self._images: dict[int, Image | None] = {}
        self._end = 0
        self._waiting: list[_Front] = []

    def restore(self, images: Sequence[Image | None], end: int, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue after frame `end` of a shot with the tracklets known so far.

        images: the last ones before `end`. state: the `state` of that moment.
        """
        self._end = end
        self._images = dict(zip(range(end - len(images), end), images, strict=True))
        self._search_at, self._search_gap = (int(number) for number in state["search"])
        self._waiting = self._ends()

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs apart from images and tracklets."""
        return {"search": np.array([self._search_at, self._search_gap])}

    def advance(self, images: Sequence[Image | None]) -> None:
        """Add the next frames of the shot and follow every hand through them."""
        start = self._end
        self._end = start + len(images)
        self._images.update(zip(range(start, self._end), images, strict=True))

        there = [at for at in range(start, self._end) if self._images[at] is not None]
        self._find(there[:: self._settings.detect_every])
        self._find(
            [at for at in there[:: self._settings.detect_every_empty] if not self._tracklets.count(at)]
        )
        self._find([at for at in there if self._is_short_of_hands(at)])
        wanting = [at for at in there[:: self._settings.detect_every] if self._tracklets.count(at) < _HANDS]
        self._find(wanting, closer=True)
        self._search(wanting)
        self._waiting = self._ends()
        oldest = self._end - self._settings.history_frames
        self._images = {at: image for at, image in self._images.items() if at >= oldest}

    def _find(self, frames: Sequence[int], closer: bool = False) -> None:
        """Detect palms in some frames and follow their hands, and those waiting to be followed, both ways.

        closer: use the detector's closer search.
        """
        fresh = self._seek(frames, closer)
        self._follow([*self._waiting, *fresh], FORWARDS)
        self._waiting = []
        self._follow(self._loose_starts(fresh), BACKWARDS)

    @timed(SEARCH)
    def _search(self, frames: Sequence[int]) -> None:
        """Search frames that lack a hand, if a search is due, without relying on palms;
        follow what is found both ways.

        Needs the landmark head, the only means of telling hands from forearms; without it there is no search.
        """
        for at in frames:
            image = self._images[at]
            missing = self._tracklets.count(at) < _HANDS and at >= self._search_at
            if image is None or not missing:
                continue
            head = self._head()
            if head is None:
                return
            # With the head comes torch.
            from inference_core.landmarks.hand_search import (
                plausible,
                search_hands,
                squares_about,
                squares_over,
            )

            known = [sighting.next_crop for _, sighting in self._tracklets.last_of(at)]
            crops = squares_about(known[0]) if known else squares_over(image.shape[1], image.shape[0])
            found = search_hands(image, crops, self._networks)
            sightings, good = (
                _sightings([at] * len(found.presence), found),
                plausible(image, found, head),
            )
            fresh = self._started([sightings[row] for row in np.flatnonzero(good)[:_HANDS]])
            self._search_gap = self._settings.search_first if fresh else 2 * self._search_gap
            self._search_at = at + self._search_gap
            self._follow(fresh, FORWARDS)
            self._follow(self._loose_starts(fresh), BACKWARDS)

    def _seek(self, frames: Sequence[int], closer: bool) -> list[_Front]:
        """New tracklets from the palms of some frames; palms of known hands start none."""
        images = {at: image for at in frames if (image := self._images[at]) is not None}
        settings = self._settings
        if closer:
            with timed(SEARCH):
                palms = detect_palms_closer(
                    list(images.values()), self._networks, settings.min_palm_score_closer
                )
        else:
            palms = detect_palms(list(images.values()), self._networks, settings.min_palm_score)
        places, crops = [], []
        for at, found in zip(images, palms, strict=True):
            best = slice(self._settings.max_palms)
            for crop in crops_from_palms(found.boxes_px[best], found.key_points_px[best]):
                places.append(at)
                crops.append(crop)
        readings = self._read(places, crops)
        return self._started(self._read([one.at for one in readings], [one.next_crop for one in readings]))

    def _started(self, sightings: Sequence[Sighting]) -> list[_Front]:
        """New tracklets from sightings of hands not known in their frame."""
        fronts: list[_Front] = []
        for sighting in sightings:
            if self._is_hand(sighting) and self._tracklets.same_hand(sighting) is None:
                fronts.append(
                    _Front(self._tracklets.start(sighting), sighting.at, sighting.next_crop, _STILL)
                )
        return fronts

    def _follow(self, fronts: Sequence[_Front], step: int) -> None:
        """Follow tracklets frame by frame, all together, until each meets another,
        loses its hand or leaves the window.
        """
        while fronts:
            moved = [place for front in fronts if (place := self._next_place(front, step)) is not None]
            readings = self._read_fronts(moved)
            # If two tracklets reach the same hand, the one that moved less has the better claim.
            order = np.argsort([_shift(sighting) for sighting in readings], kind="stable")
            fronts = [
                _Front(
                    moved[n].tracklet, moved[n].at, readings[n].next_crop, _motion_px(moved[n], readings[n])
                )
                for n in order
                if self._accept(moved[n], readings[n])
            ]

    def _next_place(self, front: _Front, step: int) -> _Front | None:
        """The front moved to the next frame that has an image; None at the window's border."""
        at = front.at + step
        while at in self._images:
            if self._images[at] is not None:
                return replace(front, at=at)
            at += step
        return None

    def _accept(self, front: _Front, sighting: Sighting) -> bool:
        """Add a reading to its tracklet, or merge tracklets where it meets another; True
        if it is to be followed further.
        """
        if not self._goes_on(front, sighting):
            return False
        other = self._tracklets.same_hand(sighting)
        if other is not None:
            self._tracklets.join(front.tracklet, other)
            return False
        self._tracklets.add(front.tracklet, sighting)
        return True

    def _is_hand(self, sighting: Sighting) -> bool:
        return sighting.presence >= self._settings.min_presence

    def _goes_on(self, front: _Front, sighting: Sighting) -> bool:
        """Whether a reading is of the front's hand: the more the hand seems to change,
        the higher its presence must be.
        """
        grown = abs(float(np.log(sighting.next_crop[2] / front.crop[2])))
        turned = abs((sighting.next_crop[3] - front.crop[3] + np.pi) % (2 * np.pi) - np.pi)
        change = min(1.0, grown / _FULL_GROWTH + turned / _FULL_TURN)
        least = self._settings.min_presence
        return sighting.presence >= least + change * max(0.0, _FULL_PRESENCE - least)

    def _loose_starts(self, fronts: Sequence[_Front]) -> list[_Front]:
        """Where to follow backwards: the starts of tracklets begun at these fronts that continue no earlier one."""
        loose: list[_Front] = []
        for front in fronts:
            if self._tracklets.first_frame(front.tracklet) == front.at:
                sighting = self._tracklets.sighting(front.tracklet, front.at)
                loose.append(_Front(front.tracklet, front.at, sighting.next_crop, _STILL))
        return loose

    def _ends(self) -> list[_Front]:
        """Tracklets that reach the window's last frame, to be followed further when more frames come."""
        last = max((at for at, image in self._images.items() if image is not None), default=-1)
        return [
            _Front(tracklet, last, sighting.next_crop, _STILL)
            for tracklet, sighting in self._tracklets.last_of(last)
        ]

    def _is_short_of_hands(self, at: int) -> bool:
        """Whether fewer hands are known in a frame than in some frame nearby."""
        reach = self._settings.detect_every
        nearby = max(self._tracklets.count(near) for near in range(at - reach, at + reach + 1))
        return self._tracklets.count(at) < nearby

    def _read(self, frames: Sequence[int], crops: Sequence[NDArray[np.float64]]) -> list[Sighting]:
        if not frames:
            return []
        images = [image for at in frames if (image := self._images[at]) is not None]
        return _sightings(frames, read_hands(images, np.stack(crops), self._networks))

    def _read_fronts(self, fronts: Sequence[_Front]) -> list[Sighting]:
        """A reading for each front. Lost hands are sought where their motion leads, in a larger crop.

        Readings whose crop was off centre are repeated in a centred one.
        """
        readings = self._read([front.at for front in fronts], [front.crop for front in fronts])
        lost = [n for n, sighting in enumerate(readings) if not self._is_hand(sighting)]
        ahead = [_ahead(fronts[n], self._settings.widen_lost) for n in lost]
        self._replace(readings, lost, self._read([fronts[n].at for n in lost], ahead))
        poor = [n for n, sighting in enumerate(readings) if self._fits_poorly(sighting)]
        fitting = [readings[n].next_crop for n in poor]
        self._replace(readings, poor, self._read([fronts[n].at for n in poor], fitting))
        return readings

    def _replace(self, readings: list[Sighting], places: Sequence[int], others: Sequence[Sighting]) -> None:
        for place, other in zip(places, others, strict=True):
            if other.presence >= readings[place].presence:
                readings[place] = other

    def _fits_poorly(self, sighting: Sighting) -> bool:
        return self._is_hand(sighting) and _shift(sighting) > self._settings.reread_shift


def _shift(sighting: Sighting) -> float:
    """How far the hand is from the expected place, as a share of the crop's side."""
    return float(np.linalg.norm(sighting.next_crop[:2] - sighting.crop[:2]) / sighting.crop[2])


def _motion_px(front: _Front, sighting: Sighting) -> NDArray[np.float64]:
    """How far the hand moved (2,) from where `front` expected it."""
    return sighting.next_crop[:2] - front.crop[:2]


def _ahead(front: _Front, widen: float) -> NDArray[np.float64]:
    """A wider crop (4,) where the front's motion leads."""
    return np.concatenate((front.crop[:2] + front.motion_px, front.crop[2:3] * widen, front.crop[3:]))


def _sightings(frames: Sequence[int], readings: HandReadings) -> list[Sighting]:
    return [
        Sighting(
            at,
            readings.points_px[n].astype(np.float32),
            readings.world_m[n].astype(np.float32),
            float(readings.presence[n]),
            float(readings.right[n]),
            readings.crops[n],
            readings.next_crops[n],
        )
        for n, at in enumerate(frames)
    ]
