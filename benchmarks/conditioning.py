# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the landmark networks are off on synthetic clips, beside what training's degraded conditioning draws.

    python -m benchmarks.conditioning [--clips 4] [--frames 60]
    python -m benchmarks.conditioning --set SET

The second compares the conditioning of a feature cache's clips, read by the landmark head and fitted, with AS_FITTED.

Errors of landmarks that are there: shares of the hand's diagonal in the picture; metres after the best turn, and that
turn itself.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from inference_core.geometry.rigid import fit_rigid
from inference_core.geometry.rotations import log
from inference_core.hand_model.load import load_hand_model
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.shared.presence import SEEN
from inference_core.tracking.assign import build_tracks
from inference_core.tracking.detect import detect_shot
from inference_core.tracking.expected_hands import SEEN_SCORE
from inference_core.two_hand.records import Conditioning
from training.data.conditioning_noise import AS_FITTED, ConditioningNoise, degraded_conditioning
from training.data.sample import Sample, overlap
from training.data.synthetic_source import validation_samples
from training.evaluation.clips import CLIP_SEED, clip_frames
from training.feature_cache.store import StoredSet
from training.synthetic.sequence import generate_sequence
from training.synthetic.settings import Settings

_EVERY_CLIP = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--backgrounds", type=int, default=8)
    parser.add_argument("--set", type=Path, help="a feature cache with refined conditioning")
    arguments = parser.parse_args()
    scenes = Settings(backgrounds=arguments.backgrounds)
    if arguments.set is not None:
        stored = StoredSet(arguments.set, sorted(arguments.set.glob("clip-*.safetensors"))[::_EVERY_CLIP])
        sample = stored.rows(torch.arange(len(stored)), fine=False)
        rows = {"found": of_conditioning(sample, sample.conditioning), "drawn": drawn(sample, AS_FITTED)}
    else:
        sample = validation_samples(
            scenes, load_hand_model().tensors(), arguments.samples, torch.device("cpu")
        )
        rows = {
            "found": found_in_clips(arguments.clips, arguments.frames, scenes),
            "drawn": drawn(sample, ConditioningNoise()),
        }
    for name in rows["found"]:
        print(f"{name:46} found {rows['found'][name]:8.4f}   drawn {rows['drawn'][name]:8.4f}")
    print(json.dumps(rows))


def found_in_clips(clips: int, frames: int, scenes: Settings) -> dict[str, float]:
    """The networks and tracks on rendered clips."""
    networks = load_landmark_networks()
    parts: list[tuple[torch.Tensor, ...]] = []
    for k in range(clips):
        clip = generate_sequence(CLIP_SEED + 1000 + k, frames, settings=scenes)
        tracks = build_tracks(detect_shot(clip_frames(clip), networks))
        truth_m = clip.landmarks_cam_m
        truth_h = truth_m @ clip.K.mT
        truth_px = truth_h[..., :2] / truth_h[..., 2:]
        seen = torch.from_numpy(tracks.present == SEEN) & clip.present
        found_px = torch.from_numpy(np.nan_to_num(tracks.landmarks_px[..., :2]))
        world_m = torch.from_numpy(np.nan_to_num(tracks.world_m))
        shared = overlap(clip.joints_px, clip.present)
        parts.append((truth_px, found_px, truth_m, world_m, seen, clip.present, shared))
    return measured(*(torch.cat(column) for column in zip(*parts, strict=True)))


def drawn(sample: Sample, noise: ConditioningNoise) -> dict[str, float]:
    """The degradation of a sample's true landmarks, never dropped altogether."""
    bare = replace(sample, conditioning=None)
    generator = torch.Generator().manual_seed(0)
    return of_conditioning(sample, degraded_conditioning(bare, replace(noise, dropped=0.0), generator))


def of_conditioning(sample: Sample, conditioning: Conditioning | None) -> dict[str, float]:
    """Conditioning of hands beside the truth."""
    assert conditioning is not None and sample.landmarks_uv is not None and sample.landmarks_rel_m is not None
    return measured(
        sample.landmarks_uv,
        conditioning.landmarks_uv,
        sample.landmarks_rel_m,
        conditioning.world_rel_m,
        (conditioning.hand_score >= SEEN_SCORE) & sample.present,
        sample.present,
        overlap(sample.joints_uv, sample.present),
    )


def measured(
    truth_px: torch.Tensor,
    found_px: torch.Tensor,
    truth_m: torch.Tensor,
    world_m: torch.Tensor,
    seen: torch.Tensor,
    present: torch.Tensor,
    shared: torch.Tensor,
) -> dict[str, float]:
    """The same figures for both kinds."""
    size = (truth_px.amax(2) - truth_px.amin(2)).norm(dim=-1)
    error = (truth_px - found_px).norm(dim=-1).mean(-1) / size
    best = fit_rigid(world_m.double(), truth_m.double())
    turned = best.apply(world_m.double())
    tilt = log(best.rotation).norm(dim=-1)
    world_error = (turned - truth_m).norm(dim=-1).mean(-1)
    near = (shared >= 0.1)[:, None].expand_as(seen)
    pair = present.all(1)[:, None].expand_as(seen)

    def middle(values: torch.Tensor, mask: torch.Tensor) -> float:
        return float(values[mask].median()) if bool(mask.any()) else float("nan")

    def share(values: torch.Tensor, mask: torch.Tensor) -> float:
        return float(values[mask].float().mean()) if bool(mask.any()) else float("nan")

    return {
        "2D error, apart (median, of the diagonal)": middle(error, seen & ~near),
        "2D error, overlapping (median)": middle(error, seen & near),
        "2D error over a quarter, apart (share)": share(error > 0.25, seen & ~near),
        "2D error over a quarter, overlapping (share)": share(error > 0.25, seen & near),
        "world error, apart (median, m)": middle(world_error, seen & ~near),
        "world error, overlapping (median, m)": middle(world_error, seen & near),
        "turn, apart (median, rad)": middle(tilt, seen & ~near),
        "turn, overlapping (median, rad)": middle(tilt, seen & near),
        "lost, apart (share)": share(~seen, pair & ~near),
        "lost, overlapping (share)": share(~seen, pair & near),
    }


if __name__ == "__main__":
    main()
