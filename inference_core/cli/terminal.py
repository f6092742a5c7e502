# SPDX-License-Identifier: GPL-3.0-or-later
"""A progress bar with the time left on a terminal, plain lines elsewhere; and streams whose loss costs no run."""

import io
import os
import shutil
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

from inference_core.shared.system import open_standard_streams

_REDRAW_S = 0.1
_SETTLING_S = 0.5  # no time left is told before a stage has run for so long


class ProgressBar:
    """Shows stages on stderr. Use as a context; `show` is a Progress callback."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._stage = ""
        self._started_s = self._begun_at = self._drawn_s = 0.0
        self._last = (0, 0)

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish_stage()

    def show(self, stage: str, done: int, total: int) -> None:
        """Draw the stage at done of total (0: not known)."""
        now = time.monotonic()
        if stage != self._stage:
            self._finish_stage()
            self._stage, self._started_s, self._begun_at = stage, now, done
        self._last = (done, total)
        if self._live and (now - self._drawn_s > _REDRAW_S or done == total):
            self._drawn_s = now
            self._draw(bar_line(stage, done, total, self._seconds_left(now), self._width()))

    def warn(self, text: str) -> None:
        """Print a warning above the bar."""
        self._draw("")
        print(f"warning: {text}", file=self._stream, flush=True)

    def _seconds_left(self, now: float) -> float | None:
        done, total = self._last
        elapsed, new = now - self._started_s, done - self._begun_at
        if elapsed < _SETTLING_S or new <= 0 or total <= 0:
            return None
        return elapsed / new * (total - done)

    def _finish_stage(self) -> None:
        if not self._stage:
            return
        elapsed = time.monotonic() - self._started_s
        done, _ = self._last
        rate = f", {done / elapsed:.1f} a second" if elapsed > 0.1 else ""
        self._draw("")
        print(f"{self._stage:>8}: {done} frames in {elapsed:.1f} s{rate}", file=self._stream, flush=True)
        self._stage = ""

    def _draw(self, text: str) -> None:
        if self._live:
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()

    def _width(self) -> int:
        return shutil.get_terminal_size().columns


def bar_line(stage: str, done: int, total: int, seconds_left: float | None, columns: int) -> str:
    """One line: the stage, a bar, how many of how many, the time left."""
    share = min(done / total, 1.0) if total > 0 else 0.0
    tail = f" {done}/{total or '?'}"
    if seconds_left is not None:
        minutes, seconds = divmod(round(seconds_left), 60)
        tail += f"  {minutes}:{seconds:02d} left"
    head = f"{stage:>8} "
    room = max(min(columns - len(head) - len(tail) - 3, 40), 4)
    return f"{head}[{'#' * round(share * room):<{room}}]{tail}"[: max(columns - 1, 1)]


class ForgivingStream(io.TextIOBase):
    """Text to a stream that may be missing, closed, full, or of another alphabet: what it does not take is lost."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written; the length of the text."""
        try:
            if self._stream is not None:
                self._stream.write(text)
        except UnicodeEncodeError:
            self.write(ascii(text)[1:-1].replace("\\n", "\n"))
        except (OSError, ValueError):
            self._lose()
        return len(text)

    def flush(self) -> None:
        """Flush what is left of it."""
        try:
            if self._stream is not None:
                self._stream.flush()
        except (OSError, ValueError):
            self._lose()

    def isatty(self) -> bool:
        """Whether a person watches."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:
            return False

    def fileno(self) -> int:
        """The number of the stream beneath; OSError where there is none."""
        if self._stream is None:
            raise OSError("no stream")
        return self._stream.fileno()

    def _lose(self) -> None:
        """Nothing goes there any more, nor what still waits in a buffer when the process ends."""
        stream, self._stream = self._stream, None
        try:
            if stream is not None:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
        except (OSError, ValueError):
            return


@contextmanager
def forgiving_streams() -> Generator[None]:
    """Within it sys.stdout and sys.stderr are there and forgiving."""
    open_standard_streams()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = ForgivingStream(sys.stdout), ForgivingStream(sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
