# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of a batch: a live table in a terminal, a line per shot elsewhere."""

import sys
import threading
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from inference_core.batch.records import ShotRecord
from inference_core.shared.stages import STAGE_LABELS

_ENDED_SHOWN = 8
_REDRAWS_A_SECOND = 4
_COLOURS = {"done": "green", "same": "cyan", "failed": "red", "stopped": "yellow", "running": "bold"}


class LiveTable:
    """Shows shots on stderr. Use as a context manager; `tell` is a batch's Tell."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._guard = threading.Lock()
        self._console = Console(file=sys.stderr, highlight=False)
        self._running: dict[str, tuple[str, int, int]] = {}
        self._ended: list[ShotRecord] = []
        self._live = Live(
            console=self._console,
            refresh_per_second=_REDRAWS_A_SECOND,
            get_renderable=self._table,
            transient=True,
        )

    def __enter__(self) -> "LiveTable":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def tell(self, record: ShotRecord, stage: str, done: int, total: int) -> None:
        """Report that a shot has progressed or ended."""
        with self._guard:
            if record.state == "running":
                self._running[record.name] = (stage, done, total)
                return
            self._running.pop(record.name, None)
            self._ended.append(record)
        if not self._console.is_terminal or record.state == "failed":
            self._console.print(_line(record), markup=False, soft_wrap=True)

    def _table(self) -> Table:
        with self._guard:
            running, ended = dict(self._running), list(self._ended)
        table = Table(
            title=f"{len({record.name for record in ended})} of {self._total} shots", title_justify="left"
        )
        for heading in ("shot", "state", "", "s"):
            table.add_column(heading, justify="right" if heading == "s" else "left", overflow="ellipsis")
        for record in ended[-_ENDED_SHOWN:]:
            seconds = f"{record.seconds:.1f}" if record.seconds else ""
            about = record.error or (f"as {record.same_as}" if record.same_as else f"{record.frames} frames")
            table.add_row(
                record.name, f"[{_COLOURS.get(record.state, '')}]{record.state}", about[:60], seconds
            )
        for name, (stage, done, total) in running.items():
            share = f" {100 * done // total} %" if total else ""
            table.add_row(
                name, f"[{_COLOURS['running']}]running", f"{STAGE_LABELS.get(stage, stage)}{share}", ""
            )
        return table


def _line(record: ShotRecord) -> str:
    about = record.error or (f"the same as {record.same_as}" if record.same_as else f"{record.frames} frames")
    seconds = f", {record.seconds:.1f} s" if record.seconds else ""
    return f"{record.state}: {record.name} ({about}{seconds})"
