# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a precomputed training set from synthetic clips and stills.

    python -m training.precomputed OUT --clips 600 --stills 400 [--part 0/2]

Each clip and each still file is a part of its own; those that are there already are left alone, so the same command
goes on where it was stopped, and `--part K/N` lets N processes share the work.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch
from tqdm import tqdm

from inference_core.errors import DuohandError
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_open_hand
from inference_core.landmarks.weights import load_landmark_networks
from inference_core.network.fitted_evidence import fitted, shape_of
from inference_core.network.palm_backbone import PalmBackbone
from inference_core.network.picture import normalised
from inference_core.network.records import CropEvidence
from training.augment import NO_AUGMENTATION, augmented
from training.evidence_noise import EvidenceNoise, degraded_evidence
from training.precomputed.from_clips import clip_samples
from training.precomputed.from_stills import still_samples
from training.precomputed.store import SetCard, open_set, write_part
from training.sample import Sample, concatenated
from training.synthetic.settings import Settings

# Each picture is also stored turned, scaled, shifted and flipped: a second look costs a fifth of a new one.
SECOND_LOOK = replace(NO_AUGMENTATION, scale=0.1, rotation_deg=30.0, shift_px=12.0, flip=1.0)
STILLS_A_FILE = 32
# Rows that get landmarks as good as those of real hands, drawn from the truth.
IMAGINED = 0.3
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
_BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=600, help="how many clips")
    parser.add_argument("--frames", type=int, default=24, help="frames a clip")
    parser.add_argument("--stills", type=int, default=400, help=f"how many files of {STILLS_A_FILE} stills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backgrounds", type=int, default=256, help="behind the stills")
    parser.add_argument("--part", default="0/1", help="K/N: every N-th part, from the K-th")
    options = parser.parse_args()
    try:
        make_set(options.out, _wanted(options), options.frames, options.seed, options.backgrounds)
    except DuohandError as error:
        sys.exit(f"error: {error}")


def make_set(out: Path, parts: list[tuple[str, int]], clip_frames: int, seed: int, backgrounds: int) -> None:
    """Writes the parts ("clip" or "still", number) that `out` does not hold yet. Raises SetError."""
    scenes = Settings(vertices=False, backgrounds=backgrounds, supersample=1)
    open_set(out, SetCard("palm", seed, clip_frames, asdict(scenes)))
    hand, networks, backbone = load_open_hand(), load_landmark_networks(), PalmBackbone().eval()
    backbone.load_detector()
    model = hand.to(dtype=torch.float64)
    for kind, number in tqdm(parts, unit="file"):
        path = out / f"{kind}-{number:06d}.safetensors"
        if path.exists():
            continue
        if kind == "clip":
            sample = clip_samples(_clip_seed(seed, number), clip_frames, networks, scenes)
        else:
            sample = still_samples(scenes, hand, networks, seed, number * STILLS_A_FILE, STILLS_A_FILE)
        if sample is not None:
            generator = torch.Generator().manual_seed(_clip_seed(seed, number))
            looks = [_bare(sample), augmented(_bare(sample), SECOND_LOOK, generator)]
            whole = concatenated([with_fitted_evidence(look, model, generator) for look in looks])
            write_part(path, replace(whole, levels=features(backbone, whole.image)))


def with_fitted_evidence(sample: Sample, model: HandModel, generator: torch.Generator) -> Sample:
    """The sample with the hand model fitted to its landmarks; to imagined ones in some rows.

    The landmark networks do better on real hands than on rendered ones: rows with good landmarks are part of what a
    network must know. model: float64.
    """
    assert sample.evidence is not None
    better = degraded_evidence(replace(sample, evidence=None), AS_ON_REAL_HANDS, generator)
    chosen = torch.rand(sample.batch, generator=generator) < IMAGINED
    columns = zip(better.tensors, sample.evidence.tensors, strict=True)
    mixed = CropEvidence(
        *(torch.where(chosen.reshape(-1, *[1] * (one.ndim - 1)), one, other) for one, other in columns)
    )
    return replace(sample, evidence=fitted(mixed, shape_of(mixed, model)))


def features(backbone: PalmBackbone, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The features that the refinement stages and the baseline read, of pictures (B, 3, 256, 256), RGB 0..1."""
    with torch.inference_mode():
        parts = [backbone(normalised(part))[1:] for part in image.split(_BATCH)]
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _bare(sample: Sample) -> Sample:
    """The sample without what is not stored: vertices follow from the rest, and maps are not learnt here."""
    empty = sample.joints_rel_m[:, :, :0]
    mask = torch.zeros(sample.batch, 1, 1, dtype=torch.int64)
    return replace(sample, vertices_rel_m=empty, vertices_uv=empty[..., :2], side_mask=mask, dense=None)


def _clip_seed(seed: int, number: int) -> int:
    return seed * 1_000_000 + number


def _wanted(options: argparse.Namespace) -> list[tuple[str, int]]:
    part, of = (int(value) for value in options.part.split("/"))
    return list(_mixed(options.clips, options.stills))[part::of]


def _mixed(clips: int, stills: int) -> Iterator[tuple[str, int]]:
    """Both kinds in turns, two by two, so that a set that was cut short holds some of each."""
    for start in range(0, max(clips, stills), 2):
        for kind, count in (("clip", clips), ("still", stills)):
            yield from ((kind, number) for number in range(start, min(start + 2, count)))


if __name__ == "__main__":
    main()
