# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the landmark head on hand crops.

    python -m training.hand_crops CROPS
    python -m training.trainer.landmark_head CROPS OUT [--steps 4000] [--minutes 60] [--start-from WEIGHTS]

Starts from the landmark network's weights, or from those of a head. Shards that appear in CROPS while it runs are taken
in. The same command goes on where it was stopped; OUT/landmark_head.safetensors is the averaged network at the end of
each minute.
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

from inference_core.landmarks.landmark_head import HEAD_FILE, LandmarkHead, RefinedLandmarks, load_head
from inference_core.landmarks.weights import load_landmark_network
from inference_core.shared.errors import DuohandError
from training.feature_cache.store import write_columns
from training.hand_crops.made import TOUCHING_M
from training.hand_crops.shards import CropSet, training_shards, validation_shards
from training.trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

_BATCH = 64
# Of the new layers, of those that the landmark network brings, and of both where a taught head is gone on with.
_RATE, _RATE_OF_TAUGHT, _RATE_OF_HEAD = 5e-4, 2e-4, 1.5e-4
_DECAY, _AVERAGE = 0.02, 0.999
_WARM_UP_STEPS = 200
_SAVED_EVERY_S, _TOLD_EVERY_S = 60.0, 300.0
_TOLD_CROPS = 900
# Metres to the unit of points, about: a hand fills half of its crop.
_WORLD_GAIN = 8.0
_SIGMA_WEIGHT, _SIDE_WEIGHT = 0.02, 0.15
# Landmarks that are not sure where they are draw together, and hands that are read small are put too far away: so the
# size of the whole counts by itself.
_SIZE_WEIGHT = 0.5
# A crop moved by a cell of its features is nearly the crop moved by as many pixels.
_CELL = 2 / 14
_MOVED = 0.3


@dataclass(frozen=True)
class Settings:
    """steps, minutes: of training over all runs, whichever ends first; the rate falls to nothing by then.
    start_from: a head's weights. batch: crops a step. On a GPU the network runs in bfloat16.
    """

    steps: int
    minutes: float = math.inf
    seed: int = 0
    start_from: Path | None = None
    device: str = "cpu"
    batch: int = _BATCH


