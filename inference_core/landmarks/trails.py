# SPDX-License-Identifier: GPL-3.0-or-later
"""Sightings of hands, strung into trails: what was read where, and which readings are of one hand."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Two readings of one frame are of the same hand if their landmarks lie closer than this, as a share of the
# crop's side, on average. A hand fills about half its crop; readings of one hand from two crops differ by
# about 0.01.
SAME_HAND = 0.1


@dataclass(frozen=True)
class Sighting:
    """One reading of one hand in frame `at`. Units and shapes as in `ShotDetections`.

    crop (4,): where it was read. next_crop (4,): where to look in the next frame.
    """

    at: int
    points_px: NDArray[np.float32]
    world_m: NDArray[np.float32]
    presence: float
    right: float
    crop: NDArray[np.float64]
    next_crop: NDArray[np.float64]


class Trails:
    """Trails by number. Two trails found to be one keep the earlier's number."""

    def __init__(self) -> None:
        self._by_trail: dict[int, dict[int, Sighting]] = {}
        self._by_frame: dict[int, dict[int, Sighting]] = {}
        self._joined: dict[int, int] = {}

    def start(self, sighting: Sighting) -> int:
        """The number of a new trail that begins with this sighting."""
        trail = len(self._by_trail) + len(self._joined)
        self._by_trail[trail] = {}
        self.add(trail, sighting)
        return trail

    def add(self, trail: int, sighting: Sighting) -> None:
        """Put a sighting on a trail."""
        trail = self.number(trail)
        self._by_trail[trail][sighting.at] = sighting
        self._by_frame.setdefault(sighting.at, {})[trail] = sighting

    def number(self, trail: int) -> int:
        """The trail's number today, after all joining."""
        while trail in self._joined:
            trail = self._joined[trail]
        return trail

    def same_hand(self, sighting: Sighting) -> int | None:
        """The trail whose reading of that frame is of the same hand, if there is one."""
        for trail, other in self._by_frame.get(sighting.at, {}).items():
            if is_same_hand(sighting, other):
                return trail
        return None

    def join(self, first: int, second: int) -> bool:
        """Make two trails one; False (and nothing done) if both have a sighting in some frame."""
        first, second = sorted((self.number(first), self.number(second)))
        if first == second or self._by_trail[first].keys() & self._by_trail[second].keys():
            return False
        moved = self._by_trail.pop(second)
        self._joined[second] = first
        for at, sighting in moved.items():
            self._by_trail[first][at] = sighting
            self._by_frame[at][first] = self._by_frame[at].pop(second)
        return True

    def count(self, at: int) -> int:
        """How many hands are known in a frame."""
        return len(self._by_frame.get(at, {}))

    def first_frame(self, trail: int) -> int:
        """The earliest frame of a trail."""
        return min(self._by_trail[self.number(trail)])

    def last_of(self, at: int) -> list[tuple[int, Sighting]]:
        """Trails with a sighting in frame `at`, and that sighting."""
        return list(self._by_frame.get(at, {}).items())

    def sighting(self, trail: int, at: int) -> Sighting:
        """A trail's sighting in a frame."""
        return self._by_trail[self.number(trail)][at]

    def all(self) -> Iterator[tuple[int, Sighting]]:
        """Every sighting with its trail's number."""
        for trail, sightings in self._by_trail.items():
            for sighting in sightings.values():
                yield trail, sighting


def is_same_hand(one: Sighting, other: Sighting) -> bool:
    """Whether two readings of one frame are of the same hand."""
    apart_px = np.linalg.norm(one.points_px[:, :2] - other.points_px[:, :2], axis=-1).mean()
    return bool(apart_px < SAME_HAND * max(one.crop[2], other.crop[2]))
