# SPDX-License-Identifier: GPL-3.0-or-later
"""One capture in its own process, which may fail, hang or be killed without affecting anything else."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from inference_core.shared.errors import DuohandError
from inference_core.shared.messages import (
    EXIT_CANCELLED,
    EXIT_ERROR,
    CaptureRequest,
    Done,
    Failure,
    Message,
    Notice,
    StageProgress,
    decode_message,
    encode_request,
)

_ROOT = str(Path(__file__).resolve().parents[2])
_CANCEL = '{"type":"cancel"}\n'
_LOOK_S = 0.1
_LAST_WORDS = 400  # characters of a process's output, if it ended without a message

Show = Callable[[str, int, int], None]  # stage, done, total


@dataclass(frozen=True)
class Outcome:
    """How an attempt at a capture ended. Unusable input is not worth another attempt."""

    state: Literal["done", "failed", "stopped"]
    seconds: float = 0.0
    kind: str | None = None
    text: str | None = None
    warnings: tuple[str, ...] = ()
    may_try_again: bool = False


def run_capture(request: CaptureRequest, threads: int, show: Show, stop: threading.Event) -> Outcome:
    """Run the request on that many threads; how it ended. Never raises because of the capture."""
    begun_s = time.monotonic()
    with _worker(threads) as (worker, said):
        over = threading.Event()
        threading.Thread(target=_cancel_when_set, args=(worker, stop, over), daemon=True).start()
        warnings: list[str] = []
        last: Message | None = None
        try:
            for message in _conversation(worker, request):
                last = message
                if isinstance(message, StageProgress):
                    show(message.stage, message.done, message.total)
                elif isinstance(message, Notice):
                    warnings.append(message.text)
        except DuohandError as error:
            last = Failure(type(error).__name__, str(error))
        except OSError:
            pass  # it has exited; its exit code and last output say why
        over.set()
        code = worker.wait()
        seconds = time.monotonic() - begun_s
        if isinstance(last, Done) and code == 0:
            return Outcome("done", seconds, warnings=tuple(warnings))
        if code == EXIT_CANCELLED or stop.is_set():
            return Outcome("stopped", seconds, warnings=tuple(warnings))
        failure = last if isinstance(last, Failure) else Failure("EngineEnded", _last_words(said, code))
        return Outcome("failed", seconds, failure.kind, failure.text, tuple(warnings), code != EXIT_ERROR)


@contextmanager
def _worker(threads: int) -> Generator[tuple[subprocess.Popen[str], IO[bytes]]]:
    """A worker and its output outside the protocol. It is killed on leaving the context."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryFile() as said:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "inference_core", "worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=environment,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C in a terminal goes to the batch, which then stops its shots
        )
        try:
            yield worker, said
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
            for stream in (worker.stdin, worker.stdout):
                with suppress(OSError):  # it no longer reads its input
                    assert stream is not None
                    stream.close()


def _conversation(worker: subprocess.Popen[str], request: CaptureRequest) -> Iterator[Message]:
    """The worker's messages in answer to the request."""
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(encode_request(request))
    worker.stdin.flush()
    for line in worker.stdout:
        message = decode_message(line)
        yield message
        if isinstance(message, Done | Failure):
            return


def _cancel_when_set(worker: subprocess.Popen[str], stop: threading.Event, over: threading.Event) -> None:
    while not over.wait(_LOOK_S):
        if stop.is_set():
            try:
                assert worker.stdin is not None
                worker.stdin.write(_CANCEL)
                worker.stdin.flush()
            except (OSError, ValueError):
                pass  # it has exited
            return


def _last_words(said: IO[bytes], code: int) -> str:
    size = said.seek(0, os.SEEK_END)
    said.seek(max(size - 4 * _LAST_WORDS, 0))
    lines = said.read().decode("utf-8", "replace").strip().splitlines()
    why = lines[-1][:_LAST_WORDS] if lines else "it said nothing"
    ended = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return f"The engine ended {ended}: {why}"
