# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the hand head on the hand crops of a precomputed set.

    python -m training.trainer.landmark_head SET OUT [--steps 3000]

Starts from the landmark network's weights. The same command goes on where it was stopped; OUT/landmark_head.safetensors
is the averaged network at the end of each minute.
"""

import argparse
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from inference_core.landmarks.landmark_head import HEAD_FILE, LandmarkHead, RefinedLandmarks
from inference_core.landmarks.weights import load_landmark_networks
from inference_core.shared.errors import DuohandError
from training.feature_cache.hand_crops import LOOKS, LookSet
from training.feature_cache.source import held_out_paths, training_paths
from training.feature_cache.store import write_columns
from training.trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

_BATCH = 64
_RATE, _RATE_OF_TAUGHT = 5e-4, 2e-4
_DECAY, _AVERAGE = 0.02, 0.999
_WARM_UP_STEPS = 200
_SAVED_EVERY_S = 60.0
# Metres to the unit of points, about: a hand fills half of its look.
_WORLD_GAIN = 8.0
_SIGMA_WEIGHT, _SIDE_WEIGHT = 0.02, 0.15
# A look moved by a cell of its features is nearly the look moved by as many pixels.
_CELL = 2 / 14
_MOVED = 0.5


@dataclass
class _Run:
    head: LandmarkHead
    average: LandmarkHead
    optimiser: torch.optim.AdamW
    step: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("set", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=3000, help=f"of {_BATCH} hand_crops")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    try:
        train(options.set, options.out, options.steps, options.seed, torch.device(options.device))
    except DuohandError as error:
        sys.exit(f"error: {error}")


def train(folder: Path, out: Path, steps: int, seed: int, device: torch.device) -> LandmarkHead:
    """The averaged head after `steps` steps in all. Raises SetError, and CheckpointError for another run's folder."""
    hand_crops = LookSet(folder, training_paths(folder) + training_paths(folder / LOOKS))
    held_out = LookSet(folder, held_out_paths(folder) + held_out_paths(folder / LOOKS))
    out.mkdir(parents=True, exist_ok=True)
    run = _started(out, seed, device)
    generator = torch.Generator().manual_seed(seed + run.step)
    saved_s = time.monotonic()
    for _ in tqdm(range(run.step, steps), total=steps, initial=run.step, unit="step"):
        _step(run, hand_crops, generator, steps, device)
        if time.monotonic() - saved_s > _SAVED_EVERY_S or run.step == steps:
            saved_s = time.monotonic()
            _save(run, out, seed)
            tqdm.write(f"step {run.step}: {told(run.average, held_out, device)}")
    return run.average.eval()


def errors_mm(
    head: LandmarkHead, hand_crops: LookSet, device: torch.device, most: int = 1500
) -> dict[str, Tensor]:
    """(N,) errors of up to `most` looks, evenly over the set: wrist root, scale of the truth; of the points, in the
    look's half side; and whether the side is told rightly.
    """
    rows = torch.linspace(0, len(hand_crops) - 1, min(most, len(hand_crops))).long()
    head.eval()
    with torch.inference_mode():
        parts = [head(hand_crops.features(part).to(device)) for part in rows.split(_BATCH)]
    world, points, right = (
        torch.cat([getattr(part, name) for part in parts]).cpu() for name in ("world_m", "points", "right")
    )
    found, true = (value - value[:, :1] for value in (world, hand_crops.world_m[rows]))
    scale = true[:, 9].norm(dim=-1) / found[:, 9].norm(dim=-1).clamp(min=1e-6)
    return {
        "world": (found * scale[:, None, None] - true).norm(dim=-1).mean(-1) * 1000,
        "points": (points - hand_crops.points[rows]).norm(dim=-1).mean(-1),
        "side": ((right > 0) == hand_crops.right[rows]).float(),
        "seen": hand_crops.seen[rows],
        "right": hand_crops.right[rows],
    }


def told(head: LandmarkHead, hand_crops: LookSet, device: torch.device) -> str:
    """Errors of held-out hand crops in a line."""
    errors = errors_mm(head, hand_crops, device)
    seen, right = errors["seen"], errors["right"]
    parts = [
        f"{name}: world {errors['world'][mask].mean():.1f} mm, points {errors['points'][mask].mean():.3f}, "
        f"side {errors['side'][mask].mean():.3f}"
        for name, mask in (("seen", seen & right), ("lost", ~seen & right))
    ]
    return "; ".join([*parts, f"wrong way: side {errors['side'][~right].mean():.3f}"])


