# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources of a training loop's batches. Batch number k of a source is always the same.

A resumed run therefore continues with exactly the batches it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from training.data.augment import AugmentSettings, augmented
from training.data.conditioning_noise import ConditioningNoise, with_degraded_conditioning
from training.data.sample import Sample
from training.distributed import ALONE, World

# Seeds of streams that must not overlap: of training, of degradation, and of validation sets.
TRAINING_STREAM, AUGMENT_STREAM, VALIDATION_STREAM = 1, 2, 3
_STREAM_BITS, _STEP_BITS = 60, 32


class SampleSource(Protocol):
    """Batches of this process, on the training device."""

    def batches(self, first_step: int) -> Iterator[Sample]:
        """Batches number first_step, first_step + 1, ... without end."""
        ...


def stream_seed(stream: int, seed: int, step: int, rank: int = 0) -> int:
    """A distinct seed for every stream, run, step and process."""
    return (stream << _STREAM_BITS) ^ ((seed & 0xFFFF) << 44) ^ ((rank & 0xFFF) << _STEP_BITS) ^ step


def epoch_rows(count: int, size: int, seed: int, step: int) -> torch.Tensor:
    """(size,) which of `count` samples form batch number `step`; each epoch is reshuffled."""
    places = torch.arange(step * size, (step + 1) * size)
    rows = torch.empty_like(places)
    for epoch in (places // count).unique().tolist():
        generator = torch.Generator().manual_seed(stream_seed(TRAINING_STREAM, seed, epoch))
        order = torch.randperm(count, generator=generator)
        inside = places // count == epoch
        rows[inside] = order[places[inside] % count]
    return rows


@dataclass(frozen=True)
class PreparedSource:
    """Another source's batches, augmented and with degraded conditioning, on their device."""

    source: SampleSource
    augment: AugmentSettings
    conditioning: ConditioningNoise
    seed: int
    world: World = ALONE

    def batches(self, first_step: int) -> Iterator[Sample]:
        """See SampleSource."""
        for step, sample in enumerate(self.source.batches(first_step), start=first_step):
            generator = torch.Generator(sample.image.device)
            generator.manual_seed(stream_seed(AUGMENT_STREAM, self.seed, step, self.world.rank))
            if sample.levels is None:
                sample = augmented(sample, self.augment, generator)
            yield with_degraded_conditioning(sample, self.conditioning, generator)


@dataclass(frozen=True)
class AheadSource:
    """Another source's batches, prepared one step ahead on a separate GPU stream during the training step."""

    source: SampleSource
    device: torch.device

    def batches(self, first_step: int) -> Iterator[Sample]:
        """See SampleSource."""
        if self.device.type != "cuda":
            yield from self.source.batches(first_step)
            return
        stream = torch.cuda.Stream(self.device)
        upstream = self.source.batches(first_step)
        upcoming = self._made(upstream, stream)
        while True:
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(stream)
            sample = upcoming.map(_used_on(current))
            upcoming = self._made(upstream, stream)
            yield sample

    def _made(self, upstream: Iterator[Sample], stream: torch.cuda.Stream) -> Sample:
        with torch.cuda.stream(stream):
            return next(upstream)


def _used_on(stream: torch.cuda.Stream) -> Callable[[Tensor], Tensor]:
    """Tell the allocator that a tensor made on one stream is read on another."""

    def mark(tensor: Tensor) -> Tensor:
        tensor.record_stream(stream)
        return tensor

    return mark
