# SPDX-License-Identifier: GPL-3.0-or-later
"""Captures on the machines of a Ray cluster. Footage and takes are on storage that all of them share."""

import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from inference_core.batch.capture_process import Outcome, run_capture
from inference_core.batch.local_pool import Pool, Watcher
from inference_core.batch.manifest import Shot
from inference_core.shared.errors import OutputInUseError, RequestError, reason_of
from inference_core.shared.messages import CaptureRequest, decode_request, encode_request

LOCAL = "local"
_LOOK_S = 0.3
_REPORT_EVERY_S = 0.5
# A machine that was cut off from the cluster goes on for a minute before Ray ends it, and holds its take that long.
_IN_USE_PAUSE_S, _IN_USE_PATIENCE_S = 10.0, 300.0
_ANSWERS_WITHIN_S = 5.0
_HOST_AND_PORT = re.compile(r"(?:ray://)?\[?(.+?)\]?:(\d{1,5})", re.ASCII)
# For a cluster on this machine: by default Ray runs tasks at niceness 15, so that a busy machine hardly runs them, it
# gives up processes that are slow to start there, and it may send usage statistics.
_LOCAL_SETTINGS = {
    "RAY_worker_niceness": "0",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_USAGE_STATS_ENABLED": "0",
}

News = tuple[str, str, int, int]  # a shot's name, its stage, done, total


class Board:
    """An actor that collects the progress of captures."""

    def __init__(self) -> None:
        self._news: dict[str, News] = {}

    def put(self, news: News) -> None:
        """Keep the latest progress of a shot."""
        self._news[news[0]] = news

    def take(self) -> list[News]:
        """The progress since the last call."""
        news, self._news = list(self._news.values()), {}
        return news


def run_on_ray(address: str, threads: int) -> Pool:
    """A pool of the cluster at `address` ("local": one of this machine's own), that many processors per capture.

    A machine or process that is lost costs its captures an attempt. RequestError if Ray or the cluster is missing.
    """
    ray = _ray()

    def run(shots: Sequence[Shot], retries: int, watcher: Watcher, stop: threading.Event) -> None:
        with _connected(ray, address), _stopped_by_signals(stop):
            _check_room(ray, threads, any(_gpus(shot) for shot in shots))
            _Tasks(ray, threads, retries, watcher).run(shots, stop)

    return run


class _Tasks:
    def __init__(self, ray: Any, threads: int, retries: int, watcher: Watcher) -> None:
        self._ray, self._threads, self._retries, self._watcher = ray, threads, retries, watcher
        self._board = ray.remote(num_cpus=0)(Board).options(scheduling_strategy=_this_machine(ray)).remote()
        self._news = self._board.take.remote()
        # Attempts are counted here, so that the report includes them.
        self._capture = ray.remote(max_retries=0)(_capture)
        self._attempts: dict[str, int] = {}
        self._in_use_since_s: dict[str, float] = {}

    def run(self, shots: Sequence[Shot], stop: threading.Event) -> None:
        running = {self._start(shot): shot for shot in shots}
        try:
            while running and not stop.is_set():
                ready, _ = self._ray.wait(list(running), timeout=_LOOK_S)
                self._show_news()
                for task in ready:
                    shot = running.pop(task)
                    outcome = self._outcome(task)
                    if self._waits_for_a_lost_one(shot, outcome):
                        running[self._start(shot, after_s=_IN_USE_PAUSE_S)] = shot
                        continue
                    self._watcher.ended(shot.name, outcome)
                    if outcome.may_try_again and self._attempts[shot.name] <= self._retries:
                        running[self._start(shot)] = shot
        finally:
            for task in running:
                self._ray.cancel(task, force=True)

    def _waits_for_a_lost_one(self, shot: Shot, outcome: Outcome) -> bool:
        """Whether another attempt of this shot, on a machine that Ray has lost, may still hold the take."""
        if outcome.kind != OutputInUseError.__name__ or self._attempts[shot.name] < 2:
            return False
        now_s = time.monotonic()
        return now_s - self._in_use_since_s.setdefault(shot.name, now_s) < _IN_USE_PATIENCE_S

    def _show_news(self) -> None:
        """Report progress if there is any, without waiting for it."""
        if not self._ray.wait([self._news], timeout=0)[0]:
            return
        answer, self._news = self._news, self._board.take.remote()
        with suppress(self._ray.exceptions.RayError):
            for news in self._ray.get(answer):
                self._watcher.progress(*news)

    def _start(self, shot: Shot, after_s: float = 0.0) -> Any:
        """A new attempt; or, with `after_s`, the same one again after a pause."""
        if not after_s:
            self._attempts[shot.name] = self._attempts.get(shot.name, 0) + 1
        needs = {"num_cpus": self._threads, "num_gpus": _gpus(shot)}
        line = encode_request(shot.request)
        return self._capture.options(name=shot.name, **needs).remote(
            line, self._threads, self._board, shot.name, after_s
        )

    def _outcome(self, task: Any) -> Outcome:
        try:
            return self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            return Outcome(
                "failed",
                kind=type(error).__name__,
                text=f"Ray lost the capture: {_first_sentence(error)}.",
                may_try_again=True,
            )


