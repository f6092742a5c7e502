# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that goes on in threads beside: what computes in native code leaves the interpreter to others meanwhile."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(items: Iterable[Item], count: int) -> Iterator[Item]:
    """The items in order, `count` of which a thread takes in advance."""
    coming, end = iter(items), object()
    with _threads(1) as pool:
        waiting = deque(pool.submit(next, coming, end) for _ in range(count))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, coming, end))
            yield item  # pyright: ignore[reportReturnType]


def in_order(work: Callable[[Item], Result], items: Iterable[Item], at_once: int = 2) -> Iterator[Result]:
    """work(item) of each item, in order. So many are worked on at once, while the next one is taken."""
    waiting: deque[Future[Result]] = deque()
    with _threads(at_once) as pool:
        for item in items:
            if len(waiting) == at_once:
                yield waiting.popleft().result()
            waiting.append(pool.submit(work, item))
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _threads(count: int) -> Generator[ThreadPoolExecutor]:
    """Threads that are not waited for where a run is stopped or fails."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
