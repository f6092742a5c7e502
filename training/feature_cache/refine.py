# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives a feature cache its final conditioning: read by the landmark head, then fitted.

    python -m training cache refine SET HEAD [--part 0/2]

HEAD: a file, or the folder of a run of the landmark head. SET/refined holds the conditioning of each file
of the set, and a copy of the head, which accompanies the weights trained on it. An interrupted run is
resumed; another head starts over.
"""

import argparse
import os
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from inference_core.fitting.initial_fit import fitted, for_refined, shape_of
from inference_core.geometry.homography import mapped
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_open_hand
from inference_core.landmarks.crop_readings import RefinedLandmarks
from inference_core.landmarks.formats import HEAD_FILE
from inference_core.landmarks.hand_crops import Features
from inference_core.landmarks.head_reader import HeadCall, HeadWithLandmarks, in_frame
from inference_core.landmarks.landmark_head import HeadGraph, LandmarkHead, load_head
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.tracking.expected_hands import SEEN_SCORE
from inference_core.tracking.recover import hands_in_crops
from inference_core.two_hand.records import Conditioning
from training.data.conditioning_noise import ConditioningNoise, degraded_conditioning
from training.data.hand_crops import HandCrops
from training.data.sample import Sample
from training.feature_cache.store import REFINED, read_raw, write_refined

_BATCH = 64
# Rows whose landmarks are drawn around the truth instead, as accurate as those of plain real hands: the
# networks do better on these than on rendered ones, and a network must know such rows. So are those of most rows with
# a hand that one look at one picture misses: trackers find nearly all of these, by other frames, squares and hands.
IMAGINED, IMAGINED_OF_MISSED = 0.2, 0.6
AS_ON_REAL_HANDS = ConditioningNoise(
    dropped=0.0,
    lost=0.05,
    shift=0.008,
    joint=0.009,
    finger_off=0.05,
    tilt_rad=0.12,
    world_joint_m=0.005,
    flatten=0.12,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("set", type=Path)
    parser.add_argument("head", type=Path)
    parser.add_argument("--part", default="0/1", help="K/N: every N-th file, from the K-th")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    part, of = (int(value) for value in options.part.split("/"))
    refine_set(options.set, options.head, part, of)


def refine_set(folder: Path, head: Path, part: int = 0, of: int = 1) -> None:
    """Write folder/refined, or a part of it. Raises SetError, and WeightsError for a damaged head."""
    head = head / HEAD_FILE if head.is_dir() else head
    reader = HeadWithLandmarks(on_arrays(load_head(head)), load_landmark_networks)
    model = load_open_hand()
    out = folder / REFINED
    if (out / HEAD_FILE).exists() and (out / HEAD_FILE).read_bytes() != head.read_bytes():
        _taken_away(out)
    out.mkdir(exist_ok=True)
    if not (out / HEAD_FILE).exists():
        shutil.copyfile(head, out / HEAD_FILE)
    for path in tqdm(sorted(folder.glob("*.safetensors"))[part::of], unit="file"):
        if not (out / path.name).exists():
            generator = torch.Generator().manual_seed(int(path.stem.rsplit("-", 1)[1]))
            conditioning = refined_conditioning(read_raw(folder, path), reader, model, generator)
            write_refined(folder, path, conditioning)


def on_arrays(head: LandmarkHead) -> HeadCall:
    """The head as a capture calls it, with arrays."""
    graph = HeadGraph(head)

    @torch.inference_mode()
    def read(features: Features) -> RefinedLandmarks:
        parts = [graph(part) for part in torch.from_numpy(features).split(_BATCH)]
        return RefinedLandmarks(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))

    return read


def _taken_away(folder: Path) -> None:
    """Delete a folder that another process may be deleting at the same time."""
    aside = folder.with_name(f"{folder.name}-{os.getpid()}")
    try:
        folder.rename(aside)
    except FileNotFoundError:
        return
    shutil.rmtree(aside)


def refined_conditioning(
    found: Sample, head: HeadWithLandmarks, model: HandModel, generator: torch.Generator
) -> Conditioning:
    """The conditioning of one file's samples, treated as one shot, as by the predictor."""
    assert found.conditioning is not None and found.hand_crops is not None
    better = degraded_conditioning(replace(found, conditioning=None), AS_ON_REAL_HANDS, generator)
    again = found_again(found.conditioning, found.hand_crops, head)
    read = refined(again, found.hand_crops, head.network)
    missed = (found.present & (again.hand_score < SEEN_SCORE)).any(1)
    share = torch.where(missed, IMAGINED_OF_MISSED, IMAGINED)
    chosen = torch.rand(found.batch, generator=generator) < share
    columns = zip(better.arrays, read.arrays, strict=True)
    mixed = Conditioning(
        *(torch.where(chosen.reshape(-1, *[1] * (one.ndim - 1)), one, other) for one, other in columns)
    )
    shape = for_refined(shape_of(found.conditioning.map(Tensor.numpy), model), model)
    return fitted(mixed.map(Tensor.numpy), shape).map(torch.from_numpy)


def refined(conditioning: Conditioning, hand_crops: HandCrops, head: HeadCall) -> Conditioning:
    """The conditioning with the head's landmarks and world landmarks for every known hand that has a crop.

    A landmark's score falls with its expected error, to less than the hand's score in the conditioning.
    """
    chosen = (hand_crops.crops[..., 2] > 0) & (conditioning.hand_score > 0)
    rows, sides = (values.cpu() for values in chosen.nonzero(as_tuple=True))
    if not len(rows):
        return conditioning
    crops = hand_crops.crops[rows, sides].double().numpy()
    read = head(hand_crops.features[rows, sides].float().numpy())
    points_px, world_m, trust = in_frame(read, crops, sides.numpy())
    score = trust * conditioning.hand_score[rows, sides].double().numpy()[:, None]
    known = {
        "landmarks_uv": mapped(points_px, hand_crops.uv_from_px[rows].double().numpy()),
        "world_rel_m": world_m - world_m[:, :1],
        "landmark_score": score,
        "hand_score": score.mean(-1),
    }
    filled: dict[str, torch.Tensor] = {}
    for name, values in known.items():
        column = getattr(conditioning, name).clone()
        column[rows, sides] = torch.from_numpy(values).to(column)
        filled[name] = column
    return replace(conditioning, **filled)


def found_again(conditioning: Conditioning, hand_crops: HandCrops, head: HeadWithLandmarks) -> Conditioning:
    """The conditioning with interpolated hands marked as seen if their crops show them.

    Recovery does the same in a shot (`inference_core.tracking.recover`).
    """
    rows = ((conditioning.hand_score > 0) & (conditioning.hand_score < SEEN_SCORE)).nonzero()
    score, landmark_score = conditioning.hand_score.clone(), conditioning.landmark_score.clone()
    for part in rows.split(_BATCH):
        of, side = part.unbind(1)
        presence = torch.from_numpy(hands_in_crops(hand_crops.features[of, side].float().numpy(), head)[0])
        again = presence >= SEEN_SCORE
        score[of[again], side[again]] = presence[again]
        landmark_score[of[again], side[again]] = presence[again, None]
    return replace(conditioning, hand_score=score, landmark_score=landmark_score)
