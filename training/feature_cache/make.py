# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a feature cache from synthetic clips and stills.

    python -m training cache make OUT --clips 600 --stills 400 [--part 0/2]
    python -m training cache refine OUT HEAD

Each clip and each file of stills is a separate part. Existing parts are kept, so the same command resumes an
interrupted one, and `--part K/N` shares the work among N processes.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from inference_core.hand_model.load import load_open_hand
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.two_hand.configuration import Backbone
from inference_core.two_hand.dir import BACKBONES
from inference_core.two_hand.picture import normalised
from training.convert.backbone import load_pretrained
from training.data.sample import Sample
from training.feature_cache.from_clips import clip_samples
from training.feature_cache.from_stills import still_samples
from training.feature_cache.store import SetCard, open_set, write_part
from training.hand_crops.shards import scene_settings

STILLS_A_FILE = 32
_BATCH = 8
# Pictures without hands, which hand crops need not show: here a thing may have been taken for a hand.
_NO_HAND = 0.02


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=600, help="how many clips")
    parser.add_argument("--frames", type=int, default=24, help="frames per clip")
    parser.add_argument("--stills", type=int, default=400, help=f"how many files of {STILLS_A_FILE} stills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--backgrounds", type=int, default=256, help="number of backgrounds behind the stills"
    )
    parser.add_argument(
        "--backbone", choices=sorted(BACKBONES), default="palm", help="the backbone whose features are stored"
    )
    parser.add_argument("--part", default="0/1", help="K/N: every N-th part, from the K-th")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    make_set(
        options.out,
        _wanted(options),
        options.frames,
        options.seed,
        options.backgrounds,
        options.backbone,
    )


def make_set(
    out: Path,
    parts: list[tuple[str, int]],
    clip_frames: int,
    seed: int,
    backgrounds: int,
    backbone_name: Backbone = "palm",
) -> None:
    """Write the parts ("clip" or "still", number) that `out` does not hold yet.

    Raises SetError, and WeightsError if the frozen backbone has no weights.
    """
    scenes = replace(scene_settings(), no_hand=_NO_HAND, backgrounds=backgrounds)
    hand, networks, backbone = (
        load_open_hand().tensors(),
        load_landmark_networks(),
        BACKBONES[backbone_name]().eval(),
    )
    load_pretrained(backbone, backbone_name)
    open_set(out, SetCard(backbone_name, seed, clip_frames, asdict(scenes)))
    backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for kind, number in tqdm(parts, unit="file"):
        path = out / f"{kind}-{number:06d}.safetensors"
        if path.exists():
            continue
        if kind == "clip":
            sample = clip_samples(_clip_seed(seed, number), clip_frames, networks, scenes)
        else:
            sample = still_samples(scenes, hand, networks, seed, number * STILLS_A_FILE, STILLS_A_FILE)
        if sample is not None:
            write_part(path, replace(_bare(sample), levels=features(backbone, sample.image)))


def features(backbone: nn.Module, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The features that the refinement stages and the baseline read, of pictures (B, 3, 256, 256), RGB 0..1."""
    with torch.inference_mode():
        last = image.contiguous(memory_format=torch.channels_last)
        parts = [backbone(normalised(part))[1:] for part in last.split(_BATCH)]
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _bare(sample: Sample) -> Sample:
    """The sample without what is not stored: vertices follow from the rest, and maps are not trained here."""
    empty = sample.joints_rel_m[:, :, :0]
    mask = torch.zeros(sample.batch, 1, 1, dtype=torch.int64)
    return replace(sample, vertices_rel_m=empty, vertices_uv=empty[..., :2], side_mask=mask, dense=None)


def _clip_seed(seed: int, number: int) -> int:
    return seed * 1_000_000 + number


def _wanted(options: argparse.Namespace) -> list[tuple[str, int]]:
    part, of = (int(value) for value in options.part.split("/"))
    return list(_mixed(options.clips, options.stills))[part::of]


def _mixed(clips: int, stills: int) -> Iterator[tuple[str, int]]:
    """Both kinds alternating, two by two, so that an incomplete set holds some of each."""
    for start in range(0, max(clips, stills), 2):
        for kind, count in (("clip", clips), ("still", stills)):
            yield from ((kind, number) for number in range(start, min(start + 2, count)))
