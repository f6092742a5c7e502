# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page shows and what its buttons request: shared by the session and the server's threads."""

import threading
import time
from collections import deque
from dataclasses import dataclass

_LAST = 30  # pictures over which rate and delay are averaged


@dataclass(frozen=True)
class Shown:
    """The figures beside the picture.

    delay_ms: from a frame's arrival here to its finished picture, without the delays of camera and browser.
    came, shown: frames a second. skipped: share of frames that were not shown.
    """

    source: str
    size_px: tuple[int, int]
    hands: tuple[str, ...]
    delay_ms: float
    came: float
    shown: float
    skipped: float
    recording_s: float | None
    recorded: str
    note: str
    ended: bool


class Board:
    """The latest picture, figures and requests."""

    def __init__(self, source: str, size_px: tuple[int, int]) -> None:
        self._changed = threading.Condition()
        self._picture, self._number = b"", 0
        self._source, self._size_px = source, size_px
        self._hands: tuple[str, ...] = ()
        self._delays: deque[tuple[float, float]] = deque(maxlen=_LAST)
        self._arrivals: deque[float] = deque(maxlen=_LAST)
        self._came = 0
        self._recording_since: float | None = None
        self._recorded = self._note = ""
        self.wants_recording, self.wants_end = False, False
        self.ended = False

    def arrived(self) -> None:
        """Count a frame that arrived."""
        self._arrivals.append(time.monotonic())
        self._came += 1

    def publish(self, picture: bytes, hands: tuple[str, ...], came_s: float) -> None:
        """Show a JPEG; came_s: when its frame arrived."""
        with self._changed:
            now = time.monotonic()
            self._delays.append((now, now - came_s))
            self._picture, self._hands = picture, hands
            self._number += 1
            self._changed.notify_all()

    def recording(self, path: str | None) -> None:
        """Show that a recording began (a path) or ended (None)."""
        self._recording_since = None if path is None else time.monotonic()
        self._recorded = path or self._recorded

    def note(self, text: str) -> None:
        """Show a line to the user."""
        self._note = text

    def end(self) -> None:
        """End the preview."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def after(self, number: int, limit_s: float = 1.0) -> tuple[int, bytes]:
        """The picture and its number, once it is newer than `number`, or after a timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self._number != number or self.ended, limit_s)
            return self._number, self._picture

    @property
    def shown(self) -> Shown:
        """The current figures."""
        since = self._recording_since
        return Shown(
            source=self._source,
            size_px=self._size_px,
            hands=self._hands,
            delay_ms=round(1000 * _mean([delay for _, delay in self._delays]), 1),
            came=round(_rate(list(self._arrivals)), 1),
            shown=round(_rate([now for now, _ in self._delays]), 1),
            skipped=round(1 - self._number / max(self._came, 1), 3),
            recording_s=None if since is None else round(time.monotonic() - since, 1),
            recorded=self._recorded,
            note=self._note,
            ended=self.ended,
        )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _rate(times_s: list[float]) -> float:
    span_s = times_s[-1] - times_s[0] if len(times_s) > 1 else 0.0
    return (len(times_s) - 1) / span_s if span_s > 0 else 0.0
