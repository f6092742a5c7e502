# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress and tables by rich in a terminal, plain lines elsewhere; and streams whose loss does not end a run."""

import io
import os
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from inference_core.shared.system import open_standard_streams

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_REDRAW_S = 0.1
_PLAIN_COLUMNS = 200


class ProgressBar:
    """Shows stages on stderr. Use as a context manager; `show` is a Progress callback."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = _live_progress(self._stream) if self._stream.isatty() else None
        self._task: TaskID | None = None
        self._stage = ""
        self._started_s = self._drawn_s = 0.0
        self._done = 0

    def __enter__(self) -> "ProgressBar":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish_stage()
        if self._live is not None:
            self._live.stop()

    def show(self, stage: str, done: int, total: int) -> None:
        """Draw the stage at done of total (0: not known)."""
        now = time.monotonic()
        if stage != self._stage:
            self._finish_stage()
            self._stage, self._started_s = stage, now
        self._done = done
        if self._live is None:
            return
        if self._task is None:
            self._task = self._live.add_task(f"{stage:>8}", total=total or None, completed=done)
        self._live.update(self._task, completed=done, total=total or None)
        if now - self._drawn_s > _REDRAW_S or done == total:
            self._drawn_s = now
            self._live.refresh()

    def warn(self, text: str) -> None:
        """Print a warning above the bar."""
        self._say(f"warning: {text}")

    def _finish_stage(self) -> None:
        if not self._stage:
            return
        if self._live is not None and self._task is not None:
            self._live.remove_task(self._task)
            self._live.refresh()
            self._task = None
        elapsed = time.monotonic() - self._started_s
        rate = f", {self._done / elapsed:.1f} a second" if elapsed > 0.1 else ""
        self._say(f"{self._stage:>8}: {self._done} frames in {elapsed:.1f} s{rate}")
        self._stage = ""

    def _say(self, text: str) -> None:
        if self._live is None:
            print(text, file=self._stream, flush=True)
        else:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], stream: TextIO | None = None) -> None:
    """A table on stdout: ruled on a terminal, columns of plain text elsewhere."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    out = stream or sys.stdout
    watched = out.isatty()
    console = Console(file=out, width=None if watched else _PLAIN_COLUMNS, highlight=False, markup=False)
    table = Table(box=SIMPLE_HEAD if watched else None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _live_progress(stream: TextIO) -> "Progress":
    """A live display. rich is imported only in a terminal, so that commands in scripts start faster."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    # Only `show` draws: a refresh thread would take processor time from the work.
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        console=Console(file=stream, highlight=False),
        auto_refresh=False,
        transient=True,
    )


class ForgivingStream(io.TextIOBase):
    """Text to a stream that may be missing, closed, full or of another encoding; what it rejects is dropped."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write as much as possible; the length of the text."""
        try:
            if self._stream is not None:
                self._stream.write(text)
        except UnicodeEncodeError:
            self.write(ascii(text)[1:-1].replace("\\n", "\n"))
        except (OSError, ValueError):
            self._lose()
        return len(text)

    def flush(self) -> None:
        """Flush the stream, if it still exists."""
        try:
            if self._stream is not None:
                self._stream.flush()
        except (OSError, ValueError):
            self._lose()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:
            return False

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The underlying stream's encoding."""
        return getattr(self._stream, "encoding", None) or "ascii"

    def fileno(self) -> int:
        """The underlying stream's file descriptor; OSError if there is none."""
        if self._stream is None:
            raise OSError("no stream")
        return self._stream.fileno()

    def _lose(self) -> None:
        """Stop writing; drop what is still buffered when the process ends."""
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
    """A context in which sys.stdout and sys.stderr exist and never raise."""
    open_standard_streams()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = ForgivingStream(sys.stdout), ForgivingStream(sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
