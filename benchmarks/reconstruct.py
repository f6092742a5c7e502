# SPDX-License-Identifier: GPL-3.0-or-later
"""The end-to-end cost and the motion of the main job: time, memory, jitter, reprojection.

    python -m benchmarks.reconstruct FOOTAGE [--frames A:B] [--network none] [--preview]
    python -m benchmarks.reconstruct --memory      peak memory of 1 and of 10 minutes

The cost is that of the whole process, imports included, with as many threads as OMP_NUM_THREADS says.
"""

import argparse
import os
import re
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from benchmarks.timed_command import timed_reconstruct
from inference_core.cli.take_report import shake_mm
from inference_core.footage import open_footage
from inference_core.shared.take import Take, load_take

MINUTE_FRAMES = 30 * 60


def main() -> None:
    """Print the figures as lines of a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("footage", nargs="*", type=Path)
    parser.add_argument("--frames", default="")
    parser.add_argument("--network", default="none")
    parser.add_argument("--preview", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--minutes", type=int, nargs=2, default=(1, 10))
    arguments = parser.parse_args()
    print(f"threads: {os.environ.get('OMP_NUM_THREADS', 'all')}, CPUs: {os.cpu_count()}")
    with tempfile.TemporaryDirectory() as folder:
        for footage in arguments.footage:
            _report(footage, Path(folder), arguments)
        if arguments.memory:
            _report_memory(Path(folder), arguments)


def _report(footage: Path, folder: Path, arguments: argparse.Namespace) -> None:
    out = folder / f"{footage.stem}.npz"
    extra = ["--frames", arguments.frames] if arguments.frames else []
    if arguments.preview:
        extra += ["--preview", str(folder / "preview.mp4")]
    cost = timed_reconstruct(footage, out, "--network", arguments.network, *extra)
    take = load_take(out)
    count = take.frame_count
    print(f"{footage.name}: {count} frames, {cost.wall_s:.1f} s, {count / cost.wall_s:.1f} a second")
    print(f"  processor time {cost.processor_s:.1f} s, peak memory {cost.peak_mb:.0f} MB")
    stages = re.findall(r"(\w+): \d+ frames in ([\d.]+) s", cost.output)
    print("  stages: " + ", ".join(f"{name} {seconds} s" for name, seconds in stages))
    for side, name in enumerate(("left", "right")):
        if (take.present[:, side] > 0).any():
            print(f"  {name}: {_motion(take, side)}")


def _motion(take: Take, side: int) -> str:
    seen = take.present[:, side] == 1
    before, after = (
        shake_mm(wrist_m[:, side], take.cuts) for wrist_m in (take.raw_wrist_cam_m, take.wrist_cam_m)
    )
    projected = np.einsum("ij,tkj->tki", take.K, take.joints_cam_m[seen, side])
    off = np.linalg.norm(
        projected[..., :2] / projected[..., 2:] - take.landmarks_px[seen, side, :, :2], axis=-1
    ).mean(1)
    box = np.linalg.norm(np.ptp(take.landmarks_px[seen, side, :, :2], axis=1), axis=-1)
    return (
        f"seen {seen.sum()}, filled {(take.present[:, side] == 2).sum()}, joints to landmarks "
        f"{100 * (off / box).mean():.2f} % of the box (joints are not landmarks: see the solve's own figures), "
        f"shake {before:.2f} -> {after:.2f} mm ({before / max(after, 1e-9):.1f} times)"
    )


def _report_memory(folder: Path, arguments: argparse.Namespace) -> None:
    """Peak memory of shots of different lengths, made by playing the first footage forwards and backwards."""
    if not arguments.footage:
        raise SystemExit("--memory needs footage to repeat")
    peaks: list[float] = []
    for minutes in arguments.minutes:
        movie = repeated(arguments.footage[0], folder / f"{minutes}.mp4", minutes * MINUTE_FRAMES)
        cost = timed_reconstruct(movie, folder / f"{minutes}.npz", "--network", arguments.network)
        peaks.append(cost.peak_mb)
        print(
            f"{minutes} minutes ({minutes * MINUTE_FRAMES} frames): {cost.wall_s:.0f} s, peak {cost.peak_mb:.0f} MB"
        )
        movie.unlink()
    print(f"the longer takes {100 * (peaks[1] / peaks[0] - 1):+.0f} % memory")


def repeated(source: Path, target: Path, frame_count: int) -> Path:
    """A movie of that many frames, 30 a second: the source (its first 150 frames) to and fro."""
    images = [frame.image for frame in open_footage(source).at(range(0, 150)) if frame.image is not None]
    cycle = [*images, *images[-2:0:-1]]
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", {"preset": "ultrafast", "crf": "24"}
        for number in range(frame_count):
            frame = av.VideoFrame.from_ndarray(cycle[number % len(cycle)], format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target


if __name__ == "__main__":
    main()
