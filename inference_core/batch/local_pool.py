# SPDX-License-Identifier: GPL-3.0-or-later
"""Captures on this machine, a few at a time."""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from inference_core.batch.capture_process import Outcome, run_capture
from inference_core.batch.manifest import Shot
from inference_core.runtime.process import network_threads
from inference_core.shared.system import available_memory

_THREADS_A_JOB = 4  # more hardly speed up a capture
_MEMORY_A_JOB = 3 << 29  # bytes: a long shot with the network, and a margin


class Watcher(Protocol):
    """Called with the progress and outcome of shots, from any thread."""

    def progress(self, name: str, stage: str, done: int, total: int) -> None:
        """A shot's stage has reached done of total (0: unknown)."""
        ...

    def ended(self, name: str, outcome: Outcome) -> None:
        """An attempt has ended."""
        ...


Pool = Callable[[Sequence[Shot], int, Watcher, threading.Event], None]


def default_jobs() -> int:
    """The number of simultaneous captures that this machine has cores and memory for."""
    by_memory = available_memory() // _MEMORY_A_JOB or 1
    return max(1, min(-(-network_threads() // _THREADS_A_JOB), by_memory))


def run_here(jobs: int) -> Pool:
    """A pool of that many processes on this machine."""

    def run(shots: Sequence[Shot], retries: int, watcher: Watcher, stop: threading.Event) -> None:
        waiting: queue.SimpleQueue[Shot] = queue.SimpleQueue()
        for shot in shots:
            waiting.put(shot)
        threads = max(network_threads() // jobs, 1)
        workers = [
            threading.Thread(target=_work, args=(waiting, retries, threads, watcher, stop))
            for _ in range(min(jobs, len(shots)))
        ]
        for worker in workers:
            worker.start()
        try:
            for worker in workers:
                worker.join()
        finally:  # an interrupt must not leave a capture running either
            stop.set()
            for worker in workers:
                worker.join()

    return run


def _work(
    waiting: "queue.SimpleQueue[Shot]", retries: int, threads: int, watcher: Watcher, stop: threading.Event
) -> None:
    while not stop.is_set():
        try:
            shot = waiting.get_nowait()
        except queue.Empty:
            return
        for _ in range(1 + retries):
            outcome = run_capture(shot.request, threads, _shown(watcher, shot.name), stop)
            watcher.ended(shot.name, outcome)
            if not outcome.may_try_again:
                break


def _shown(watcher: Watcher, name: str) -> Callable[[str, int, int], None]:
    return lambda stage, done, total: watcher.progress(name, stage, done, total)