def _capture(line: str, threads: int, board: Any, name: str, after_s: float) -> Outcome:
    """One capture, on the machine that Ray chose. Cancelling the task closes the capture's stdin and so ends it."""
    time.sleep(after_s)
    reported_s = 0.0

    def show(stage: str, done: int, total: int) -> None:
        nonlocal reported_s
        if time.monotonic() - reported_s >= _REPORT_EVERY_S:
            reported_s = time.monotonic()
            board.put.remote((name, stage, done, total))

    request = decode_request(line)
    assert isinstance(request, CaptureRequest), "the line is this file's own"
    return run_capture(request, threads, show, threading.Event())


def _gpus(shot: Shot) -> int:
    return int(shot.request.device == "cuda")


@contextmanager
def _connected(ray: Any, address: str) -> Generator[None]:
    _check_reachable(address)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    if address == LOCAL:
        for name, value in _LOCAL_SETTINGS.items():
            os.environ.setdefault(name, value)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **_own(address))
    except Exception as error:  # (Ray raises the class itself where a machine is slow to start it)
        raise RequestError(_not_connected(address, _first_sentence(error))) from error
    try:
        yield
    finally:
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own in its place


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Generator[None]:
    """SIGINT and SIGTERM set `stop`: an exception from a handler breaks Ray's calls. A second one acts as before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(_number: int, _frame: object) -> None:
        stop.set()
        restore()

    for number in numbers:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        restore()


def _check_reachable(address: str) -> None:
    """RequestError if nothing answers at HOST:PORT: Ray would try for minutes, and then end this process."""
    found = _HOST_AND_PORT.fullmatch(address)
    if found is None:
        return
    try:
        socket.create_connection((found[1], int(found[2])), _ANSWERS_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        raise RequestError(_not_connected(address, _first_sentence(error))) from error


def _not_connected(address: str, reason: str) -> str:
    if address == LOCAL:
        return f"Ray could not be started on this machine: {reason}. Close other programs and run the command again."
    return f"There is no Ray cluster at {address}: {reason}. Start one: ray start --head."


def _first_sentence(error: Exception) -> str:
    lines = reason_of(error).strip().splitlines() or [type(error).__name__]
    return lines[0].split(". ")[0].rstrip(".")


def _own(address: str) -> dict[str, Any]:
    return {"include_dashboard": False} if address == LOCAL else {}


def _check_room(ray: Any, threads: int, with_gpu: bool) -> None:
    """RequestError if no machine is large enough for a capture: Ray would wait for one and say nothing."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fitting = [one for one in machines if one.get("GPU", 0) >= 1] if with_gpu else machines
    if not fitting:
        raise RequestError("No machine in the Ray cluster has a GPU. Leave out --device cuda.")
    most = max(int(one.get("CPU", 0)) for one in fitting)
    if most < threads:
        which = "machine with a GPU" if with_gpu else "machine"
        raise RequestError(
            f"No {which} in the Ray cluster has {threads} processors; the largest has {most}. Give --ray-cpus "
            f"{max(most, 1)}."
        )


def _this_machine(ray: Any) -> Any:
    """The scheduling strategy for this machine: progress must survive the loss of other machines."""
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    return affinity(ray.get_runtime_context().get_node_id(), soft=True)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise RequestError("Clusters need Ray. Install it: pip install 'duohand[farm]'.") from error
    return ray
