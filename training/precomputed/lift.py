# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives a precomputed set the evidence that the network will see: read by a hand lifter, then fitted.

    python -m training.precomputed.lift SET LIFTER [--part 0/2]

LIFTER: a file, or a folder that `training.hand_lifter` wrote. SET/lifted holds the evidence of each file of the set,
and the lifter, which goes with the weights that are trained on it. Goes on where it was stopped; another lifter starts
anew.
"""

import argparse
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from inference_core.errors import DuohandError
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_open_hand
from inference_core.landmarks.weights import load_landmark_networks
from inference_core.network.fitted_evidence import fitted, for_lifted, shape_of
from inference_core.network.hand_lifter import LIFTER_FILE, Lifter, lifted, load_lifter
from inference_core.network.hand_looks import HandLooks
from inference_core.network.look_again import hands_in_looks
from inference_core.network.records import CropEvidence
from inference_core.network.shot_evidence import SEEN_SCORE
from training.evidence_noise import EvidenceNoise, degraded_evidence
from training.precomputed.store import LIFTED, read_raw, write_lifted
from training.sample import Sample

_BATCH = 64
# Rows that get landmarks drawn about the truth instead, as good as those of plain real hands: the networks do better on
# them than on rendered ones, and such rows are part of what a network must know.
IMAGINED = 0.2
AS_ON_REAL_HANDS = EvidenceNoise(
    dropped=0.0,
    lost=0.05,
    shift=0.008,
    joint=0.009,
    finger_off=0.05,
    tilt_rad=0.12,
    world_joint_m=0.005,
    flatten=0.12,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("set", type=Path)
    parser.add_argument("lifter", type=Path)
    parser.add_argument("--part", default="0/1", help="K/N: every N-th file, from the K-th")
    options = parser.parse_args()
    part, of = (int(value) for value in options.part.split("/"))
    try:
        lift_set(options.set, options.lifter, part, of)
    except DuohandError as error:
        sys.exit(f"error: {error}")


def lift_set(folder: Path, lifter: Path, part: int = 0, of: int = 1) -> None:
    """Writes folder/lifted, or a part of it. Raises SetError, and WeightsError for a damaged lifter."""
    lifter = lifter / LIFTER_FILE if lifter.is_dir() else lifter
    reader = Lifter(load_lifter(lifter), load_landmark_networks().landmark)
    model = load_open_hand().to(dtype=torch.float64)
    out = folder / LIFTED
    if (out / LIFTER_FILE).exists() and (out / LIFTER_FILE).read_bytes() != lifter.read_bytes():
        _taken_away(out)
    out.mkdir(exist_ok=True)
    if not (out / LIFTER_FILE).exists():
        shutil.copyfile(lifter, out / LIFTER_FILE)
    for path in tqdm(sorted(folder.glob("*.safetensors"))[part::of], unit="file"):
        if not (out / path.name).exists():
            generator = torch.Generator().manual_seed(int(path.stem.rsplit("-", 1)[1]))
            evidence = lifted_evidence(read_raw(folder, path), reader, model, generator)
            write_lifted(folder, path, evidence)


def _taken_away(folder: Path) -> None:
    """Deletes a folder, which another process may be doing just now as well."""
    aside = folder.with_name(f"{folder.name}-{os.getpid()}")
    try:
        folder.rename(aside)
    except FileNotFoundError:
        return
    shutil.rmtree(aside)


def lifted_evidence(
    found: Sample, lifter: Lifter, model: HandModel, generator: torch.Generator
) -> CropEvidence:
    """The evidence of one file's samples, taken for one shot, as the predictor makes it. model: float64."""
    assert found.evidence is not None and found.looks is not None
    better = degraded_evidence(replace(found, evidence=None), AS_ON_REAL_HANDS, generator)
    chosen = torch.rand(found.batch, generator=generator) < IMAGINED
    read = lifted(found_again(found.evidence, found.looks, lifter), found.looks, lifter.network)
    columns = zip(better.tensors, read.tensors, strict=True)
    mixed = CropEvidence(
        *(torch.where(chosen.reshape(-1, *[1] * (one.ndim - 1)), one, other) for one, other in columns)
    )
    return fitted(mixed, for_lifted(shape_of(found.evidence, model), model))


def found_again(evidence: CropEvidence, looks: HandLooks, lifter: Lifter) -> CropEvidence:
    """The evidence with hands that only the frames around told of as seen ones where they are in their looks after all,
    as a shot's second look has it (`inference_core.network.look_again`).
    """
    rows = ((evidence.hand_score > 0) & (evidence.hand_score < SEEN_SCORE)).nonzero()
    score, landmark_score = evidence.hand_score.clone(), evidence.landmark_score.clone()
    for part in rows.split(_BATCH):
        of, side = part.unbind(1)
        presence, _ = hands_in_looks(looks.features[of, side].float(), lifter)
        again = presence >= SEEN_SCORE
        score[of[again], side[again]] = presence[again]
        landmark_score[of[again], side[again]] = presence[again, None]
    return replace(evidence, hand_score=score, landmark_score=landmark_score)


if __name__ == "__main__":
    main()
