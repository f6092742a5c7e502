# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes shards of synthetic pictures, or continues a folder of them."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from training.synthetic.settings import Settings
from training.synthetic.shards import SHARD_PICTURES, Stream, write_shards


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path, help="folder of the shards; an unfinished one is resumed")
    parser.add_argument("--count", type=_at_least(1), required=True, help="pictures in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--size", type=_side, default=256, help="side of the pictures in pixels, a multiple of 16"
    )
    parser.add_argument("--shard", type=_at_least(1), default=SHARD_PICTURES, help="pictures in a shard")
    parser.add_argument("--backgrounds", type=Path, help="folder of pictures of your own for backgrounds")
    parser.add_argument("--poses", type=Path, help="folder of takes of your own for finger poses")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    backgrounds, poses = (None if own is None else str(own) for own in (options.backgrounds, options.poses))
    settings = replace(Settings(), size_px=options.size, background_folder=backgrounds, pose_folder=poses)
    stream = Stream(options.seed, options.count, options.shard, settings)
    with tqdm(total=options.count, unit="picture") as bar:

        def show(done: int, total: int) -> None:
            bar.update(done - bar.n)

        write_shards(options.out, stream, options.device, show)


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return int(text)

    return number


def _side(text: str) -> int:
    if int(text) < 32 or int(text) % 16:
        raise argparse.ArgumentTypeError(f"{text} is not a multiple of 16, 32 or more")
    return int(text)
