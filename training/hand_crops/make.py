# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes hand crops with features and truth, shard by shard.

    python -m training generate crops OUT --shards 400 [--seed 1] [--cuts 2]
    python -m training generate crops OUT --shards 400 --whole-pictures --device cuda

A shard holds the crops of PICTURES_A_SHARD pictures. Existing shards are kept, so the same command resumes an
interrupted one. Shards can be deleted after training on them: the seed reproduces them.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from inference_core.landmarks.weights import load_landmark_network
from training.hand_crops.early_features import fastest_reader, torch_reader
from training.hand_crops.made import CropRows, made_rows
from training.hand_crops.shards import PICTURES_A_SHARD, scene_settings, shard_path, write_shard
from training.hand_crops.whole_pictures import rows_from_pictures
from training.synthetic.generate import load_kit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path)
    parser.add_argument("--shards", type=int, default=400, help=f"of {PICTURES_A_SHARD} pictures each")
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cuts", type=int, default=2, help="crops per hand")
    parser.add_argument(
        "--whole-pictures", action="store_true", help="cut crops from whole pictures, entirely on the device"
    )
    parser.add_argument("--backgrounds", type=int, default=256, help="made beforehand")
    parser.add_argument("--picture-px", type=int, default=384, help="side of whole pictures")
    parser.add_argument("--device", default="cpu", help="of whole pictures")
    parser.add_argument(
        "--torch", action="store_true", help="compute features with torch, whatever else is installed"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    _make(options)


def _make(options: argparse.Namespace) -> None:
    made = _maker(options)
    progress = tqdm(range(options.first, options.first + options.shards), unit="shard")
    for number in progress:
        path = shard_path(options.out, options.seed, number)
        if path.exists():
            continue
        started_s = time.monotonic()
        rows = made(number * PICTURES_A_SHARD)
        write_shard(path, rows)
        progress.set_postfix_str(f"{len(rows.side) / (time.monotonic() - started_s):.0f} crops/s")


def _maker(options: argparse.Namespace) -> Callable[[int], CropRows]:
    """The function that makes a shard's rows, given the number of its first picture."""
    network = load_landmark_network()
    settings = replace(scene_settings(), backgrounds=options.backgrounds)
    if options.whole_pictures:
        network = network.to(options.device)
        settings = replace(settings, size_px=options.picture_px)
        return lambda first: rows_from_pictures(
            settings, options.seed, first, PICTURES_A_SHARD, options.cuts, network
        )
    reader = torch_reader(network) if options.torch else fastest_reader(network)
    kit = load_kit(torch.device("cpu"))
    return lambda first: made_rows(kit, settings, options.seed, first, PICTURES_A_SHARD, options.cuts, reader)
