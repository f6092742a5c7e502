# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches of stored data sets, in an order that depends on the seed only; damaged items are skipped and reported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from inference_core.hand_model.hand import HandModel
from training.data.hic import FITS, HandsInAction
from training.data.item import DamagedItemError, DataSetError, StoredItem, sample_from_items, stacked
from training.data.prepared import PreparedHands
from training.data.processed import ProcessedInterHand
from training.data.sample import Sample
from training.data.sources import TRAINING_STREAM, stream_seed
from training.distributed import ALONE, World

# This many damaged items in a row mean that the data set is broken, not an item.
_MOST_DAMAGED = 50


class StoredSet(Protocol):
    """A data set on disk: its hand model, its length, and one item at a time."""

    @property
    def hand(self) -> HandModel: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> StoredItem:
        """Raises DamagedItemError."""
        ...


@dataclass(frozen=True)
class ReadBatch:
    """Stacked items, and a message for each item skipped."""

    items: StoredItem
    skipped: list[str]


def open_data_set(root: Path | None, hand: HandModel, split: str = "train") -> StoredSet:
    """The data set under `root`, in any of the known layouts. Raises DataSetError naming what is missing."""
    if root is None or not root.exists():
        raise DataSetError(f"{root}: no such folder. Name the data set's folder with --data.root.")
    if (root / FITS).exists():
        if split != "test":
            raise DataSetError(f"{root} holds Hands in Action, which is for testing only: --split test.")
        return HandsInAction.opened(root, hand)
    if (root / split / PreparedHands.TABLE).exists():
        return PreparedHands.opened(root, split, hand)
    return ProcessedInterHand.opened(root, split, hand)


@dataclass(frozen=True)
class StoredSource:
    """Shuffled batches of a stored set, `size` samples over all processes. See SampleSource."""

    stored: StoredSet
    size: int
    seed: int
    workers: int
    device: torch.device
    world: World = ALONE

    def batches(self, first_step: int) -> Iterator[Sample]:
        """See SampleSource."""
        order = _Order(len(self.stored), self.size, self.seed, self.world, first_step)
        loader = DataLoader(
            _Reader(self.stored),
            batch_sampler=order,  # pyright: ignore[reportArgumentType]
            collate_fn=_collated,
            num_workers=self.workers,
            pin_memory=False,
            persistent_workers=self.workers > 0,
        )
        skipped = 0
        for batch in loader:
            for message in batch.skipped:
                skipped += 1
                print(f"skipped ({skipped} so far): {message}", file=sys.stderr)
            yield sample_from_items(batch.items, self.stored.hand, self.device)


def in_order(stored: StoredSet, size: int, device: torch.device) -> Iterator[tuple[Sample, list[str]]]:
    """All items once, in order, with messages for those skipped: a damaged item is left out, not replaced."""
    loader = DataLoader(
        _Reader(stored, replace=False),
        batch_size=size,
        collate_fn=_collated,
        shuffle=False,
    )
    for batch in loader:
        if batch.items is not None:
            yield sample_from_items(batch.items, stored.hand, device), batch.skipped


class _Reader(Dataset[tuple["StoredItem | None", list[str]]]):
    """Reads an item, or the next intact one."""

    def __init__(self, stored: StoredSet, replace: bool = True) -> None:
        self._stored, self._replace = stored, replace

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, index: int) -> tuple[StoredItem | None, list[str]]:
        skipped: list[str] = []
        for ahead in range(min(_MOST_DAMAGED, len(self._stored))):
            try:
                return self._stored[(index + ahead) % len(self._stored)], skipped
            except DamagedItemError as error:
                skipped.append(str(error))
                if not self._replace:
                    return None, skipped
        raise DataSetError(
            f"{len(skipped)} items in a row are damaged, the last: {skipped[-1]} Check the data set."
        )


class _Order:
    """Rows of each batch of this process, from a step on, without end."""

    def __init__(self, count: int, size: int, seed: int, world: World, first_step: int) -> None:
        self._count, self._size, self._seed, self._world, self._step = count, size, seed, world, first_step

    def __iter__(self) -> Iterator[list[int]]:
        share, step = self._size // self._world.size, self._step
        epoch, order = -1, torch.empty(0)
        while True:
            rows: list[int] = []
            first = step * self._size + self._world.rank * share
            for place in range(first, first + share):
                if place // self._count != epoch:
                    epoch = place // self._count
                    generator = torch.Generator().manual_seed(stream_seed(TRAINING_STREAM, self._seed, epoch))
                    order = torch.randperm(self._count, generator=generator)
                rows.append(int(order[place % self._count]))
            yield rows
            step += 1


def _collated(parts: list[tuple[StoredItem | None, list[str]]]) -> ReadBatch:
    items = [item for item, _ in parts if item is not None]
    skipped = [message for _, messages in parts for message in messages]
    return ReadBatch(stacked(items) if items else None, skipped)  # type: ignore[arg-type]
