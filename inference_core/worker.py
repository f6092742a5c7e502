# SPDX-License-Identifier: GPL-3.0-or-later
"""The core as a process: stdout carries messages and nothing else, and the parent can end it at any time.

It ends cleanly on "cancel", on a closed stdin (its parent is gone), on SIGINT and on SIGTERM: at once while Python
runs, and after at most GRACE_S while a library does not return. The results so far stay for the next run
(resume_cache). On request it waits for another request with everything loaded; but it ends if a run failed
unexpectedly or left too much memory in use.
"""

import os
import platform
import queue
import signal
import socket
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib import metadata
from types import FrameType
from typing import IO

from inference_core import __version__
from inference_core.crash_log import exit_code, message_and_log
from inference_core.runtime.process import memory_held, settle_process
from inference_core.runtime.stopwatch import START, Stopwatch, timed
from inference_core.shared.errors import DuohandError
from inference_core.shared.messages import (
    CANCELLED_KIND,
    EXIT_CANCELLED,
    EXIT_ERROR,
    EXIT_FAILED,
    EXIT_OK,
    STOPPED_TEXT,
    Cancelled,
    CaptureRequest,
    Done,
    Failure,
    Hello,
    Message,
    Notice,
    Request,
    StageProgress,
    Status,
    decode_request,
    encode_message,
    is_cancel,
)
from inference_core.shared.stages import STAGE_LABELS
from inference_core.shared.system import die_with_parent, open_standard_streams
from inference_core.supervisor import stdin_lines

GRACE_S = 1.2
# A worker that holds more than this after a run exits instead of waiting: the next one starts small again.
_MOST_WAITING_BYTES = 1_200_000_000

_PACKAGES = ("torch", "numpy", "opencv-python-headless", "av")


class Wire:
    """The channel for messages: the stdout at the time of creation. Nothing is sent after the last message."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._ended = False

    def send(self, message: Message) -> None:
        """Send the message. If nobody reads it, it is lost and the run continues."""
        with self._lock:
            if self._ended:
                return
            self._ended = isinstance(message, Done | Failure)
            try:
                self._stream.write(encode_message(message))
                self._stream.flush()
            except (OSError, ValueError):
                self._ended = True

    def renewed(self) -> "Wire":
        """The same channel for another run's messages."""
        return Wire(self._stream)


class Orders:
    """The lines of stdin: requests one after the other, and when to stop: on "cancel", or at the end."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._requests: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ended, self._working = threading.Event(), threading.Event()
        threading.Thread(target=self._listen, args=(lines,), daemon=True).start()

    def request(self, wait_s: float | None) -> str:
        """The next request's line; empty if none arrives in that time, or none can."""
        try:
            return self._requests.get(timeout=wait_s)
        except queue.Empty:
            return ""

    @contextmanager
    def obeyed(self) -> Generator[None]:
        """A context in which a request to stop signals this process."""
        self._working.set()
        try:
            if self._ended.is_set():
                raise Cancelled
            yield
        finally:
            self._working.clear()

    def _listen(self, lines: Iterator[str]) -> None:
        for line in lines:
            if is_cancel(line):
                break
            self._requests.put(line)
        self._ended.set()
        self._requests.put("")
        if self._working.is_set():
            signal.raise_signal(signal.SIGTERM)


def claim_stdout() -> Wire:
    """The wire on the current stdout. From here on, whatever prints, in Python or in C, prints to stderr."""
    open_standard_streams()
    if sys.stdout is not None:
        sys.stdout.flush()
    stream = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return Wire(stream)


