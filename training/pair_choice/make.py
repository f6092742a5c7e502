# SPDX-License-Identifier: GPL-3.0-or-later
"""Searches rendered stills as a capture does, for the choice of both hands, shard by shard.

    python -m training generate pair-choices OUT --shards 20 [--seed 1]

A shard holds what the pairs of readings in STILLS_A_SHARD stills tell, and which of them are right. Existing shards are
kept, so the same command resumes an interrupted one.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tqdm import tqdm

from inference_core.chosen_network import choose_network
from inference_core.detection import detect
from inference_core.footage.records import Frame, footage_of_frames
from inference_core.hand_model.load import load_hand_model
from inference_core.run import ChosenNetwork
from inference_core.shared.presence import SEEN
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.stages import track
from inference_core.tracking.pair_choice import pairs_of, told_by_pairs
from inference_core.tracking.pair_search import contrary_to, search
from training.evaluation.clips import silent_run
from training.pair_choice.stills import stills
from training.synthetic.touching.stills import Still

STILLS_A_SHARD = 40
TOLD, OFF, COUNT = "told", "off", "count"
# A reading is right if its landmarks are on average within this share of the hand's box's diagonal.
_RIGHT = 0.25

Floats = NDArray[np.float64]


class Searched(NamedTuple):
    """What P pairs of readings tell, told (P, F), and how far right ones are from both hands, off (P,): shares of their
    boxes, infinite for wrong ones.
    """

    told: Floats
    off: Floats


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path)
    parser.add_argument("--shards", type=int, default=20, help=f"of {STILLS_A_SHARD} stills each")
    parser.add_argument("--seed", type=int, default=1)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    network = choose_network("auto", load_hand_model(), "cpu")
    for number in tqdm(range(options.shards), unit="shard"):
        path = options.out / f"pairs-{options.seed}-{number:06d}.safetensors"
        if not path.exists():
            shown = stills(options.seed, number * STILLS_A_SHARD, STILLS_A_SHARD)
            write_searches(path, [one for still in shown if (one := searched(still, network)) is not None])


def write_searches(path: Path, searches: list[Searched]) -> None:
    """A shard of them."""
    columns = {
        TOLD: torch.from_numpy(np.concatenate([one.told for one in searches])).float(),
        OFF: torch.from_numpy(np.concatenate([one.off for one in searches])).float(),
        COUNT: torch.tensor([len(one.off) for one in searches]),
    }
    save_file(columns, path)


def searched(still: Still, network: ChosenNetwork | None) -> Searched | None:
    """The search of a still about the hands that are found first; None if it finds no pair of readings."""
    footage = footage_of_frames([Frame(0, 0.0, still.image)], 24.0)
    run = silent_run(footage, still.camera, load_hand_model(), network)
    assert run.head is not None
    tracks = track(run, detect(run)).tracks
    assert tracks is not None
    known = tracks.present[0] == SEEN
    known_px = tracks.landmarks_px[0, known, :, :2].astype(np.float64)
    read = search(still.image, run.head, known_px, "picture")
    if read is None or not len(pairs := pairs_of(read)):
        return None
    told = told_by_pairs(read, pairs, contrary_to(read, known_px, np.flatnonzero(known)))
    return Searched(told, off_truth(read.points_px[pairs], still))


def off_truth(pairs_px: Floats, still: Still) -> Floats:
    """(P,) how far pairs (P, S, 21, 2) are from both hands of the still, in all; infinite if one is wrong."""
    apart = np.linalg.norm(pairs_px[:, :, None] - still.joints_px, axis=-1).mean(-1) / still.lengths_px
    straight, crossed = apart[:, [LEFT, RIGHT], [LEFT, RIGHT]], apart[:, [LEFT, RIGHT], [RIGHT, LEFT]]
    right = (straight < _RIGHT).all(1) & (straight.sum(1) <= crossed.sum(1)) & still.shown.all()
    return np.where(right, straight.sum(1), np.inf)
