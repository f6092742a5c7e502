# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches from shards written by `python -m training generate pictures`, read by worker processes.

Each shard is shuffled internally. Batch number g of the run, counted over all processes, is always the same.
Neighbouring batches come from as many shards as there are workers, so that every worker reads each of its
shards once for all its batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from inference_core.hand_model.hand import HandModel
from inference_core.shared.errors import RequestError
from training.data.sample import Sample
from training.data.sources import TRAINING_STREAM, stream_seed
from training.data.synthetic_source import training_sample
from training.distributed import ALONE, World
from training.synthetic.batch import SyntheticBatch
from training.synthetic.shards import Stream, read_shard, read_stream


@dataclass(frozen=True)
class ShardSource:
    """See SampleSource. size: samples over all processes; a process's share must fit into a shard."""

    folder: Path
    hand: HandModel
    size: int
    seed: int
    workers: int
    device: torch.device
    world: World = ALONE

    def batches(self, first_step: int) -> Iterator[Sample]:
        """See SampleSource. Raises ShardError, and RequestError when the shards hold less than a batch."""
        stream, share = read_stream(self.folder), self.size // self.world.size
        shard_pictures = min(stream.shard_pictures, stream.count)
        if share > shard_pictures:
            raise RequestError(
                f"A batch of {share} is larger than the shards of {self.folder} ({shard_pictures} pictures). "
                "Use a smaller --run.batch, or write larger shards."
            )
        reader = _Reader(self.folder, stream, share, self.seed, max(self.workers, 1))
        numbers = _Numbers(first_step, self.world)
        loader = DataLoader(
            reader,
            sampler=numbers,
            batch_size=None,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )
        for batch in loader:
            yield training_sample(batch.to(self.device), self.hand)


class _Reader(Dataset[SyntheticBatch]):
    """Batch number g of the run."""

    def __init__(self, folder: Path, stream: Stream, share: int, seed: int, workers: int) -> None:
        self._folder, self._stream, self._share, self._seed, self._workers = (
            folder,
            stream,
            share,
            seed,
            workers,
        )
        # A last shard that is not full is skipped: its batches would have another size.
        self._shards = stream.count // min(stream.shard_pictures, stream.count)

    def __getitem__(self, g: int) -> SyntheticBatch:
        pictures = min(self._stream.shard_pictures, self._stream.count)
        parts = pictures // self._share
        turn, within = divmod(g, self._workers * parts)
        part, slot = divmod(within, self._workers)
        epoch, place = divmod(turn * self._workers + slot, self._shards)
        number = int(_shuffled(self._shards, self._seed, 2 * epoch)[place])
        rows = _shuffled(pictures, self._seed, 2 * (epoch * self._shards + number) + 1)
        rows = rows[part * self._share : (part + 1) * self._share]
        shard = _cached_shard(self._folder, number)
        return SyntheticBatch(**{name: value[rows] for name, value in shard.tensors().items()})


class _Numbers:
    """This process's batch numbers from a step on, without end."""

    def __init__(self, first_step: int, world: World) -> None:
        self._first, self._world = first_step, world

    def __iter__(self) -> Iterator[int]:
        step = self._first
        while True:
            yield step * self._world.size + self._world.rank
            step += 1


@lru_cache(maxsize=1)
def _cached_shard(folder: Path, number: int) -> SyntheticBatch:
    return read_shard(folder, number)


def _shuffled(count: int, seed: int, epoch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(stream_seed(TRAINING_STREAM, seed, epoch))
    return torch.randperm(count, generator=generator)
