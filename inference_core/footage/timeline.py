# SPDX-License-Identifier: GPL-3.0-or-later
"""Which picture each frame of a movie shows, and when: edit lists, dropped frames, wrong frame rates.

Frames are numbered from 0 in the order of presentation. The declared frame rate is checked against the times.
"""

import bisect
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av

from inference_core.footage.container import MovieFile, Packet, Sample, decoded

_FALLBACK_FPS = 25.0  # for files with neither times nor a rate: raw streams only

_FASTEST_CLAIM = 500.0  # higher values are a container's clock (1000, 90000)

# The header's rate is used if the times deviate by no more than this: some containers round them.
_RATE_TOLERANCE = 0.005
_MOST = 0.7  # share of frame steps that must have the movie's own step
_COMMON_RATES = (24, 25, 30, 50, 60, 24000 / 1001, 30000 / 1001, 60000 / 1001, 48, 100, 120, 120000 / 1001)

# Durations in headers of complete files may be wrong by this much, due to the delay of B frames.
_SLACK_FRAMES = 3

_JOINED = "joined from parts with separate times: its frames are spaced evenly"

# With more empty slots than this for each picture, an AVI's rate is a clock and not a frame rate.
_MOST_EMPTY_SLOTS = 2


@dataclass(frozen=True)
class Timeline:
    """pictures: for each frame the presentation time, in ticks, of the picture it shows: its own, or where the recorder
    dropped it the one before. times_s: seconds from the first frame. held: numbers of the frames that were dropped.

    has_times: False if the file has none; ticks are then positions in the order of the file.
    claimed_fps: the declared rate, 0 if there is none.
    claimed_s: the length that other readers assume. is_reordered: whether the file stores its frames in another order
    without declaring it (AVI has no times).
    """

    pictures: Sequence[int]
    times_s: Sequence[float]
    fps: float
    held: tuple[int, ...] = ()
    has_times: bool = True
    claimed_fps: float = 0.0
    claimed_s: float = 0.0
    is_reordered: bool = False
    damage: str = ""

    @property
    def is_even(self) -> bool:
        """Whether counting frames by the file's rate gives each frame its number."""
        rate = self.claimed_fps
        if self.claimed_s * rate < len(self.times_s) - 0.5 or self.is_reordered:
            return False
        return all(abs(time * rate - number) < 0.5 for number, time in enumerate(self.times_s))


def read_timeline(file: MovieFile, packets: Sequence[Packet], sample: Sample, broke_off: bool) -> Timeline:
    """The timeline of the movie whose packets these are, and whose beginning decodes to the sample."""
    header = _read_header(file)
    shown = [packet for packet in packets if not packet.is_discarded]
    begins_anew = _begins_anew(packets)
    drawn = None if begins_anew else _drawn_times(file, shown, sample)
    if drawn is None:
        count = max(len(shown), 1)
        fps = header.fps if 0 < header.fps <= _FASTEST_CLAIM else _FALLBACK_FPS
        damage = _JOINED if begins_anew else _damage(count, count / fps, header, fps, broke_off)
        times_s = [number / fps for number in range(count)]
        return Timeline(range(count), times_s, fps, has_times=False, damage=damage)
    # No player shows dropped frames before the first picture: footage begins with a picture.
    listed = sorted(
        {*drawn, *(packet.pts for packet in shown if packet.size == 0 and packet.pts is not None)}
    )
    frames = header.slots(drawn) or listed[listed.index(drawn[0]) :]
    pictures = [drawn[bisect.bisect_right(drawn, time) - 1] for time in frames]
    times_s = [(time - frames[0]) * header.tick_s for time in frames]
    fps = _rate(times_s, header)
    last = max(shown, key=lambda packet: packet.pts or 0)
    found_s = max(times_s[-1] + 1 / fps, ((last.pts or 0) + last.duration - frames[0]) * header.tick_s)
    if header.counts_from_zero:
        found_s += frames[0] * header.tick_s
    held = [
        number for number, (time, picture) in enumerate(zip(frames, pictures, strict=True)) if time != picture
    ]
    broke_off = broke_off or any(packet.is_corrupt for packet in packets)
    damage = _damage(max(len(packets), len(frames)), found_s, header, fps, broke_off)
    return Timeline(
        pictures,
        times_s,
        fps,
        tuple(held),
        claimed_fps=header.guessed_fps,
        claimed_s=header.claimed_s,
        is_reordered=header.is_reordered,
        damage=damage,
    )


@dataclass(frozen=True)
class _Header:
    """What the file declares: a frame rate, a number of frames, a duration; 0 for undeclared values.

    guessed_fps: FFmpeg's best guess of the rate, which other readers use. claimed_s: the length they assume.
    has_slots: each frame has its own slot (AVI), dropped ones included. counts_from_zero: the duration is the
    time of the end by the file's clock.
    """

    tick_s: float
    fps: float
    frames: int
    duration_s: float
    guessed_fps: float
    claimed_s: float
    is_reordered: bool
    has_slots: bool
    counts_from_zero: bool

    def slots(self, drawn: Sequence[int]) -> Sequence[int]:
        """The times of all frame slots, if the file has slots and its rate is a frame rate."""
        if not self.has_slots:
            return ()
        slots = range(drawn[0], max(self.frames, drawn[-1] + 1))
        return slots if len(slots) <= (1 + _MOST_EMPTY_SLOTS) * len(drawn) else ()


