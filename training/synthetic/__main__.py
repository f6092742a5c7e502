# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m training.synthetic OUT --count N --seed S: write (or continue) shards of synthetic pictures."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from inference_core.shared.errors import DuohandError
from training.synthetic.settings import Settings
from training.synthetic.shards import SHARD_PICTURES, Stream, write_shards


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status: 0 done, 2 something a person can put right, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m training.synthetic", description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the shards; an unfinished one is continued")
    parser.add_argument("--count", type=int, required=True, help="pictures in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--size", type=int, default=256, help="side of the pictures in pixels, a multiple of 16"
    )
    parser.add_argument("--shard", type=int, default=SHARD_PICTURES, help="pictures in a shard")
    parser.add_argument("--backgrounds", type=Path, help="folder of pictures of your own for backgrounds")
    parser.add_argument("--poses", type=Path, help="folder of takes of your own for finger poses")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    if options.count < 1 or options.shard < 1 or options.size < 32 or options.size % 16:
        parser.error("--count and --shard must be at least 1, --size a multiple of 16")
    backgrounds, poses = (None if own is None else str(own) for own in (options.backgrounds, options.poses))
    settings = replace(Settings(), size_px=options.size, background_folder=backgrounds, pose_folder=poses)
    stream = Stream(options.seed, options.count, options.shard, settings)
    try:
        write_shards(options.out, stream, options.device, _progress_line())
    except DuohandError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped; run the same command again to continue.", file=sys.stderr)
        return 130
    return 0


def _progress_line() -> Callable[[int, int], None]:
    """A function that keeps one line of progress with the time left up to date on stderr."""
    started: list[tuple[float, int]] = []

    def show(done: int, total: int) -> None:
        if not started:
            started.append((time.monotonic(), done))
        seconds, new = time.monotonic() - started[0][0], done - started[0][1]
        rate = new / seconds if seconds > 0 else 0.0
        left = f", {(total - done) / rate / 60:.0f} min left" if rate > 0 else ""
        print(
            f"\r{done} of {total} pictures, {rate:.0f} a second{left}   ", end="", file=sys.stderr, flush=True
        )

    return show


if __name__ == "__main__":
    sys.exit(main())
