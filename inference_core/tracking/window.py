# SPDX-License-Identifier: GPL-3.0-or-later
"""The frames currently in memory: where hands are sought in them, and followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_palms
from inference_core.landmarks.networks import LandmarkNetworks
from inference_core.landmarks.palm_detector import detect_palms, detect_palms_closer
from inference_core.runtime.stopwatch import SEARCH, timed
from inference_core.tracking.follower import Follower, Front, Image, sightings_of
from inference_core.tracking.settings import DetectionSettings
from inference_core.tracking.tracklets import Sighting, Tracklets
from inference_core.tracking.wider_square import growth, is_same_hand, widened

if TYPE_CHECKING:
    from inference_core.landmarks.landmark_head import HeadWithLandmarks

# Frames with fewer hands than this are searched more closely.
_HANDS = 2
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
    ) -> None:
        self._networks = networks
        self._head = head
        self._search_at, self._search_gap = 0, settings.search_first
        self._settings = settings
        self._tracklets = tracklets
        self._images: dict[int, Image | None] = {}
        self._follower = Follower(networks, settings, tracklets, self._images)
        self._end = 0
        self._waiting: list[Front] = []

    def restore(self, images: Sequence[Image | None], end: int, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue after frame `end` of a shot with the tracklets known so far.

        images: the last ones before `end`. state: the `state` of that moment.
        """
        self._end = end
        self._images.update(zip(range(end - len(images), end), images, strict=True))
        self._search_at, self._search_gap = (int(number) for number in state["search"])
        self._waiting = self._follower.ends()

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
        if not any(self._tracklets.count(at) for at in there):
            # What is found there is followed through all of these frames.
            wanting = wanting[:1]
        self._find(wanting, closer=True)
        self._search(wanting)
        self._read_sizes(there)
        self._waiting = self._follower.ends()
        oldest = self._end - self._settings.history_frames
        for at in [at for at in self._images if at < oldest]:
            del self._images[at]

    def _find(self, frames: Sequence[int], closer: bool = False) -> None:
        """Detect palms in some frames and follow their hands, and those waiting to be followed, both ways.

        closer: use the detector's closer search.
        """
        fresh = self._seek(frames, closer)
        self._follower.both_ways(fresh, self._waiting)
        self._waiting = []

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
            found = search_hands(image, crops, self._networks, known[0] if known else None)
            sightings = sightings_of([at] * len(found.presence), found)
            good = np.flatnonzero(plausible(image, found, head))[:_HANDS]
            fresh = self._follower.started([sightings[row] for row in good])
            longer = _LONGER_ALONE if known else _LONGER_EMPTY
            self._search_gap = self._settings.search_first if fresh else longer * self._search_gap
            self._search_at = at + self._search_gap
            self._follower.both_ways(fresh)

    def _seek(self, frames: Sequence[int], closer: bool) -> list[Front]:
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
        first = self._follower.read(places, crops)
        centred = self._follower.read([one.at for one in first], [one.next_crop for one in first])
        return self._follower.started(centred)

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