def _read_header(file: MovieFile) -> _Header:
    with file.opened() as container:
        stream = file.stream_of(container)
        tick_s = float(stream.time_base or 0)
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        name = container.format.name
        has_slots = name == "avi" and abs(tick_s * fps - 1) < 1e-6
        frames = stream.frames if not has_slots or _is_whole_avi(file.path) else 0
        if name.startswith("mov") and len(stream.index_entries):
            frames = min(frames, len(stream.index_entries))  # frames cut off by an edit list are not missing
        return _Header(
            tick_s=tick_s,
            fps=fps,
            frames=frames,
            duration_s=_promised_duration_s(container, stream),
            guessed_fps=float(stream.guessed_rate or fps),
            claimed_s=_claimed_s(container, stream),
            is_reordered=name == "avi" and bool(stream.codec_context.has_b_frames),
            has_slots=has_slots,
            counts_from_zero=name.startswith("matroska"),
        )


def _claimed_s(container: Any, stream: Any) -> float:
    """The movie's length as assumed by readers that do not inspect every packet; a guess in some containers."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else 0.0


def _is_whole_avi(path: Path) -> bool:
    """Whether the file is as long as its header declares. If so, missing frames were dropped, not cut off."""
    with path.open("rb") as file:
        start = file.read(8)
    return len(start) == 8 and path.stat().st_size >= 8 + struct.unpack("<I", start[4:])[0]


def _promised_duration_s(container: Any, stream: Any) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION", "")  # Matroska's
    try:
        hours, minutes, seconds = (float(part) for part in tag.split(":"))
    except ValueError:
        alone = len(container.streams) == 1
        return container.duration / av.time_base if alone and container.duration else 0.0
    return hours * 3600 + minutes * 60 + seconds


def _drawn_times(file: MovieFile, shown: Sequence[Packet], sample: Sample) -> list[int] | None:
    """The presentation times of the pictures, increasing; None if the file has none."""
    full = [packet for packet in shown if packet.size]
    times = sorted({packet.pts for packet in full if packet.pts is not None})
    known = sorted(time for time in sample.times if time is not None)
    if not times or not known:
        return None
    begun = {packet.pts for packet in full[: len(sample.times)]}
    hidden = any(
        time is not None and known[0] < time < known[-1] and time not in sample.times for time in begun
    )
    if None not in begun and all(packet.pts is not None for packet in full) and (sample.failed or not hidden):
        return [time for time in times if time >= known[0]]
    with file.opened() as container:
        found = {frame.pts for frame in decoded(container, file.stream_of(container))}
    return None if None in found else sorted(time for time in found if time is not None)


def _begins_anew(packets: Sequence[Packet]) -> bool:
    """Whether times decrease somewhere, as in concatenated recordings."""
    times = [packet.dts for packet in packets if packet.dts is not None]
    return any(later < earlier for earlier, later in pairwise(times))


def _rate(times_s: Sequence[float], header: _Header) -> float:
    """Frames per second from the times; the header's rate, or a common one, if it matches to their resolution."""
    if len(times_s) < 2:
        return header.fps if 0 < header.fps <= _FASTEST_CLAIM else _FALLBACK_FPS
    own = (len(times_s) - 1) / times_s[-1]
    if abs(header.fps / own - 1) <= max(_RATE_TOLERANCE, 2 * header.tick_s / times_s[-1]):
        return header.fps
    for fps in _COMMON_RATES:
        if all(abs(time - number / fps) <= 1.5 * header.tick_s for number, time in enumerate(times_s)):
            return fps
    return _steady_rate(times_s, header) or own


def _steady_rate(times_s: Sequence[float], header: _Header) -> float:
    """The rate at which most frames follow each other, with pauses or lost frames between; 0 if there is none."""
    steps_s = sorted(later - time for time, later in pairwise(times_s))
    step_s = steps_s[len(steps_s) // 2]
    alike = sum(abs(other - step_s) <= 1.5 * header.tick_s for other in steps_s)
    if step_s <= 0 or alike < _MOST * len(steps_s):
        return 0.0
    for fps in (header.guessed_fps, *_COMMON_RATES):
        if fps and abs(1 / fps - step_s) <= 1.5 * header.tick_s:
            return fps
    return 1 / step_s


def _damage(count: int, found_s: float, header: _Header, fps: float, broke_off: bool) -> str:
    """A description of what is missing from the file; empty if nothing is."""
    short = found_s < header.duration_s - max(_SLACK_FRAMES / fps, 0.02 * header.duration_s)
    if not (broke_off or short or count < header.frames):
        return ""
    promised = max(count, header.frames, round(header.duration_s * fps) if short else 0)
    read = f"{count} of {promised}" if promised > count else f"{count}"
    return f"cut short or damaged: {read} frames can be read"