def loss(refined: RefinedLandmarks, points: Tensor, world_m: Tensor, right: Tensor) -> Tensor:
    """Of right hands (N,) bool the mean distance of points and of centred world landmarks, and the likelihood of those
    errors (Laplace); of all hand crops the side's.
    """
    off = (refined.points - points).norm(dim=-1)
    off_m = (refined.world_m - world_m).norm(dim=-1)
    errors = torch.stack([off, off_m], -1)
    likelihood = (errors.detach() / refined.log_sigma.exp() + refined.log_sigma).mean((1, 2))
    of_hand = off.mean(1) + _WORLD_GAIN * off_m.mean(1) + _SIGMA_WEIGHT * likelihood
    of_side = torch.nn.functional.softplus(torch.where(right, -refined.right, refined.right))
    # Both sides count alike, however few hand crops are mirrored the wrong way.
    sides = sum((of_side * mask).sum() / mask.sum().clamp(min=1) for mask in (right, ~right))
    return (of_hand * right).sum() / right.sum().clamp(min=1) + _SIDE_WEIGHT * sides


def moved(features: Tensor, points: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Half of the batch moved by up to a cell each way, the border repeated."""
    padded = torch.nn.functional.pad(features, (1, 1, 1, 1), mode="replicate")
    size = features.shape[-1]
    by = torch.randint(-1, 2, (2,), generator=generator)
    chosen = torch.rand(len(features), generator=generator) < _MOVED
    x, y = 1 - int(by[0]), 1 - int(by[1])
    shifted = padded[:, :, y : y + size, x : x + size]
    features = torch.where(chosen[:, None, None, None], shifted, features)
    return features, points + chosen[:, None, None] * by * _CELL


def _step(
    run: _Run, hand_crops: LookSet, generator: torch.Generator, steps: int, device: torch.device
) -> None:
    rows = torch.randint(len(hand_crops), (_BATCH,), generator=generator)
    features, points = moved(hand_crops.features(rows), hand_crops.points[rows], generator)
    features = features.to(device).contiguous(memory_format=torch.channels_last)
    run.head.train()
    truth = (points, hand_crops.world_m[rows], hand_crops.right[rows])
    value = loss(run.head(features), *(values.to(device) for values in truth))
    warm = min(1.0, (run.step + 1) / min(_WARM_UP_STEPS, 1 + steps / 10))
    rate = warm * 0.5 * (1 + math.cos(math.pi * run.step / steps))
    for group in run.optimiser.param_groups:
        group["lr"] = group["full_lr"] * max(rate, 1e-3)
    run.optimiser.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.head.parameters(), 1.0)
    run.optimiser.step()
    run.step += 1
    share = min(_AVERAGE, run.step / (run.step + 10))
    with torch.no_grad():
        for mean, own in zip(run.average.parameters(), run.head.parameters(), strict=True):
            mean.lerp_(own, 1 - share)


def _started(out: Path, seed: int, device: torch.device) -> _Run:
    head, average = (LandmarkHead().to(device, memory_format=torch.channels_last) for _ in range(2))  # type: ignore[call-overload]
    head.start_from(load_landmark_networks().landmark)
    average.load_state_dict(head.state_dict())
    fresh = [*head.correction.parameters()]
    known = {id(parameter) for parameter in fresh}
    taught = [parameter for parameter in head.parameters() if id(parameter) not in known]
    groups = [
        {"params": fresh, "lr": _RATE, "full_lr": _RATE},
        {"params": taught, "lr": _RATE_OF_TAUGHT, "full_lr": _RATE_OF_TAUGHT},
    ]
    run = _Run(head, average, torch.optim.AdamW(groups, weight_decay=_DECAY))
    stored = load_checkpoint(out, _experiment(seed))
    if stored is not None:
        run.head.load_state_dict(stored.network)
        run.average.load_state_dict(stored.average)
        run.optimiser.load_state_dict(stored.optimiser)
        run.step = stored.step
    return run


def _save(run: _Run, out: Path, seed: int) -> None:
    average = run.average.state_dict()
    state = Checkpoint(
        experiment=_experiment(seed),
        step=run.step,
        elapsed_s=0.0,
        samples=run.step * _BATCH,
        network=run.head.state_dict(),
        average=average,
        optimiser=run.optimiser.state_dict(),
        rng={},
    )
    save_checkpoint(state, out)
    write_columns(out / HEAD_FILE, {name: value.half() for name, value in average.items()})


def _experiment(seed: int) -> dict[str, Any]:
    """What a checkpoint must agree in."""
    return {"name": "hand head", "seed": seed}


if __name__ == "__main__":
    main()
