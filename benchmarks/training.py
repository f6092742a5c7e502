# SPDX-License-Identifier: GPL-3.0-or-later
"""Training images per second of dir-s: plain eager float32 compared with the loop's own settings, in one run.

    python -m benchmarks.training [--device cuda] [--batch 256] [--seconds 10] [--no-compile]

Every row trains the same network on the same batch. "features from disk" is the preset dir-s, whose frozen backbone
was run before; the other rows train the whole network (dir-s-whole), and the last one also renders its pictures. On a
CPU bfloat16 is left out, because few CPUs support it. Prints a table and JSON.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from inference_core.hand_model.load import load_hand_model
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.pretrained_backbones import PalmBackbone
from training.config import Experiment
from training.data.conditioning_noise import ConditioningNoise, with_degraded_conditioning
from training.data.sample import Sample
from training.data.sources import AheadSource, PreparedSource
from training.data.synthetic_source import SyntheticSource, made_samples
from training.feature_cache.make import features
from training.presets import DIR_S_RUN, DIR_S_WHOLE
from training.trainer.dir_learner import DirLearner, build_optimiser
from training.trainer.learner import compile_or_stay_eager, lay_out_channels_last
from training.trainer.supervision import TOTAL


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--backgrounds", type=int, default=16)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    device, batch = torch.device(arguments.device), arguments.batch
    torch.backends.cudnn.benchmark = True
    scenes = replace(DIR_S_WHOLE.data.synthetic, backgrounds=arguments.backgrounds, chunk=min(batch, 256))
    hand = load_hand_model().tensors(device=device)
    began = time.monotonic()
    sample = made_samples(scenes, hand, 1, 0, batch, device)
    generator = torch.Generator(device).manual_seed(0)
    sample = with_degraded_conditioning(sample, ConditioningNoise(), generator)
    rows = {"first batch of pictures, s": time.monotonic() - began}

    source = SyntheticSource(scenes, hand, batch, 1, device)
    made = source.batches(1)
    rows["pictures made"] = rate(lambda: next(made), batch, device, arguments.seconds)
    plain = setting("float32", channels_last=False)
    rows["plain eager float32"] = rate(trainer(plain, device), batch, device, arguments.seconds, sample)
    backbone = PalmBackbone().to(device)
    stored = replace(sample, levels=features(backbone, sample.image))
    rows["features from disk"] = rate(trainer(DIR_S_RUN, device), batch, device, arguments.seconds, stored)
    precision = "bf16" if device.type == "cuda" else "float32"
    fast = setting(precision, channels_last=True)
    rows[f"{precision}, channels last"] = rate(
        trainer(fast, device), batch, device, arguments.seconds, sample
    )
    step = trainer(fast, device)
    if arguments.compile:
        step = trainer(fast, device, compiled=True)
        rows["... and compiled"] = rate(step, batch, device, arguments.seconds, sample)
    prepared = PreparedSource(source, DIR_S_WHOLE.augment, DIR_S_WHOLE.conditioning, 0)
    batches = AheadSource(prepared, device).batches(100)
    rows["... and making its pictures"] = rate(step, batch, device, arguments.seconds, batches)
    for name, value in rows.items():
        print(f"{name:32} {value:10.1f}")
    print(json.dumps({"batch": batch, "device": str(device), "images_per_s": rows}))


def setting(precision: str, channels_last: bool) -> Experiment:
    """dir-s with the given arithmetic."""
    run = replace(DIR_S_WHOLE.run, precision=precision, channels_last=channels_last)  # type: ignore[arg-type]
    return replace(DIR_S_WHOLE, run=run)


def trainer(experiment: Experiment, device: torch.device, compiled: bool = False) -> Callable[[Sample], None]:
    """One optimiser step of a fresh network."""
    network = DirNetwork(experiment.network).to(device).train()
    network.backbone.requires_grad_(experiment.data.source != "feature-cache")
    if experiment.run.channels_last:
        lay_out_channels_last(network)
    if compiled:
        compile_or_stay_eager(network)
    learner = DirLearner(network, load_hand_model().tensors(device=device), experiment)
    optimiser = build_optimiser(network, experiment.optimiser)

    def step(sample: Sample) -> None:
        terms = learner.terms(learner(sample.image, sample.conditioning, sample.levels), sample)
        optimiser.zero_grad(set_to_none=True)
        terms[TOTAL].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), experiment.optimiser.clip_norm)
        optimiser.step()

    return step


def rate(
    step: Callable[..., object],
    batch: int,
    device: torch.device,
    seconds: float,
    samples: Sample | Iterator[Sample] | None = None,
) -> float:
    """Images a second after three steps of warming up."""

    def once() -> None:
        if samples is None:
            step()
        else:
            step(samples if isinstance(samples, Sample) else next(samples))

    for _ in range(3):
        once()
    settle(device)
    began, count = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        once()
        count += 1
        if count % 4 == 0:
            settle(device)
    settle(device)
    return count * batch / (time.monotonic() - began)


def settle(device: torch.device) -> None:
    """Waits for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
