# SPDX-License-Identifier: GPL-3.0-or-later
"""Left or right for some sightings of each hand, read by the landmark head beside detection.

What a hand's side is decided by (see `handedness`) is read while the frame is in memory and a processor is free, so
that frames need not be decoded once more. Hands are cut out at once; reading them may wait until the head is loaded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.landmarks.crop_squares import crops_from_landmarks, cut
from inference_core.landmarks.formats import CROP_PX
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.runtime.ahead import Later
from inference_core.runtime.stopwatch import SIDES, timed
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.interpolate import STEPS
from inference_core.tracking.tracklets import Sighting, Tracklets
from inference_core.tracking.wider_square import apart, to_nearest_px

# The head reads every n-th frame; votes are interpolated in between.
_EVERY = 4
# Likewise where hands lie apart: frames of which many are read for their landmarks, too.
_EVERY_APART = 2 * STEPS[0]
# So many calls of `ask` may wait for the head.
_MOST_WAITING = 4

_Asked = list[tuple[int, int, Sighting]]


def is_due(at: NDArray[np.int64], points_px: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) which sightings in frames `at`, with landmarks points_px (N, 21, 2), are in frames whose sides are read."""
    alone = apart(points_px, to_nearest_px(at, points_px.mean(-2))) == 1
    return at % np.where(alone, _EVERY_APART, _EVERY) == 0


class SidesAhead:
    """Reads the sides of sightings in a thread, and writes them into the tracklets.

    head: waits for the landmark head; None if the network has none. readings: the head with what it read.
    """

    def __init__(self, head: Callable[[], HeadWithLandmarks | None]) -> None:
        self._head = head
        self._waiting: deque[tuple[_Asked, Callable[[], NDArray[np.float64]]]] = deque()
        self.readings: KeptReadings | None = None

    def ask(self, frames: Mapping[int, Frame], tracklets: Tracklets, later: Later, last: int) -> None:
        """Read the sightings in these frames, by their place in the shot, that are due or end a tracklet. last: a frame
        in which no tracklet ends yet.
        """
        asked = list(self._asked(frames, tracklets, last))
        if not asked:
            self._waiting.append(([], lambda: np.zeros(0)))
            return
        crops = [crops_from_landmarks(_points_px([sighting]))[0] for _, _, sighting in asked]
        pictures = [
            cut(image, crop, CROP_PX)
            for (_, at, _), crop in zip(asked, crops, strict=True)
            if (image := frames[at].image) is not None
        ]
        numbers = [frames[at].index for _, at, _ in asked]
        self._waiting.append((asked, later(self._read, numbers, np.stack(crops), pictures)))

    def collect(self, tracklets: Tracklets, most: int = _MOST_WAITING) -> None:
        """Write what was read into the tracklets; waits while more than `most` calls of `ask` are not done."""
        while len(self._waiting) > most:
            asked, read = self._waiting.popleft()
            for (tracklet, at, sighting), odds in zip(asked, read(), strict=True):
                if tracklets.find(tracklet, at) is sighting:
                    tracklets.add(tracklet, replace(sighting, odds=float(odds)))

    def _asked(
        self, frames: Mapping[int, Frame], tracklets: Tracklets, last: int
    ) -> Iterator[tuple[int, int, Sighting]]:
        known = [
            (tracklet, at, sighting)
            for at, frame in frames.items()
            if frame.image is not None
            for tracklet, sighting in tracklets.last_of(at)
        ]
        if not known:
            return
        due = is_due(np.array([at for _, at, _ in known]), _points_px([sighting for _, _, sighting in known]))
        for (tracklet, at, sighting), wanted in zip(known, due.tolist(), strict=True):
            begins = tracklets.find(tracklet, at - 1) is None
            ends = at != last and tracklets.find(tracklet, at + 1) is None
            if (wanted or begins or ends) and not np.isfinite(sighting.odds):
                yield tracklet, at, sighting

    @timed(SIDES)
    def _read(
        self, numbers: Sequence[int], crops: NDArray[np.float64], pictures: Sequence[NDArray[np.uint8]]
    ) -> NDArray[np.float64]:
        """(N,) log odds of a right hand; NaN without a head."""
        head = self._head()
        if head is None:
            return np.full(len(numbers), np.nan)
        if self.readings is None:
            self.readings = KeptReadings(head)
        sides = np.repeat([RIGHT, LEFT], len(numbers))
        shown = [*pictures, *(np.ascontiguousarray(picture[:, ::-1]) for picture in pictures)]
        read = self.readings.keep([*numbers, *numbers], np.tile(crops, (2, 1)), sides, shown)
        return log_odds(read.right.astype(np.float64))


def log_odds(right: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) half the difference between the head's readings of N hands as they are and of their mirror images (2 N,)."""
    as_is, mirrored = right.reshape(2, -1)
    return (as_is - mirrored) / 2


def _points_px(sightings: Sequence[Sighting]) -> NDArray[np.float64]:
    return np.stack([sighting.points_px[:, :2] for sighting in sightings]).astype(np.float64)
