# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's parent process: it forwards requests, and kills a worker that does not exit.

A library may hold the worker's interpreter lock for minutes, so that none of its threads run. This process does no
work, so it always handles "cancel", a closed stdin, SIGINT and SIGTERM. Standard library only.
"""

import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from inference_core.shared.messages import (
    CANCELLED_KIND,
    EXIT_CANCELLED,
    EXIT_FAILED,
    STOPPED_TEXT,
    Failure,
    encode_message,
    is_cancel,
)
from inference_core.shared.system import ended_by_force

GRACE_S = 1.6  # longer than the worker's own grace period, in which it sends its last message
_LOOK_S = 0.05
_LAST_WORDS_S = 0.3
_PATIENCE_S = 10.0  # for a slow reader of stdout
_QUEUED_LINES = 1000
_LONGEST_LINE = 1 << 20
# The worker configures its own process; this one's settings are not the user's.
_ENVIRONMENT = dict(os.environ)
_ROOT = str(Path(__file__).resolve().parents[1])


def supervise(orders: Iterator[bytes] | None, request: str = "", idle_s: float = 0.0) -> int:
    """Run a worker until it ends or must be ended; its exit code.

    request: its first line of input. orders: further lines; "cancel", or their end after at least one line, asks it
    to stop. None: there are none. idle_s: how long it waits for another request after each.
    """
    paths = [_ROOT, _ENVIRONMENT.get("PYTHONPATH")]
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", "inference_core.worker", str(idle_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    watch = _Watch(worker)
    before = {number: signal.signal(number, watch.on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        speaker = threading.Thread(target=watch.relay, daemon=True)
        speaker.start()
        threading.Thread(target=watch.listen, args=(request, orders), daemon=True).start()
        threading.Thread(target=watch.hand_on, daemon=True).start()
        code = watch.ended()
        speaker.join(_LAST_WORDS_S if ended_by_force(code) else _PATIENCE_S)
        return watch.concluded(code)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stdin_lines() -> Iterator[bytes]:
    """Lines of stdin without line endings, at most a megabyte each.

    Read without Python's buffer: a thread waiting in that would delay the end of the process.
    """
    waiting, rest_is_rubbish = b"", False
    while received := _read_stdin():
        *lines, waiting = (waiting + received).split(b"\n")
        for line in lines:
            if not rest_is_rubbish:
                yield line[:_LONGEST_LINE]
            rest_is_rubbish = False
        if len(waiting) > _LONGEST_LINE:
            if not rest_is_rubbish:
                yield waiting[:_LONGEST_LINE]
            waiting, rest_is_rubbish = b"", True


class _Watch:
    """One worker: its input, its output, and whether it was asked to stop."""

    def __init__(self, worker: subprocess.Popen[bytes]) -> None:
        self._worker = worker
        self._orders: queue.Queue[bytes | None] = queue.Queue(_QUEUED_LINES)
        self._asked_s = self._busy_s = self._orders_ended_s = float("inf")
        self._said_last = False

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """The worker was asked to stop by a signal, which it receives as well."""
        if self._asked_s == float("inf"):
            self._worker.terminate()
        self._ask()

    def listen(self, request: str, orders: Iterator[bytes] | None) -> None:
        """Read the orders. If they end after a line, the worker is to stop once it has started its work."""
        if request:
            self._order(request.encode().rstrip())
        if orders is None:
            return
        there_was_one = bool(request)
        for line in orders:
            there_was_one = there_was_one or bool(line.strip())
            if is_cancel(line.decode("utf-8", "replace")):
                self._ask()
            else:
                self._said_last = False
            self._order(line)
        if there_was_one:
            self._orders_ended_s = time.monotonic()
        self._orders.put(None)

    def hand_on(self) -> None:
        """Pass the worker its orders, in a thread, because it may not be reading."""
        stdin = self._worker.stdin
        assert stdin is not None
        try:
            while (line := self._orders.get()) is not None:
                stdin.write(line + b"\n")
                stdin.flush()
            stdin.close()
        except OSError:
            return  # the worker has ended, or is about to

    def relay(self) -> None:
        """Pass on the worker's output while somebody reads it."""
        assert self._worker.stdout is not None
        taken = True
        while line := self._worker.stdout.readline(_LONGEST_LINE):
            if b'"type":"hello"' not in line and self._busy_s == float("inf"):
                self._busy_s = time.monotonic()
            self._said_last = line.startswith((b'{"type":"error"', b'{"type":"done"'))
            taken = taken and _written(line)

    def ended(self) -> int:
        """The worker's exit code, once it has exited or been killed."""
        while True:
            try:
                return self._worker.wait(_LOOK_S)
            except subprocess.TimeoutExpired:
                if time.monotonic() > self._last_moment_s():
                    self._ask()
                    self._worker.kill()

    def concluded(self, code: int) -> int:
        """The meaning of the worker's exit code; sends the last message if the worker had no time to."""
        stopped = self._asked_s < float("inf")
        fault = ended_by_force(code, stopped)
        if not fault:
            return code
        if not self._said_last:
            ended = f"The engine was ended by signal {fault}; the machine may be out of memory."
            message = Failure(CANCELLED_KIND, STOPPED_TEXT) if stopped else Failure("EngineEnded", ended)
            if sys.platform == "win32" or select.select([], [1], [], _LAST_WORDS_S)[1]:
                _written(encode_message(message).encode("ascii"))
        return EXIT_CANCELLED if stopped else EXIT_FAILED

    def _last_moment_s(self) -> float:
        """When the worker must be killed. If its orders ended, time counts from when it started its work."""
        return min(self._asked_s, max(self._orders_ended_s, self._busy_s)) + GRACE_S

    def _ask(self) -> None:
        self._asked_s = min(self._asked_s, time.monotonic())

    def _order(self, line: bytes) -> None:
        try:
            self._orders.put_nowait(line)
        except queue.Full:
            return  # nobody means that many


def _written(data: bytes) -> bool:
    """Whether everything was written to stdout."""
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        return False
    return True


def _read_stdin() -> bytes:
    try:
        return os.read(0, 65536)
    except OSError:
        return b""
