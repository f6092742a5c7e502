# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's parent: it forwards requests, and kills a worker that does not exit.

A library may hold the interpreter's lock for minutes; no thread of the worker's own runs then. This process does no
work, so that "cancel", a closed stdin, SIGINT and SIGTERM always come through. Standard library only.
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

GRACE_S = 1.6  # the worker's own, within which it says goodbye, is shorter
_LOOK_S = 0.05
_LAST_WORDS_S = 0.3
_PATIENCE_S = 10.0  # with a reader of stdout who is slow
_QUEUED_LINES = 1000
_LONGEST_LINE = 1 << 20
# The worker settles its own process; this one's settings are not the user's.
_ENVIRONMENT = dict(os.environ)
_ROOT = str(Path(__file__).resolve().parents[1])


def supervise(orders: Iterator[bytes] | None, request: str = "", idle_s: float = 0.0) -> int:
    """Run a worker until it ends or must; its exit code.

    request: a first line for it. orders: its further lines; "cancel", or their end once there was a line, ask it to
    stop. None: nobody gives any. idle_s: so long it waits for another request after one.
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
        speaker.join(_LAST_WORDS_S if code < 0 else _PATIENCE_S)
        return watch.concluded(code)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stdin_lines() -> Iterator[bytes]:
    """Lines of stdin without their ends, at most a megabyte of each, read past Python's own buffer: a thread that waits
    in it would hold up the process's end.
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
        """Asked by a signal, which the worker gets too."""
        if self._asked_s == float("inf"):
            self._worker.terminate()
        self._ask()

    def listen(self, request: str, orders: Iterator[bytes] | None) -> None:
        """Take the orders. Where they end after a line, the worker is to stop once it has taken up its work."""
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
        """Give the worker its orders; it may not listen, so nobody waits for this."""
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
        """Pass on what the worker says, as long as somebody takes it."""
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
        """What the worker's exit code means; its last message in its place where it had no time for one."""
        if code >= 0:
            return code
        stopped = self._asked_s < float("inf")
        if not self._said_last:
            ended = f"The engine was ended by signal {-code}; the machine may be out of memory."
            message = Failure(CANCELLED_KIND, STOPPED_TEXT) if stopped else Failure("EngineEnded", ended)
            if sys.platform == "win32" or select.select([], [1], [], _LAST_WORDS_S)[1]:
                _written(encode_message(message).encode("ascii"))
        return EXIT_CANCELLED if stopped else EXIT_FAILED

    def _last_moment_s(self) -> float:
        """When the worker's time is up. Orders that ended count from when it had taken up its work."""
        return min(self._asked_s, max(self._orders_ended_s, self._busy_s)) + GRACE_S

    def _ask(self) -> None:
        self._asked_s = min(self._asked_s, time.monotonic())

    def _order(self, line: bytes) -> None:
        try:
            self._orders.put_nowait(line)
        except queue.Full:
            return  # nobody means that many


def _written(data: bytes) -> bool:
    """Whether all of it went to stdout."""
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
