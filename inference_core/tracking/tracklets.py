# SPDX-License-Identifier: GPL-3.0-or-later
"""Tracklets: sightings of one hand strung together."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
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


# A settled sighting, as a row of an array: what `ShotDetections` has of it.
_ROW = np.dtype(
    [
        ("at", np.int64),
        ("tracklet", np.int64),
        ("points_px", np.float32, (21, 3)),
        ("world_m", np.float32, (21, 3)),
        ("presence", np.float32),
        ("right", np.float32),
        ("crop", np.float32, 4),
        ("growth", np.float32),
        ("odds", np.float32),
    ]
)
_FIELDS = tuple(field.name for field in fields(Sighting))

Columns = dict[str, NDArray[Any]]


class Tracklets:
    """Tracklets by number. Two tracklets found to be the same keep the earlier number.

    Only sightings that are not settled can be looked up.
    """

    def __init__(self) -> None:
        self._by_tracklet: dict[int, dict[int, Sighting]] = {}
        self._by_frame: dict[int, dict[int, Sighting]] = {}
        self._settled: list[NDArray[np.void]] = []
        self._spans: dict[int, list[tuple[int, int]]] = {}
        self._joined: dict[int, int] = {}
        self._started = 0

    def start(self, sighting: Sighting) -> int:
        """The number of a new tracklet that begins with this sighting."""
        tracklet = self._started
        self._started += 1
        self.add(tracklet, sighting)
        return tracklet

    def add(self, tracklet: int, sighting: Sighting) -> None:
        """Append a sighting to a tracklet."""
        tracklet = self.number(tracklet)
        self._by_tracklet.setdefault(tracklet, {})[sighting.at] = sighting
        self._by_frame.setdefault(sighting.at, {})[tracklet] = sighting

    def settle(self, before: int) -> None:
        """Put the sightings in frames before this one away, as rows of which the memory holds more."""
        rows = np.array(list(self._rows(at for at in self._by_frame if at < before)), _ROW)
        if not len(rows):
            return
        self._put_away(rows)
        for at, tracklet in zip(rows["at"].tolist(), rows["tracklet"].tolist(), strict=True):
            del self._by_tracklet[tracklet][at]
            self._by_frame.pop(at, None)

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
        if first == second or self._meet(first, second):
            return False
        moved = self._by_tracklet.pop(second, {})
        self._joined[second] = first
        self._spans[first] = sorted(self._spans.get(first, []) + self._spans.pop(second, []))
        for at, sighting in moved.items():
            self._by_tracklet.setdefault(first, {})[at] = sighting
            self._by_frame[at][first] = self._by_frame[at].pop(second)
        return True

    def count(self, at: int) -> int:
        """How many hands are known in a frame."""
        return len(self._by_frame.get(at, {}))

    def first_frame(self, tracklet: int) -> int:
        """The earliest frame of a tracklet."""
        tracklet = self.number(tracklet)
        return self._spans[tracklet][0][0] if self._spans.get(tracklet) else min(self._by_tracklet[tracklet])

    def last_of(self, at: int) -> list[tuple[int, Sighting]]:
        """Tracklets with a sighting in frame `at`, and that sighting."""
        return list(self._by_frame.get(at, {}).items())

    def sighting(self, tracklet: int, at: int) -> Sighting:
        """A tracklet's sighting in a frame, if it has one."""
        return self._by_tracklet[self.number(tracklet)][at]

    def find(self, tracklet: int, at: int) -> Sighting | None:
        """A tracklet's sighting in a frame; None if it has none."""
        return self._by_tracklet.get(self.number(tracklet), {}).get(at)

    def settled(self, start: int = 0) -> Columns:
        """The fields of the settled sightings (N, ...) from the start-th on, and their `tracklet` (N,) at the time."""
        return _columns(self._settled, start)

    def unsettled(self) -> Columns:
        """The same of those that may still change, ordered by frame and tracklet."""
        return _columns([self._unsettled_rows()])

    def columns(self) -> Columns:
        """The fields of all sightings (N, ...), and their `tracklet` (N,), ordered by frame and tracklet."""
        columns = _columns([*self._settled, self._unsettled_rows()])
        known, of_row = np.unique(columns["tracklet"], return_inverse=True)
        columns["tracklet"] = np.array([self.number(number) for number in known.tolist()], np.int64)[of_row]
        order = np.lexsort((columns["tracklet"], columns["at"]))
        if (np.diff(order) != 1).any():
            for name, values in columns.items():
                columns[name] = values[order]
        return columns

    def state(self) -> Columns:
        """All but the settled sightings as arrays, for `restored`."""
        known = list(self._in_order(self._by_frame))
        return {
            **{name: np.array([getattr(one, name) for _, one in known]) for name in _FIELDS},
            "tracklet": np.array([tracklet for tracklet, _ in known], np.int64),
            "joined": np.array(sorted(self._joined.items()), np.int64).reshape(-1, 2),
            "started": np.array(self._started),
            "settled": np.array(sum(map(len, self._settled))),
        }

    @staticmethod
    def restored(state: Mapping[str, NDArray[Any]], settled: Iterable[Columns] = ()) -> "Tracklets":
        """The tracklets of a `state`, and all that was `settled` by then, one part after another."""
        tracklets = Tracklets()
        tracklets._started = int(state["started"])
        tracklets._joined = dict(state["joined"].tolist())
        for part in settled:
            rows = np.empty(len(part["at"]), _ROW)
            for name, values in part.items():
                rows[name] = values
            tracklets._put_away(rows)
        for row, tracklet in enumerate(state["tracklet"].tolist()):
            tracklets.add(tracklet, Sighting(**{name: _plain(state[name][row]) for name in _FIELDS}))
        return tracklets

    def _put_away(self, rows: NDArray[np.void]) -> None:
        self._settled.append(rows)
        for tracklet, at in zip(rows["tracklet"].tolist(), rows["at"].tolist(), strict=True):
            spans = self._spans.setdefault(self.number(tracklet), [])
            if spans and spans[-1][1] == at:
                spans[-1] = (spans[-1][0], at + 1)
            else:
                spans.append((at, at + 1))

    def _unsettled_rows(self) -> NDArray[np.void]:
        return np.array(list(self._rows(self._by_frame)), _ROW)

    def _rows(self, frames: Iterable[int]) -> Iterator[tuple[Any, ...]]:
        for tracklet, one in self._in_order(frames):
            yield tuple(tracklet if name == "tracklet" else getattr(one, name) for name in _ROW.names or ())

    def _in_order(self, frames: Iterable[int]) -> Iterator[tuple[int, Sighting]]:
        for at in sorted(frames):
            yield from sorted(self._by_frame[at].items(), key=itemgetter(0))

    def _meet(self, first: int, second: int) -> bool:
        """Whether both have a sighting in some frame."""
        one, other = self._by_tracklet.get(first, {}), self._by_tracklet.get(second, {})
        return bool(one.keys() & other.keys()) or any(
            start < other_stop and other_start < stop
            for start, stop in self._spans.get(first, ())
            for other_start, other_stop in self._spans.get(second, ())
        )


def is_same_hand(one: Sighting, other: Sighting) -> bool:
    """Whether two readings of one frame are of the same hand."""
    apart_px = np.linalg.norm(one.points_px[:, :2] - other.points_px[:, :2], axis=-1).mean()
    return bool(apart_px < SAME_HAND * max(one.crop[2], other.crop[2]))


def _columns(rows: Sequence[NDArray[np.void]], start: int = 0) -> Columns:
    """The fields of rows (N, ...) in several arrays, from the start-th on."""
    skipped, later = 0, [np.empty(0, _ROW)]
    for some in rows:
        later.append(some[max(0, start - skipped) :])
        skipped += len(some)
    return {name: np.concatenate([some[name] for some in later]) for name in _ROW.names or ()}


def _plain(value: Any) -> Any:
    """An array as it is, a number as Python's."""
    return value if np.ndim(value) else value.item()
