# SPDX-License-Identifier: GPL-3.0-or-later
"""Hundreds of captures by one engine that waits between them, as in the add-on; some
are killed, some run in parallel.

    python -m tools.soak                          # 300 captures, 30 of them killed
    python -m tools.soak --minutes 3              # as many as fit
    python -m tools.soak --captures 50 --killed 50
    python -m tools.soak --captures 0 --killed 0 --long-minutes 10

Every take is compared with that of an undisturbed run. A line is fitted to the memory of the waiting engine. In the
end nothing may be left over: no process, no temporary file, nothing beside the takes, nothing new in the cache but
networks compiled for another number of crops. The exit code is 1 if something was. Linux only: it reads /proc.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from blender_addon.engine.job import CaptureJob, Phase
from blender_addon.engine.warm import IDLE_S, WarmEngine
from inference_core.shared.messages import CaptureRequest
from inference_core.shared.npz import open_npz

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "inference_core" / "demo" / "two_hands.mp4"
_MARK = "DUOHAND_SOAK"  # in the environment of all that is started here
_MEETING_EVERY = 10
_COMMAND = (sys.executable, "-m", "inference_core", "worker", "--idle", f"{IDLE_S}")
# The allocator settles over the first captures; a slope is looked for after them.
_SETTLED = 5


@dataclass
class Tally:
    """What came of the captures. held_mb: memory of the engine that waits, after each whole capture."""

    done: int = 0
    killed: int = 0
    resumed: int = 0
    met: int = 0
    held_mb: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def slope_mb(self) -> float:
        """Megabytes that a hundred captures add."""
        settled = self.held_mb[_SETTLED:]
        return 100 * float(np.polyfit(range(len(settled)), settled, 1)[0]) if len(settled) > 2 else 0.0


class Soak:
    """Captures of one clip into a folder of its own, which also holds their temporary files and caches."""

    def __init__(self, folder: Path, frames: str, network: str, seed: int) -> None:
        self.tally = Tally()
        self._frames, self._network = frames, network
        self._folder, self._rng = folder, random.Random(seed)
        self._warm, self._token = WarmEngine(), f"{os.getpid()}-{time.time_ns()}"
        for name in ("takes", "tmp", "cache"):
            (folder / name).mkdir()
        os.environ |= {
            _MARK: self._token,
            "TMPDIR": str(folder / "tmp"),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }
        began = time.monotonic()
        self._take = self._finished(self._start("first.npz", self._warm))
        self._lasts_s = time.monotonic() - began
        self._cached = _files(folder / "cache")

    def capture(self) -> None:
        """One more capture by the engine that waits; every tenth time another engine runs at the same time."""
        meets = (self.tally.done + 1) % _MEETING_EVERY == 0
        other = self._start("other.npz", None) if meets else None
        began = time.monotonic()
        self._check("take.npz", self._finished(self._start("take.npz", self._warm)))
        if other is None:
            self._lasts_s = time.monotonic() - began
        else:
            self._check("other.npz", self._finished(other))
            self.tally.met += 1
        self.tally.done += 1
        self.tally.held_mb.append(sum(map(_memory_mb, self._processes())))

    def kill_and_resume(self) -> None:
        """A capture of which one process is killed at a random moment, and the same request again."""
        job = self._start("killed.npz", self._warm)
        began = time.monotonic()
        end = began + self._rng.uniform(0, self._lasts_s)
        while time.monotonic() < end and not job.poll().ended:
            time.sleep(0.01)
        processes = self._processes()
        if job.poll().ended or not processes:
            self._lasts_s = time.monotonic() - began  # it was over before
            self._finished(job)
            self.kill_and_resume()
            return
        os.kill(self._rng.choice(processes), signal.SIGKILL)
        self.tally.killed += 1
        self._finished(job)
        began = time.monotonic()
        self.tally.resumed += self._check("killed.npz", self._finished(self._start("killed.npz", self._warm)))
        self._lasts_s = time.monotonic() - began

    def long_footage(self, minutes: float) -> None:
        """One capture of that many minutes, the clip repeated; what the engine holds in each tenth of each stage."""
        began = time.monotonic()
        clip = _repeated(CLIP, self._folder / "long.mp4", minutes)
        job = self._start("long.npz", self._warm, clip)
        most_mb: dict[str, float] = {}
        while not (state := job.poll()).ended:
            tenth = f"{state.stage}, tenth {int(10 * state.fraction)} of {state.total} frames"
            if tenth not in most_mb and most_mb:
                print(f"{list(most_mb)[-1]}: {list(most_mb.values())[-1]:.0f} MB", flush=True)
            held_mb = sum(map(_memory_mb, self._processes()))
            most_mb[tenth] = max(most_mb.get(tenth, 0.0), held_mb)
            time.sleep(1.0)
        if job.state.phase is not Phase.DONE:
            self.tally.problems.append(f"the long footage: {job.state.error}")
        took = time.monotonic() - began
        print(
            f"{minutes:g} minutes of footage took {took:.0f} s and at most {max(most_mb.values()):.0f} MB",
            flush=True,
        )

    def end(self) -> None:
        """End the engine, and check for leftovers."""
        self._warm.end()
        time.sleep(0.5)
        left = [f"process {pid}" for pid in self._processes()]
        left += [f"temporary {name}" for name in _files(self._folder / "tmp")]
        new = sorted(_files(self._folder / "cache") - self._cached)
        left += [f"cache {name}" for name in new if not name.endswith(".network")]
        left += [name for name in _files(self._folder / "takes") if not name.endswith(".npz")]
        self.tally.problems += [f"left over: {name}" for name in left]

    def _start(self, name: str, warm: WarmEngine | None, clip: Path = CLIP) -> CaptureJob:
        frames = self._frames if clip == CLIP else ""
        out = str(self._folder / "takes" / name)
        request = CaptureRequest(str(clip), out, frames=frames, fov_deg=52.0, network=self._network)
        job = CaptureJob(_COMMAND, request, self._folder / "engine.log", warm=warm)
        job.start()
        return job

    def _finished(self, job: CaptureJob) -> dict[str, np.ndarray] | None:
        """The take, once the job has ended; None if it failed."""
        while not job.poll().ended:
            time.sleep(0.02)
        if job.state.phase is not Phase.DONE:
            return None
        with open_npz(Path(job.request.out)) as take:
            arrays = {name: take.read(name) for name in take.headers}
        arrays["meta"] = np.array(str(arrays["meta"]).replace(job.request.out, "OUT"))
        Path(job.request.out).unlink()
        return arrays

    def _check(self, name: str, take: dict[str, np.ndarray] | None) -> bool:
        if take is None or self._take is None:
            self.tally.problems.append(f"{name}: no take came")
        elif apart := _apart(take, self._take):
            self.tally.problems.append(f"{name}: another take came: {apart}")
        else:
            return True
        return False

    def _processes(self) -> list[int]:
        """Processes that were started here and live."""
        mark = f"{_MARK}={self._token}".encode()
        found: list[int] = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                alive = path.joinpath("stat").read_text().rpartition(")")[2].split()[0] != "Z"
                if alive and mark in path.joinpath("environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
            except OSError:
                continue  # it has ended
        return found


def main(arguments: list[str] | None = None) -> int:
    """Soak, print the counts; 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description="Soak the engine in captures.")
    parser.add_argument("--captures", type=int, default=300)
    parser.add_argument("--killed", type=int, default=30)
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop after this time (default: no limit)"
    )
    parser.add_argument(
        "--long-minutes", type=float, default=0.0, help="finally, a capture of this many minutes of footage"
    )
    parser.add_argument("--frames", default="0:12", help="of the clip, for each capture (%(default)s)")
    parser.add_argument("--network", default="auto", help="as `duohand reconstruct` has it (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    end = time.monotonic() + 60 * options.minutes
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory(prefix="duohand-soak-") as folder:
        soak = Soak(Path(folder), options.frames, options.network, options.seed)
        kinds = [soak.capture] * options.captures + [soak.kill_and_resume] * options.killed
        random.Random(options.seed).shuffle(kinds)
        for kind in kinds:
            if time.monotonic() > end:
                break
            kind()
            print(f"\r{soak.tally.done} captures, {soak.tally.killed} killed", end="", file=sys.stderr)
        if options.long_minutes:
            soak.long_footage(options.long_minutes)
        soak.end()
    tally = soak.tally
    print(
        f"{tally.done} captures, {tally.met} of them beside another engine; {tally.killed} killed, {tally.resumed} "
        f"gone on from; the engine holds {tally.held_mb[-1] if tally.held_mb else 0:.0f} MB, a hundred captures add "
        f"{tally.slope_mb:+.1f} MB; {len(tally.problems)} problems",
        flush=True,
    )
    print("\n".join(tally.problems[:20]))
    return 1 if tally.problems else 0


def _apart(take: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> str:
    """In which arrays two takes differ, and by how much; empty if in none."""
    differ = [f"{name} (in one only)" for name in sorted(take.keys() ^ other.keys())]
    for name in sorted(take.keys() & other.keys()):
        first, second = take[name], other[name]
        measured = first.dtype.kind == "f"
        if first.dtype != second.dtype or not np.array_equal(first, second, equal_nan=measured):
            by = np.nanmax(np.abs(first - second)) if measured and first.shape == second.shape else None
            differ.append(name if by is None else f"{name} by {by:.1e}")
    return ", ".join(differ)


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _memory_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _repeated(clip: Path, path: Path, minutes: float) -> Path:
    """A movie of the clip over and over, its pictures as they are."""
    import av

    with av.open(str(path), "w") as written:
        copy, offset = None, 0
        while copy is None or offset * copy.time_base < 60 * minutes:
            with av.open(str(clip)) as read:
                stream = read.streams.video[0]
                copy = copy or written.add_stream_from_template(stream)
                packets = [packet for packet in read.demux(stream) if packet.dts is not None]
                length = max(packet.pts + packet.duration for packet in packets)
                for packet in packets:
                    packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, copy
                    written.mux(packet)
                offset += length
    return path


if __name__ == "__main__":
    sys.exit(main())
