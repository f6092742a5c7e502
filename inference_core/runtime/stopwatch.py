# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures where a run's time goes: `timed` parts are added up while a Stopwatch runs,
and cost almost nothing otherwise.

Nested parts are timed exclusively. Work in background threads is counted separately from work that blocks the run, so
that the latter and the untimed rest add up to the total.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from inference_core.shared.messages import Profile

Item = TypeVar("Item")

# The timed parts, by their names in a profile.
START, LOAD, DECODE, DETECT, SEARCH, SIDES, REFINE, FIT, PREDICT, SOLVE, WRITE, WAIT = (
    "start",
    "load",
    "decode",
    "detect",
    "search",
    "handedness, arms",
    "refine",
    "fit",
    "predict",
    "solve",
    "write",
    "wait for threads",
)


class Stopwatch:
    """Seconds of the parts of one run, from its creation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread = threading.get_ident()
        self._held_up: dict[str, float] = defaultdict(float)
        self._beside: dict[str, float] = defaultdict(float)
        self._start_s, self._start_work_s = time.perf_counter(), time.process_time()

    @contextmanager
    def running(self) -> Generator[None]:
        """A context in which, and in threads started in it, parts are timed."""
        token = _WATCH.set(self)
        try:
            yield
        finally:
            _WATCH.reset(token)

    def add(self, part: str, seconds: float) -> None:
        """Add time to a part, spent in the calling thread."""
        seconds_of = self._held_up if threading.get_ident() == self._thread else self._beside
        with self._lock:
            seconds_of[part] += seconds

    def profile(self, frames: int) -> Profile:
        """The profile so far of a run over that many frames."""
        total_s = time.perf_counter() - self._start_s
        parts = list(dict.fromkeys((*self._held_up, *self._beside)))
        held_up = tuple(round(self._held_up[part], 3) for part in parts)
        beside = tuple(round(self._beside[part], 3) for part in parts)
        work_s = time.process_time() - self._start_work_s
        return Profile(tuple(parts), held_up, beside, round(total_s, 3), round(work_s, 3), frames)


_WATCH: ContextVar[Stopwatch | None] = ContextVar("watch", default=None)


class _Within(threading.local):
    """Seconds of the parts nested in the current part, in this thread; None outside any."""

    inner_s: float | None = None


_WITHIN = _Within()


@contextmanager
def timed(part: str) -> Generator[None]:
    """A context or decorator that adds its time to a part."""
    watch = _WATCH.get()
    if watch is None:
        yield
        return
    outer_s, _WITHIN.inner_s = _WITHIN.inner_s, 0.0
    start_s = time.perf_counter()
    try:
        yield
    finally:
        took_s = time.perf_counter() - start_s
        watch.add(part, took_s - _WITHIN.inner_s)
        _WITHIN.inner_s = None if outer_s is None else outer_s + took_s


def timed_items(part: str, items: Iterable[Item]) -> Iterator[Item]:
    """The items; the time to produce each is added to the part."""
    coming, end = iter(items), object()
    while True:
        with timed(part):
            item = next(coming, end)
        if item is end:
            return
        yield item  # pyright: ignore[reportReturnType]