@dataclass
class _Run:
    head: LandmarkHead
    average: LandmarkHead
    optimiser: torch.optim.AdamW
    step: int = 0
    elapsed_s: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("crops", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=_BATCH, help="crops a step")
    parser.add_argument("--minutes", type=float, default=math.inf, help="of training, at most")
    parser.add_argument("--start-from", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    settings = Settings(
        options.steps, options.minutes, options.seed, options.start_from, options.device, options.batch
    )
    try:
        train(options.crops, options.out, settings)
    except DuohandError as error:
        sys.exit(f"error: {error}")


def train(folder: Path, out: Path, settings: Settings) -> LandmarkHead:
    """The averaged head after all of the settings' steps or minutes.

    Raises SetError, WeightsError, and CheckpointError for another run's folder.
    """
    crops, validation = CropSet(training_shards(folder)), CropSet(validation_shards(folder))
    out.mkdir(parents=True, exist_ok=True)
    run = _started(out, settings)
    generator = torch.Generator().manual_seed(settings.seed + run.step)
    begun_s = time.monotonic() - run.elapsed_s
    saved_s, told_s, progress = run.elapsed_s, -math.inf, tqdm(total=100, unit="%")
    while (share := _share(run, settings)) < 1:
        _step(run, crops, generator, settings, share)
        run.elapsed_s = time.monotonic() - begun_s
        share = _share(run, settings)
        if run.elapsed_s - saved_s > _SAVED_EVERY_S or share >= 1:
            saved_s = run.elapsed_s
            _save(run, out, settings)
            crops = CropSet(training_shards(folder), crops)
            progress.update(round(100 * share) - progress.n)
        if run.elapsed_s - told_s > _TOLD_EVERY_S or share >= 1:
            told_s = run.elapsed_s
            tqdm.write(
                f"step {run.step}, {len(crops)} crops: {told(run.average, validation, settings.device)}"
            )
    return run.average.eval()


@dataclass(frozen=True)
class CropErrors:
    """Of N crops (N,): world_m about the wrist at the true scale, metres; points, in the crop's half side; size of the
    points about their middle, as a share of the true one; whether the side is told rightly.
    """

    world_m: Tensor
    points: Tensor
    size: Tensor
    side: Tensor


def crop_errors(head: LandmarkHead, crops: CropSet, rows: Tensor, device: str) -> CropErrors:
    """Errors of some crops."""
    head.eval()
    with torch.inference_mode():
        parts = [head(crops.features(part).to(device)) for part in rows.split(_BATCH)]
    world, points, right = (
        torch.cat([getattr(part, name) for part in parts]).cpu() for name in ("world_m", "points", "right")
    )
    found, true = (value - value[:, :1] for value in (world, crops.world_m[rows]))
    scale = true[:, 9].norm(dim=-1) / found[:, 9].norm(dim=-1).clamp(min=1e-6)
    read, drawn = (value - value.mean(1, keepdim=True) for value in (points, crops.points[rows]))
    return CropErrors(
        world_m=(found * scale[:, None, None] - true).norm(dim=-1).mean(-1),
        points=(points - crops.points[rows]).norm(dim=-1).mean(-1),
        size=(read * drawn).sum((1, 2)) / drawn.square().sum((1, 2)),
        side=((right > 0) == crops.right[rows]).float(),
    )


def told(head: LandmarkHead, crops: CropSet, device: str, most: int = _TOLD_CROPS) -> str:
    """Errors of up to `most` crops, evenly over the set, in a line."""
    rows = torch.linspace(0, len(crops) - 1, min(most, len(crops))).long()
    errors = crop_errors(head, crops, rows, device)
    right, own, gap_m = crops.right[rows], crops.own_view[rows], crops.gap_m[rows]
    groups = {
        "touching": right & (gap_m < TOUCHING_M),
        "others": right & (gap_m >= TOUCHING_M),
        "own view": right & own,
    }
    parts = [
        f"{name} {1000 * errors.world_m[mask].mean():.1f} mm, points {errors.points[mask].mean():.3f}, "
        f"size {errors.size[mask].mean():.3f}, side {errors.side[mask].mean():.3f}"
        for name, mask in groups.items()
    ]
    return "; ".join([*parts, f"wrong way: side {errors.side[~right].mean():.3f}"])


def loss(refined: RefinedLandmarks, points: Tensor, world_m: Tensor, right: Tensor) -> Tensor:
    """Of right hands (N,) bool the mean distance of points and of centred world landmarks, the likelihood of those
    errors (Laplace), and how far the size of both is off; of all hand crops the side's.
    """
    off = (refined.points - points).norm(dim=-1)
    off_m = (refined.world_m - world_m).norm(dim=-1)
    errors = torch.stack([off, off_m], -1)
    likelihood = (errors.detach() / refined.log_sigma.exp() + refined.log_sigma).mean((1, 2))
    grown = (_log_size(refined.points) - _log_size(points)).abs()
    grown = grown + (_log_size(refined.world_m) - _log_size(world_m)).abs()
    of_hand = off.mean(1) + _WORLD_GAIN * off_m.mean(1) + _SIGMA_WEIGHT * likelihood + _SIZE_WEIGHT * grown
    of_side = torch.nn.functional.softplus(torch.where(right, -refined.right, refined.right))
    # Both sides count alike, however few hand crops are mirrored the wrong way.
    sides = sum((of_side * mask).sum() / mask.sum().clamp(min=1) for mask in (right, ~right))
    return (of_hand * right).sum() / right.sum().clamp(min=1) + _SIDE_WEIGHT * sides


def _log_size(points: Tensor) -> Tensor:
    """(N,) logarithm of how far points (N, 21, D) lie from their middle."""
    return (points - points.mean(1, keepdim=True)).square().sum((1, 2)).clamp(min=1e-8).log() / 2


def moved(features: Tensor, points: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Some of the batch moved by up to a cell each way, the border repeated."""
    padded = torch.nn.functional.pad(features, (1, 1, 1, 1), mode="replicate")
    size = features.shape[-1]
    by = torch.randint(-1, 2, (2,), generator=generator)
    chosen = torch.rand(len(features), generator=generator) < _MOVED
    x, y = 1 - int(by[0]), 1 - int(by[1])
    shifted = padded[:, :, y : y + size, x : x + size]
    features = torch.where(chosen[:, None, None, None], shifted, features)
    return features, points + chosen[:, None, None] * by * _CELL


def _share(run: _Run, settings: Settings) -> float:
    """How much of the training is done, 0 to 1."""
    return max(run.step / settings.steps, run.elapsed_s / (60 * settings.minutes))


def _step(run: _Run, crops: CropSet, generator: torch.Generator, settings: Settings, share: float) -> None:
    rows = torch.randint(len(crops), (settings.batch,), generator=generator)
    features, points = moved(crops.features(rows), crops.points[rows], generator)
    features = features.to(settings.device).contiguous(memory_format=torch.channels_last)
    run.head.train()
    truth = (points, crops.world_m[rows], crops.right[rows])
    on_gpu = torch.device(settings.device).type == "cuda"
    with torch.autocast(features.device.type, torch.bfloat16, enabled=on_gpu):
        read = run.head(features)
    value = loss(read.float(), *(values.to(settings.device) for values in truth))
    warm = min(1.0, (run.step + 1) / min(_WARM_UP_STEPS, 1 + settings.steps / 10))
    rate = warm * 0.5 * (1 + math.cos(math.pi * share))
    for group in run.optimiser.param_groups:
        group["lr"] = group["full_lr"] * max(rate, 1e-3)
    run.optimiser.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.head.parameters(), 1.0)
    run.optimiser.step()
    run.step += 1
    kept = min(_AVERAGE, run.step / (run.step + 10))
    with torch.no_grad():
        for mean, own in zip(run.average.parameters(), run.head.parameters(), strict=True):
            mean.lerp_(own, 1 - kept)


def _started(out: Path, settings: Settings) -> _Run:
    head, average = (
        LandmarkHead().to(settings.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for _ in range(2)
    )
    rates = (_RATE_OF_HEAD, _RATE_OF_HEAD)
    if settings.start_from is None:
        head.start_from(load_landmark_network())
        rates = (_RATE, _RATE_OF_TAUGHT)
    else:
        head.load_state_dict(load_head(settings.start_from).state_dict())
    average.load_state_dict(head.state_dict())
    fresh = [*head.correction.parameters()]
    known = {id(parameter) for parameter in fresh}
    taught = [parameter for parameter in head.parameters() if id(parameter) not in known]
    groups = [
        {"params": parameters, "lr": rate, "full_lr": rate}
        for parameters, rate in zip((fresh, taught), rates, strict=True)
    ]
    run = _Run(head, average, torch.optim.AdamW(groups, weight_decay=_DECAY))
    stored = load_checkpoint(out, _experiment(settings))
    if stored is not None:
        run.head.load_state_dict(stored.network)
        run.average.load_state_dict(stored.average)
        run.optimiser.load_state_dict(stored.optimiser)
        run.step, run.elapsed_s = stored.step, stored.elapsed_s
    return run


def _save(run: _Run, out: Path, settings: Settings) -> None:
    average = run.average.state_dict()
    state = Checkpoint(
        experiment=_experiment(settings),
        step=run.step,
        elapsed_s=run.elapsed_s,
        samples=run.step * settings.batch,
        network=run.head.state_dict(),
        average=average,
        optimiser=run.optimiser.state_dict(),
        rng={},
    )
    save_checkpoint(state, out)
    write_columns(out / HEAD_FILE, {name: value.half() for name, value in average.items()})


def _experiment(settings: Settings) -> dict[str, Any]:
    """What a checkpoint must agree in."""
    return {"name": "landmark head", "seed": settings.seed, "start_from": str(settings.start_from)}


if __name__ == "__main__":
    main()
