# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress on stdout in the form that Open Job Description's runners read."""

import time
from types import TracebackType
from typing import Self

from inference_core.shared.stages import STAGE_LABELS

_EVERY_S = 1.0
_STAGES = tuple(STAGE_LABELS)


class JobProgress:
    """Prints status and per cent, stages weighted equally. Use as a context manager; `show` is a Progress callback."""

    def __init__(self) -> None:
        self._stage = ""
        self._shown_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            print("openjd_progress: 100.0", flush=True)
        else:
            print(f"openjd_fail: {error}".splitlines()[0], flush=True)

    def show(self, stage: str, done: int, total: int) -> None:
        """Report the capture's progress, at most once a second."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._shown_s = stage, 0.0
            print(f"openjd_status: {STAGE_LABELS.get(stage, stage)}", flush=True)
        if stage in _STAGES and total > 0 and now - self._shown_s >= _EVERY_S:
            self._shown_s = now
            share = (_STAGES.index(stage) + min(done / total, 1.0)) / len(_STAGES)
            print(f"openjd_progress: {100 * share:.1f}", flush=True)

    def warn(self, text: str) -> None:
        """Report a warning."""
        print(f"openjd_status: {text}".splitlines()[0], flush=True)
