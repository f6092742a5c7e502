# SPDX-License-Identifier: GPL-3.0-or-later
"""Training images a second of dir-s: plain eager float32 against the loop's own settings, in one run.

    python -m tests.benchmarks.training [--device cuda] [--batch 256] [--seconds 10] [--no-compile]

Every row trains the same network on the same batch; the last row also makes its pictures. Prints a table and JSON.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from inference_core.hand_model.load import load_hand_model
from inference_core.network.dir import DirNetwork
from training.config import Experiment
from training.evidence_noise import EvidenceNoise, with_degraded_evidence
from training.experiments import DIR_S_RUN
from training.learner import Learner, build_optimiser, compile_or_stay_eager, lay_out_channels_last
from training.sample import Sample
from training.sources import AheadSource, PreparedSource
from training.supervision import TOTAL
from training.synthetic_source import SyntheticSource, made_samples


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
    scenes = replace(DIR_S_RUN.data.synthetic, backgrounds=arguments.backgrounds, chunk=min(batch, 256))
    hand = load_hand_model().to(device)
    began = time.monotonic()
    sample = made_samples(scenes, hand, 1, 0, batch, device)
    generator = torch.Generator(device).manual_seed(0)
    sample = with_degraded_evidence(sample, EvidenceNoise(), generator)
    rows = {"first batch of pictures, s": time.monotonic() - began}

    source = SyntheticSource(scenes, hand, batch, 1, device)
    made = source.batches(1)
    rows["pictures made"] = rate(lambda: next(made), batch, device, arguments.seconds)
    plain = setting("float32", channels_last=False)
    rows["plain eager float32"] = rate(trainer(plain, device), batch, device, arguments.seconds, sample)
    fast = setting("bf16", channels_last=True)
    rows["bf16, channels last"] = rate(trainer(fast, device), batch, device, arguments.seconds, sample)
    step = trainer(fast, device)
    if arguments.compile:
        step = trainer(fast, device, compiled=True)
        rows["... and compiled"] = rate(step, batch, device, arguments.seconds, sample)
    prepared = PreparedSource(source, DIR_S_RUN.augment, DIR_S_RUN.evidence, 0)
    batches = AheadSource(prepared, device).batches(100)
    rows["... and making its pictures"] = rate(step, batch, device, arguments.seconds, batches)
    for name, value in rows.items():
        print(f"{name:32} {value:10.1f}")
    print(json.dumps({"batch": batch, "device": str(device), "images_per_s": rows}))


def setting(precision: str, channels_last: bool) -> Experiment:
    """dir-s with the given arithmetic."""
    run = replace(DIR_S_RUN.run, precision=precision, channels_last=channels_last)  # type: ignore[arg-type]
    return replace(DIR_S_RUN, run=run)


def trainer(experiment: Experiment, device: torch.device, compiled: bool = False) -> Callable[[Sample], None]:
    """One optimiser step of a fresh network."""
    network = DirNetwork(experiment.network).to(device).train()
    if experiment.run.channels_last:
        lay_out_channels_last(network)
    if compiled:
        compile_or_stay_eager(network)
    learner = Learner(network, load_hand_model().to(device), experiment)
    optimiser = build_optimiser(network, experiment.optimiser)

    def step(sample: Sample) -> None:
        terms = learner.terms(learner(sample.image, sample.evidence), sample)
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
