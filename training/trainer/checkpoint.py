# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints that an interrupted run resumes from.

A checkpoint holds tensors and plain values only and is read by an interpreter of our own, within
bounds. It is written beside its final path and moved there when complete, so that the previous one
stays intact if the writer is killed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference_core.runtime.inert_pickle import InertPickleError
from inference_core.shared.errors import DuohandError
from inference_core.two_hand.checkpoint import read_saved
from training.config import differences

CHECKPOINT_FILE = "checkpoint.pt"


class CheckpointError(DuohandError):
    """A checkpoint cannot be written, read, or belongs to another experiment."""


@dataclass(frozen=True)
class Checkpoint:
    """The complete state of a run. rng: generator states, "cpu" and, if there is one, "cuda"."""

    experiment: dict[str, Any]
    step: int
    elapsed_s: float
    samples: int
    network: dict[str, Tensor]
    average: dict[str, Tensor]
    optimiser: dict[str, Any]
    rng: dict[str, Tensor]


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> Path:
    """The path of the checkpoint, written whole or not at all. Raises CheckpointError if it cannot be written."""
    path = folder / CHECKPOINT_FILE
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            torch.save(vars(checkpoint), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, RuntimeError) as error:  # torch's zip writer reports a full disk as RuntimeError
        part.unlink(missing_ok=True)
        raise CheckpointError(
            f"The checkpoint could not be written to {path}: {error}. The previous one, if any, is intact; "
            "free disk space and run the same command again."
        ) from error
    return path


def load_checkpoint(folder: Path, experiment: Mapping[str, Any]) -> Checkpoint | None:
    """The folder's checkpoint; None if there is none yet.

    Raises CheckpointError if it cannot be read or belongs to another experiment; the message names the differences.
    """
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return None
    try:
        stored = Checkpoint(**read_saved(path))
    except (OSError, InertPickleError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a whole checkpoint: {error}. Delete it to start again, or put a copy back in its "
            "place."
        ) from error
    wrong = differences(stored.experiment, dict(experiment))
    if wrong:
        raise CheckpointError(
            f"{path} belongs to another experiment (stored / asked for): {'; '.join(wrong)}. Give the run "
            "another --run.out, or the settings it was started with."
        )
    return stored