def serve(idle_s: float = 0.0) -> int:
    """Send a hello, read a request from stdin and carry it out; the exit code.

    idle_s: how long it waits for a request, the first or another one. 0: for the first only, however long.
    """
    wire = claim_stdout()
    try:
        wire.send(hello())
    except Exception as error:  # noqa: BLE001 (the border: what was not foreseen goes into a log)
        wire.send(Failure(type(error).__name__, message_and_log(error)))
        return EXIT_FAILED
    orders = Orders(_stdin_lines())
    code, line = EXIT_OK, orders.request(idle_s or None)
    while line.strip():
        code = _answer(line, wire, orders)
        if idle_s == 0 or code not in (EXIT_OK, EXIT_ERROR) or memory_held() > _MOST_WAITING_BYTES:
            break
        wire = wire.renewed()
        line = orders.request(idle_s)
    return code


def _answer(line: str, wire: Wire, orders: Orders) -> int:
    try:
        request = decode_request(line)
    except DuohandError as error:
        wire.send(Failure(type(error).__name__, str(error)))
        return EXIT_ERROR
    return carry_out(request, wire, orders)


def hello() -> Hello:
    """The version, and the devices to run on. pid: of the process that was started and may be signalled."""
    from inference_core.runtime.device import found_devices

    devices = found_devices()
    versions = {name: metadata.version(name) for name in _PACKAGES if _is_installed(name)}
    return Hello(__version__, devices[0], devices, platform.python_version(), versions, os.getppid())


def carry_out(request: Request, wire: Wire, orders: Orders) -> int:
    """Run the request and send its result; the exit code. `orders` may ask to stop."""
    stages: set[str] = set()

    def progress(stage: str, done: int, total: int) -> None:
        if stage not in stages:
            stages.add(stage)
            wire.send(Status(STAGE_LABELS.get(stage, stage)))
        wire.send(StageProgress(stage, done, total))

    try:
        watch, profile = Stopwatch(), None
        with stoppable(wire, orders), watch.running():
            if isinstance(request, CaptureRequest):
                with timed(START):
                    from inference_core.pipeline import capture_part, reconstruct

                if request.part:
                    capture_part(request, progress, lambda text: wire.send(Notice(text)))
                    done = Done(request.out)
                else:
                    take = reconstruct(request, progress, lambda text: wire.send(Notice(text)))
                    done = Done(request.out, request.preview)
                    profile = watch.profile(take.frame_count) if request.profile else None
            else:
                from inference_core.solve_request import solve_take

                solve_take(request, progress)
                done = Done(request.out)
        if profile is not None:
            wire.send(profile)
        wire.send(done)
    except Cancelled:
        wire.send(Failure(CANCELLED_KIND, STOPPED_TEXT))
        return EXIT_CANCELLED
    except DuohandError as error:
        wire.send(Failure(type(error).__name__, str(error)))
        return exit_code(error)
    except Exception as error:  # noqa: BLE001 (the border: what was not foreseen goes into a log)
        wire.send(Failure(type(error).__name__, message_and_log(error)))
        return EXIT_FAILED
    return EXIT_OK


@contextmanager
def stoppable(wire: Wire, orders: Orders) -> Generator[None]:
    """A context in which SIGINT, SIGTERM and `orders` raise Cancelled, and end the process after GRACE_S."""
    asked = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if not asked.is_set():
            asked.set()
            raise Cancelled

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    ear, mouth = socket.socketpair()
    mouth.setblocking(False)
    woken = signal.set_wakeup_fd(mouth.fileno())
    threading.Thread(target=_end_when_asked, args=(ear, wire), daemon=True).start()
    try:
        with orders.obeyed():
            yield
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        mouth.close()


def _end_when_asked(ear: socket.socket, wire: Wire) -> None:
    """After a signal, give Python GRACE_S to finish; then end the process."""
    if not ear.recv(1):
        return
    threading.Event().wait(GRACE_S)
    wire.send(Failure(CANCELLED_KIND, STOPPED_TEXT))
    os._exit(EXIT_CANCELLED)


def _stdin_lines() -> Iterator[str]:
    """Lines of stdin as text."""
    return (line.decode("utf-8", "replace") for line in stdin_lines())


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    settle_process()
    die_with_parent()
    os._exit(serve(float(sys.argv[1])))  # whatever thread still waits in a library
