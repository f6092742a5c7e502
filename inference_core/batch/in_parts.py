# SPDX-License-Identifier: GPL-3.0-or-later
"""Splits the reading of long shots: one worker makes the tracks, several read a share of the frames each, one solves.

Workers store their shares in OUT.partial, where a capture finds them by a key of everything they depend on. So the take
is identical to that of a single worker, and if a share is lost, the last worker reads it.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from inference_core.batch.capture_process import Outcome
from inference_core.batch.local_pool import Pool, Watcher
from inference_core.batch.manifest import Shot
from inference_core.footage import limits_of, open_footage, parse_frame_range
from inference_core.shared.errors import DuohandError

_LONG_FRAMES = 960  # two pieces of frames; shorter shots have nothing to share
_TRACKS = "tracks"


class _Quiet:
    """Reports the progress of parts under their shots' names; only the last worker reports outcomes."""

    def __init__(self, watcher: Watcher, whole: set[str]) -> None:
        self._watcher, self._whole = watcher, whole

    def progress(self, name: str, stage: str, done: int, total: int) -> None:
        """A shot, or a part of one, has progressed."""
        self._watcher.progress(name, stage, done, total)

    def ended(self, name: str, outcome: Outcome) -> None:
        """Pass on the outcome of whole shots only."""
        if name in self._whole:
            self._watcher.ended(name, outcome)


def in_parts(pool: Pool, parts: int, is_long: Callable[[Shot], bool] | None = None) -> Pool:
    """A pool that reads long shots in that many simultaneous parts."""

    def run(shots: Sequence[Shot], retries: int, watcher: Watcher, stop: threading.Event) -> None:
        long = [shot for shot in shots if (is_long or _is_long)(shot)]
        short = [shot for shot in shots if shot not in long]
        quiet = _Quiet(watcher, {shot.name for shot in short})
        if long:
            pool([*(_part(shot, _TRACKS) for shot in long), *short], retries, quiet, stop)
            shares = [_part(shot, f"{number}/{parts}") for shot in long for number in range(1, parts + 1)]
            if not stop.is_set():
                pool(shares, retries, quiet, stop)
        if not stop.is_set():
            pool(long or shots, retries, watcher, stop)

    return run


def _part(shot: Shot, part: str) -> Shot:
    return replace(shot, request=replace(shot.request, part=part, preview=None, profile=False))


def _is_long(shot: Shot) -> bool:
    """Whether the shot is worth splitting. Footage that cannot be opened counts as short, and fails later."""
    request = shot.request
    if request.network == "none":
        return False
    try:
        limits = limits_of(request.max_pixels, request.max_frames)
        frames = parse_frame_range(request.frames)
        footage = open_footage(request.footage, frames, request.fps, lambda _: None, limits)
    except DuohandError:
        return False
    return footage.info.count >= _LONG_FRAMES
