# SPDX-License-Identifier: GPL-3.0-or-later
"""Searches about hands that are near one another, made beside detection.

Whether tracks are on the same hand is found from both hands chosen together in a few frames (see `mixed_up`). What
that takes is read while the frame is in memory and a processor is free.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.runtime.ahead import Later
from inference_core.runtime.stopwatch import SEARCH, timed
from inference_core.tracking.mixed_up import Searched, Turns, are_near, search_near
from inference_core.tracking.tracklets import Sighting, Tracklets

# Pictures held at once for searches that are not done; what would need more is searched later, from the footage.
_MOST_HELD = 2


class PairsAhead:
    """Searches, in a thread, in the frames in which `set_right` will ask, as far as detection knows them.

    head: waits for the landmark head; None if the network has none.
    """

    def __init__(self, head: Callable[[], HeadWithLandmarks | None]) -> None:
        self._head, self._turns = head, Turns()
        self._free = threading.Semaphore(_MOST_HELD)
        self._searches: dict[int, Callable[[], Searched | None]] = {}

    def ask(self, frames: Mapping[int, Frame], tracklets: Tracklets, later: Later) -> None:
        """Search in those of the frames, by their place in the shot, that are due."""
        for at, frame in frames.items():
            hands_px = _two_hands_px([sighting for _, sighting in tracklets.last_of(at)])
            if frame.image is None or hands_px is None or not self._turns.come(at):
                continue
            self._turns.chosen(at)
            if self._free.acquire(blocking=False):
                self._searches[at] = later(self._search, frame.image, hands_px)

    def searched(self) -> dict[int, Searched]:
        """What was found, by frame; waits for it."""
        found = {at: search() for at, search in self._searches.items()}
        return {at: searched for at, searched in found.items() if searched is not None}

    @timed(SEARCH)
    def _search(self, image: NDArray[np.uint8], hands_px: NDArray[np.float64]) -> Searched | None:
        try:
            head = self._head()
            return None if head is None or head.partner is None else search_near(image, head, hands_px)
        finally:
            self._free.release()


def _two_hands_px(sightings: list[Sighting]) -> NDArray[np.float64] | None:
    """(2, 21, 2) a left and a right hand near one another, if the sightings are of two."""
    if len(sightings) != 2:
        return None
    left_first = sorted(sightings, key=lambda sighting: sighting.right)
    hands_px = np.stack([sighting.points_px[:, :2] for sighting in left_first]).astype(np.float64)
    return hands_px if are_near(hands_px[None])[0] else None
