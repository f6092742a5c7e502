# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes views of rendered pictures for the pair detector, with features and truth, shard by shard.

    python -m training generate pair-views OUT --shards 40 [--seed 1] [--views 2]

A shard holds the views of PICTURES_A_SHARD pictures. Existing shards are kept, so the same command resumes an
interrupted one.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from inference_core.landmarks.pair_network import fine_features
from inference_core.landmarks.weights import load_palm_network
from training.feature_cache.store import to_bytes, write_columns
from training.hand_crops.shards import scene_settings
from training.pair_detector.views import Views, views_of
from training.synthetic.generate import generate
from training.synthetic.settings import Settings

PICTURES_A_SHARD = 256
FEATURES, CROPS, HANDS, GAP = "features", "crops", "hands", "gap_m"
_BATCH = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path)
    parser.add_argument("--shards", type=int, default=40, help=f"of {PICTURES_A_SHARD} pictures each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--views", type=int, default=2, help="of each picture")
    parser.add_argument("--backgrounds", type=int, default=1024, help="made beforehand")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    settings = replace(picture_settings(), backgrounds=options.backgrounds)
    for number in tqdm(range(options.shards), unit="shard"):
        path = options.out / f"views-{options.seed}-{number:06d}.safetensors"
        if path.exists():
            continue
        batch = generate(options.seed, PICTURES_A_SHARD, settings=settings, index=number * PICTURES_A_SHARD)
        views = views_of(batch, options.views, np.random.default_rng((options.seed, number)))
        write_columns(path, columns_of(views))


def picture_settings() -> Settings:
    """The settings of the pictures' contents: four in five pairs touch; a fifth have one hand, an eighth none."""
    return replace(
        scene_settings(),
        size_px=256,
        chunk=16,
        touching=0.85,
        one_hand=0.2,
        no_hand=0.125,
        own_eyes=0.4,
        fill=(0.35, 0.95),
        truncated=0.15,
        off_axis=0.4,
    )


def columns_of(views: Views) -> dict[str, torch.Tensor]:
    """What a shard stores: the palm detector's fine features of the views as 8-bit floats, and the truth."""
    palm, features = load_palm_network(), []
    with torch.inference_mode():
        for part in torch.from_numpy(views.images).split(_BATCH):
            features.append(to_bytes(fine_features(palm, part.permute(0, 3, 1, 2).float() / 255)))
    return {
        FEATURES: torch.cat(features),
        CROPS: torch.from_numpy(views.crops).float(),
        HANDS: torch.from_numpy(views.hands),
        GAP: torch.from_numpy(views.gap_m).float(),
    }
