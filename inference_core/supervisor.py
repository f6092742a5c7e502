# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's parent: it hands on what is asked, and ends a worker that does not end by itself.

A library may hold the interpreter's lock for minutes; no thread of the worker's own runs then. This process does no
work, so that "cancel", a closed stdin, SIGINT and SIGTERM always come through. Standard library only.
"""

import os
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
_LONGEST_LINE = 1 << 20
_ROOT = str(Path(__file__).resolve().parents[1])


def supervise(orders: Iterator[bytes] | None, request: str = "") -> int:
    """Run a worker until it ends or must; its exit code.

    request: a first line for it. orders: its further lines; "cancel", or their end once there was a line, ask it to
    stop. None: nobody gives any.
    """
    asked = _Asked()
    before = {number: signal.signal(number, asked.by_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "inference_core.worker"],
            stdin=subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")])),
            },
        )
        asked.worker = worker
        threading.Thread(target=_hand_on, args=(request.encode(), orders, worker, asked), daemon=True).start()
        return _ended(worker, asked)
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


class _Asked:
    """Since when the worker is to stop, and whether it has been told."""

    def __init__(self) -> None:
        self.since_s: float | None = None
        self.worker: subprocess.Popen[bytes] | None = None

    def now(self) -> None:
        """From now on."""
        self.since_s = self.since_s or time.monotonic()

    def by_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Asked by a signal, which the worker gets too."""
        if self.since_s is None and self.worker is not None:
            self.worker.terminate()
        self.now()


def _ended(worker: subprocess.Popen[bytes], asked: _Asked) -> int:
    """Wait for the worker's end, and bring it about where it was asked to stop and does not; the exit code."""
    while True:
        try:
            code = worker.wait(_LOOK_S)
            break
        except subprocess.TimeoutExpired:
            if asked.since_s is not None and time.monotonic() - asked.since_s > GRACE_S:
                worker.kill()
                worker.wait()
                _say(Failure(CANCELLED_KIND, STOPPED_TEXT))
                return EXIT_CANCELLED
    if code >= 0:
        return code
    if asked.since_s is not None:
        _say(Failure(CANCELLED_KIND, STOPPED_TEXT))
        return EXIT_CANCELLED
    _say(Failure("EngineEnded", f"The engine was ended by signal {-code}; the machine may be out of memory."))
    return EXIT_FAILED


def _hand_on(
    request: bytes, orders: Iterator[bytes] | None, worker: subprocess.Popen[bytes], asked: _Asked
) -> None:
    """Give the worker its request and its orders. Where they end, its stdin is closed."""
    assert worker.stdin is not None
    there_was_one = bool(request)
    try:
        worker.stdin.write(request)
        worker.stdin.flush()
        if orders is None:
            return
        for line in orders:
            worker.stdin.write(line + b"\n")
            worker.stdin.flush()
            there_was_one = there_was_one or bool(line.strip())
            if is_cancel(line.decode("utf-8", "replace")):
                asked.now()
        if there_was_one:
            asked.now()
        worker.stdin.close()
    except OSError:
        return  # the worker has ended, or is about to


def _say(message: Failure) -> None:
    """The worker's last message in its place, where anybody still takes it."""
    try:
        if sys.platform == "win32" or select.select([], [1], [], 0.2)[1]:
            os.write(1, encode_message(message).encode("ascii"))
    except OSError:
        return


def _read_stdin() -> bytes:
    try:
        return os.read(0, 65536)
    except OSError:
        return b""
