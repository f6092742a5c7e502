# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the landmark networks are off on synthetic clips, beside what training's degraded evidence draws.

    python -m tests.benchmarks.evidence [--clips 4] [--frames 60]

Errors of landmarks that are there: shares of the hand's diagonal in the picture, and metres after the best turn.
"""

import argparse
import json

import numpy as np
import torch

from inference_core.evidence import SEEN
from inference_core.geometry.rigid import fit_rigid
from inference_core.hand_model.load import load_hand_model
from inference_core.landmarks.shot import detect_shot
from inference_core.landmarks.weights import load_landmark_networks
from inference_core.tracks import build_tracks
from training.clips import CLIP_SEED, clip_frames
from training.evidence_noise import EvidenceNoise, degraded_evidence
from training.metrics import overlap
from training.synthetic.sequence import generate_sequence
from training.synthetic.settings import Settings
from training.synthetic_source import held_out_samples


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--backgrounds", type=int, default=8)
    arguments = parser.parse_args()
    scenes = Settings(backgrounds=arguments.backgrounds)
    rows = {
        "found": found_in_clips(arguments.clips, arguments.frames, scenes),
        "drawn": drawn(arguments.samples, scenes),
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


def drawn(count: int, scenes: Settings) -> dict[str, float]:
    """The degradation on held-out stills, evidence never dropped altogether."""
    sample = held_out_samples(scenes, load_hand_model(), count, torch.device("cpu"))
    noise = EvidenceNoise(dropped=0.0)
    evidence = degraded_evidence(sample, noise, torch.Generator().manual_seed(0))
    assert sample.landmarks_uv is not None and sample.landmarks_rel_m is not None
    seen = (evidence.hand_score > 0) & sample.present
    shared = overlap(sample.joints_uv, sample.present)
    truth_m, found_m = sample.landmarks_rel_m, evidence.world_rel_m
    return measured(
        sample.landmarks_uv, evidence.landmarks_uv, truth_m, found_m, seen, sample.present, shared
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
    """Both kinds' numbers, alike."""
    size = (truth_px.amax(2) - truth_px.amin(2)).norm(dim=-1)
    error = (truth_px - found_px).norm(dim=-1).mean(-1) / size
    turned = fit_rigid(world_m.double(), truth_m.double()).apply(world_m.double())
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
        "lost, apart (share)": share(~seen, pair & ~near),
        "lost, overlapping (share)": share(~seen, pair & near),
    }


if __name__ == "__main__":
    main()
