# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole command and MediaPipe's loop alternating on the same frames: ratios with their spread, and stages.

    python -m benchmarks.against_mediapipe FOOTAGE... [--frames 0:280] [--rounds 3] [--height 1080] [--busy]
    python -m benchmarks.against_mediapipe FOOTAGE... --minutes 10 --rounds 1

Each clip in turn; --height: a copy of that height; --minutes: the clip to and fro, for so long. Ours: the plain command
as a process, including start, decoding and the take. MediaPipe's: only the time in Hands.process, with pictures decoded
beforehand. Processor time is listed as well, because it varies less under load. --busy: each also beside another
program that keeps one core busy, and how much longer that takes.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av

from benchmarks.reconstruct import MINUTE_FRAMES, repeated
from benchmarks.timed_command import ROOT, Cost, megabytes, timed_reconstruct
from inference_core.footage import open_footage, parse_frame_range

# What `make` settles for tests, a plain command for itself; and an installed program's modules are compiled.
_SETTLED = ("OMP_", "MALLOC_", "PYTHONDONTWRITEBYTECODE")
PEER, NETWORK, LANDMARKS = "MediaPipe", "with the network", "without"
ALONE, BUSY = "alone", "busy "


def main() -> None:
    """Print a line for every way and the stages of the last round."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("footage", type=Path, nargs="+")
    parser.add_argument("--frames", default="0:280")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--height", type=int)
    parser.add_argument("--minutes", type=int)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        print(*mediapipe_loop(arguments.footage[0], arguments.frames))
        return
    with tempfile.TemporaryDirectory() as folder:
        for footage in arguments.footage:
            report(*prepared(footage, arguments, Path(folder)), arguments, Path(folder) / "take.npz")


def prepared(footage: Path, arguments: argparse.Namespace, folder: Path) -> tuple[Path, str]:
    """The movie to run, and its frames: the clip itself, or a longer or larger copy, all of it."""
    frames = arguments.frames
    if arguments.minutes is not None:
        longer = folder / f"{footage.stem}_{arguments.minutes}_minutes.mp4"
        footage, frames = repeated(footage, longer, arguments.minutes * MINUTE_FRAMES), ":"
    if arguments.height is not None:
        footage, frames = scaled(footage, frames, arguments.height, folder), ":"
    return footage, frames


def scaled(footage: Path, picked: str, height_px: int, folder: Path) -> Path:
    """A copy of the picked frames at the requested height."""
    frames = open_footage(footage, parse_frame_range(picked))
    width, height = frames.info.size_px
    size_px = (round(width * height_px / height / 2) * 2, height_px)
    copy = folder / f"{footage.stem}_{height_px}.mp4"
    with av.open(str(copy), "w") as container:
        stream: Any = container.add_stream("libx264", rate=round(frames.info.fps))
        stream.width, stream.height, stream.pix_fmt = *size_px, "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast"}
        for frame in frames:
            if frame.image is not None:
                picture = av.VideoFrame.from_ndarray(frame.image, "rgb24")
                container.mux(stream.encode(picture.reformat(*size_px, interpolation="BICUBIC")))
        container.mux(stream.encode())
    return copy


def report(footage: Path, frames: str, arguments: argparse.Namespace, take: Path) -> None:
    """Runs every way in turns; the first round, which also converts networks, does not count (long clips: it does)."""
    print(f"{footage.name}, frames {frames}")
    ways = {PEER: "", NETWORK: "shipped", LANDMARKS: "none"}
    places = (ALONE, BUSY) if arguments.busy else (ALONE,)
    costs: dict[tuple[str, str], list[Cost]] = {(name, place): [] for name in ways for place in places}
    first = 0 if arguments.minutes is None else 1
    for turn in range(first, arguments.rounds + 1):
        for (name, place), found in costs.items():
            with busy_program(place == BUSY):
                cost = (
                    peer_cost(footage, frames)
                    if name == PEER
                    else our_cost(footage, frames, ways[name], take)
                )
            if turn > 0:
                found.append(cost)
    for (name, place), found in costs.items():
        walls, processors = [c.wall_s for c in found], [c.processor_s for c in found]
        peers = costs[PEER, place]
        work = [c.processor_s / peer.processor_s for c, peer in zip(found, peers, strict=True)]
        own = "" if place == ALONE else f"; of its own time alone {ratios(found, costs[name, ALONE])}"
        print(
            f"{name:<16} {place} {statistics.median(walls):6.2f} s, {statistics.median(processors):6.2f} s of the "
            f"processor, {max(c.peak_mb for c in found):5.0f} MB; of MediaPipe's time {ratios(found, peers)}, of its "
            f"work {statistics.median(work):.2f}{own}"
        )
    for name in (NETWORK, LANDMARKS):
        output = costs[name, ALONE][-1].output
        table = output[output.rfind("\n", 0, output.find("seconds")) :]
        print(f"{name}, the last round:{table.rstrip()}")


def ratios(found: Sequence[Cost], others: Sequence[Cost]) -> str:
    """The median and the spread of the ratios of times by the clock, run by run."""
    each = [one.wall_s / other.wall_s for one, other in zip(found, others, strict=True)]
    return f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})"


def our_cost(footage: Path, frames: str, network: str, take: Path) -> Cost:
    """One run of the plain command, with its profile."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_SETTLED)}
    options = ("--profile", "--frames", frames, "--network", network)
    return timed_reconstruct(footage, take, *options, environment=environment)


def peer_cost(footage: Path, frames: str) -> Cost:
    """MediaPipe's loop in its own process, which prints its figures."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.against_mediapipe",
        str(footage),
        "--peer",
        "--frames",
        frames,
    ]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    wall_s, processor_s, peak_mb = (float(value) for value in output.split()[-3:])
    return Cost(wall_s, processor_s, peak_mb)


def mediapipe_loop(footage: Path, frames: str) -> tuple[float, float, float]:
    """Seconds in Hands.process by the clock and of the processor, and the process's peak in megabytes."""
    import mediapipe

    wall_s = processor_s = 0.0
    with mediapipe.solutions.hands.Hands(max_num_hands=2) as peer:
        for frame in open_footage(footage, parse_frame_range(frames)):
            if frame.image is not None:
                wall, processor = time.perf_counter(), time.process_time()
                peer.process(frame.image)
                wall_s += time.perf_counter() - wall
                processor_s += time.process_time() - processor
    return wall_s, processor_s, megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


@contextmanager
def busy_program(wanted: bool) -> Generator[None]:
    """A program that keeps one core busy meanwhile, on request."""
    command = [sys.executable, "-c", "while True: pass"]
    program = subprocess.Popen(command) if wanted else None
    try:
        yield
    finally:
        if program is not None:
            program.kill()
            program.wait()


if __name__ == "__main__":
    main()
