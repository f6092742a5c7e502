# SPDX-License-Identifier: GPL-3.0-or-later
"""Background work in threads: native code releases the interpreter meanwhile."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, TypeVar

from inference_core.runtime.stopwatch import WAIT, timed

# Hands work to a thread; returns what waits for its result.
Later = Callable[..., Callable[[], Any]]

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(items: Iterable[Item], count: int) -> Iterator[Item]:
    """The items in order; a thread fetches up to `count` ahead, from now on."""
    coming, end = iter(items), object()
    pool = ThreadPoolExecutor(1)
    waiting = deque(_begun(pool, next, coming, end) for _ in range(count))

    def fetched() -> Iterator[Item]:
        with _abandoned(pool):
            while (item := _result(waiting.popleft())) is not end:
                waiting.append(_begun(pool, next, coming, end))
                yield item  # pyright: ignore[reportReturnType]

    return fetched()


def in_order(work: Callable[[Item], Result], items: Iterable[Item], at_once: int = 2) -> Iterator[Result]:
    """work(item) for each item, in order; several at once, while the next item is fetched."""
    waiting: deque[Future[Result]] = deque()
    with _abandoned(ThreadPoolExecutor(at_once)) as pool:
        for item in items:
            if len(waiting) == at_once:
                yield _result(waiting.popleft())
            waiting.append(_begun(pool, work, item))
        while waiting:
            yield _result(waiting.popleft())


@contextmanager
def beside(work: Callable[..., Result], *arguments: Any) -> Generator[Callable[[], Result]]:
    """Run the work in a thread meanwhile; calling what is yielded waits for its result, any number of times."""
    with _abandoned(ThreadPoolExecutor(1)) as pool:
        future = _begun(pool, work, *arguments)
        yield lambda: _result(future)


@contextmanager
def in_turn() -> Generator[Later]:
    """A thread that does what is handed to it, one piece of work after the other."""
    with _abandoned(ThreadPoolExecutor(1)) as pool:

        def later(work: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
            future = _begun(pool, work, *arguments)
            return lambda: _result(future)

        yield later


def _begun(pool: ThreadPoolExecutor, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
    """The work in a thread, timed by this thread's stopwatch."""
    return pool.submit(copy_context().run, work, *arguments)


def _result(future: Future[Result]) -> Result:
    with timed(WAIT):
        return future.result()


@contextmanager
def _abandoned(pool: ThreadPoolExecutor) -> Generator[ThreadPoolExecutor]:
    """Threads that are not waited for if a run is stopped or fails."""
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
