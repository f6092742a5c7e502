# SPDX-License-Identifier: GPL-3.0-or-later
"""Tracklets: sightings of one hand strung together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Two readings in a frame are of the same hand if their landmarks are on average closer than this share of the
# crop's side. A hand fills about half its crop; readings of one hand from two crops differ by about 0.01.
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
    growth: float = float("nan")
    odds: float = float("nan")


# A sighting as a row of an array, in a third of the memory.
_ROW = np.dtype(
    [
        ("at", np.int64),
        ("points_px", np.float32, (21, 3)),
        ("world_m", np.float32, (21, 3)),
        ("presence", np.float64),
        ("right", np.float64),
        ("crop", np.float64, 4),
        ("next_crop", np.float64, 4),
        ("growth", np.float64),
        ("odds", np.float64),
    ]
)


# So many are copied at once.
_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class _Settled:
    """A sighting that is one of many rows."""

    rows: NDArray[np.void]
    row: int

    @property
    def sighting(self) -> Sighting:
        return Sighting(*(value if np.ndim(value) else value.item() for value in self.rows[self.row]))


class Tracklets:
    """Tracklets by number. Two tracklets found to be the same keep the earlier number."""

    def __init__(self) -> None:
        self._by_tracklet: dict[int, dict[int, Sighting | _Settled]] = {}
        self._by_frame: dict[int, dict[int, Sighting | _Settled]] = {}
        self._unsettled = set[int]()
        self._joined: dict[int, int] = {}
        self._started = 0

    def start(self, sighting: Sighting) -> int:
        """The number of a new tracklet that begins with this sighting."""
        tracklet = self._started
        self._started += 1
        self._by_tracklet[tracklet] = {}
        self.add(tracklet, sighting)
        return tracklet

    def add(self, tracklet: int, sighting: Sighting) -> None:
        """Append a sighting to a tracklet."""
        tracklet = self.number(tracklet)
        self._by_tracklet[tracklet][sighting.at] = sighting
        self._by_frame.setdefault(sighting.at, {})[tracklet] = sighting
        self._unsettled.add(sighting.at)

    def settle(self, before: int) -> None:
        """Hold the sightings in frames before this one as rows: they are equal, but no longer the same objects."""
        frames = sorted(at for at in self._unsettled if at < before)
        self._unsettled.difference_update(frames)
        some = [
            (at, tracklet, one)
            for at in frames
            for tracklet, one in self._by_frame[at].items()
            if isinstance(one, Sighting)
        ]
        rows = np.empty(len(some), _ROW)
        for row, (at, tracklet, one) in enumerate(some):
            rows[row] = _values(one)
            self._by_frame[at][tracklet] = self._by_tracklet[tracklet][at] = _Settled(rows, row)

    def number(self, tracklet: int) -> int:
        """The tracklet's current number, after all merges."""
        while tracklet in self._joined:
            tracklet = self._joined[tracklet]
        return tracklet

    def same_hand(self, sighting: Sighting) -> int | None:
        """The tracklet whose reading in that frame is of the same hand, or None."""
        for tracklet, other in self.last_of(sighting.at):
            if is_same_hand(sighting, other):
                return tracklet
        return None

    def join(self, first: int, second: int) -> bool:
        """Merge two tracklets. Returns False, and changes nothing, if both have a sighting in some frame."""
        first, second = sorted((self.number(first), self.number(second)))
        if first == second or self._by_tracklet[first].keys() & self._by_tracklet[second].keys():
            return False
        moved = self._by_tracklet.pop(second)
        self._joined[second] = first
        for at, sighting in moved.items():
            self._by_tracklet[first][at] = sighting
            self._by_frame[at][first] = self._by_frame[at].pop(second)
        return True

    def count(self, at: int) -> int:
        """How many hands are known in a frame."""
        return len(self._by_frame.get(at, {}))

    def first_frame(self, tracklet: int) -> int:
        """The earliest frame of a tracklet."""
        return min(self._by_tracklet[self.number(tracklet)])

    def last_of(self, at: int) -> list[tuple[int, Sighting]]:
        """Tracklets with a sighting in frame `at`, and that sighting."""
        return [(tracklet, _opened(one)) for tracklet, one in self._by_frame.get(at, {}).items()]

    def sighting(self, tracklet: int, at: int) -> Sighting:
        """A tracklet's sighting in a frame, if it has one."""
        return _opened(self._by_tracklet[self.number(tracklet)][at])

    def find(self, tracklet: int, at: int) -> Sighting | None:
        """A tracklet's sighting in a frame; None if it has none."""
        one = self._by_tracklet[self.number(tracklet)].get(at)
        return None if one is None else _opened(one)

    def columns(self) -> dict[str, NDArray[Any]]:
        """The fields of all sightings (N, ...), and their `tracklet` (N,), ordered by frame and tracklet."""
        count = sum(map(len, self._by_frame.values()))
        columns = {name: np.empty((count, *_ROW[name].shape), _ROW[name].base) for name in _ROW.names or ()}
        numbers, known = np.empty(count, np.int64), self._in_order()
        for start in range(0, count, _AT_ONCE):
            some = list(islice(known, _AT_ONCE))
            rows = np.empty(len(some), _ROW)
            for row, (_, one) in enumerate(some):
                rows[row] = one.rows[one.row] if isinstance(one, _Settled) else _values(one)
            for name, column in columns.items():
                column[start : start + _AT_ONCE] = rows[name]
            numbers[start : start + _AT_ONCE] = [tracklet for tracklet, _ in some]
        return {**columns, "tracklet": numbers}

    def _in_order(self) -> Iterator[tuple[int, Sighting | _Settled]]:
        for at in sorted(self._by_frame):
            yield from sorted(self._by_frame[at].items(), key=itemgetter(0))

    def state(self) -> dict[str, NDArray[Any]]:
        """All sightings and their tracklets as arrays, for `restored`."""
        return {**self.columns(), "started": np.array(self._started)}

    @staticmethod
    def restored(state: Mapping[str, NDArray[Any]]) -> "Tracklets":
        """The tracklets of a `state`."""
        tracklets = Tracklets()
        tracklets._started = int(state["started"])
        for row, number in enumerate(state["tracklet"].tolist()):
            sighting = Sighting(
                at=int(state["at"][row]),
                points_px=state["points_px"][row],
                world_m=state["world_m"][row],
                presence=float(state["presence"][row]),
                right=float(state["right"][row]),
                crop=state["crop"][row],
                next_crop=state["next_crop"][row],
                growth=float(state["growth"][row]),
                odds=float(state["odds"][row]),
            )
            tracklets._by_tracklet.setdefault(number, {})
            tracklets.add(number, sighting)
        return tracklets


def _opened(one: Sighting | _Settled) -> Sighting:
    return one.sighting if isinstance(one, _Settled) else one


def _values(sighting: Sighting) -> tuple[Any, ...]:
    return tuple(vars(sighting).values())


def is_same_hand(one: Sighting, other: Sighting) -> bool:
    """Whether two readings of one frame are of the same hand."""
    apart_px = np.linalg.norm(one.points_px[:, :2] - other.points_px[:, :2], axis=-1).mean()
    return bool(apart_px < SAME_HAND * max(one.crop[2], other.crop[2]))
