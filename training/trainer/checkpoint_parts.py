# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's checkpoint in files of bounded size, for machines that are lent for minutes and let only small files through.

    python -m training convert checkpoint-parts split RUN_FOLDER PARTS_FOLDER
    python -m training convert checkpoint-parts join PARTS_FOLDER RUN_FOLDER

A quarter of the checkpoint travels: the network, and how large each weight's gradient has been, in half precision. The
average starts at the network again and momentum at nothing, which some hundred steps make good.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference_core.runtime.inert_pickle import InertPickleError
from inference_core.two_hand.checkpoint import read_saved
from training.trainer.checkpoint import CHECKPOINT_FILE, Checkpoint, CheckpointError, save_checkpoint

PART_BYTES = 15_000_000
_LARGEST = 6e4
# Below this share of a tensor's largest gradient half precision has no numbers left, and steps would be too long.
_SMALLEST = 1e-6


def split(folder: Path, out: Path, part_bytes: int = PART_BYTES) -> list[Path]:
    """The files written: state-1-of-N.part ... Raises CheckpointError if the folder holds no whole checkpoint."""
    path = folder / CHECKPOINT_FILE
    try:
        stored = read_saved(path)
    except (OSError, ValueError, InertPickleError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}). Name the folder of a run.") from error
    small = {**stored, "network": {name: _halved(value) for name, value in stored["network"].items()}}
    small["optimiser"] = {**stored["optimiser"], "state": _spreads(stored["optimiser"]["state"])}
    small.pop("average")
    buffer = io.BytesIO()
    torch.save(small, buffer)
    content = buffer.getvalue()
    count = -(-len(content) // part_bytes)
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"state-{number + 1}-of-{count}.part" for number in range(count)]
    for number, part in enumerate(paths):
        part.write_bytes(content[number * part_bytes : (number + 1) * part_bytes])
    return paths


def join(parts: Path, folder: Path) -> Path:
    """The checkpoint in `folder`, from all parts. Raises CheckpointError if one is missing or damaged."""
    found = sorted(parts.glob("state-*-of-*.part"))
    if not found:
        raise CheckpointError(f"{parts} holds no state-1-of-N.part. Name the folder that `split` wrote.")
    count = int(found[0].stem.rsplit("-", 1)[1])
    try:
        content = b"".join(
            (parts / f"state-{number + 1}-of-{count}.part").read_bytes() for number in range(count)
        )
        small = read_saved(io.BytesIO(content))
    except (OSError, ValueError, InertPickleError) as error:
        raise CheckpointError(
            f"A part in {parts} is missing or damaged ({error}). Copy them again."
        ) from error
    network = {name: _whole(value) for name, value in small["network"].items()}
    state = {number: _moments(value) for number, value in small["optimiser"]["state"].items()}
    small |= {"network": network, "optimiser": {**small["optimiser"], "state": state}}
    folder.mkdir(parents=True, exist_ok=True)
    average = {name: value.clone() for name, value in network.items()}
    return save_checkpoint(Checkpoint(average=average, **small), folder)


def _halved(value: Tensor) -> Tensor:
    fits = value.is_floating_point() and (value.numel() == 0 or float(value.abs().max()) < _LARGEST)
    return value.half() if fits else value


def _whole(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _spreads(state: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """AdamW's state without momentum: the root of each weight's mean squared gradient, as a share of the largest."""
    small: dict[int, dict[str, Any]] = {}
    for number, own in state.items():
        root = own["exp_avg_sq"].sqrt()
        largest = root.max().clamp(min=1e-30)
        small[number] = {"step": own["step"], "largest": largest, "share": (root / largest).half()}
    return small


def _moments(small: dict[str, Any]) -> dict[str, Any]:
    root = small["share"].float().clamp(min=_SMALLEST) * small["largest"]
    return {"step": small["step"], "exp_avg": torch.zeros_like(root), "exp_avg_sq": root.square()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("action", choices=("split", "join"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    (split if options.action == "split" else join)(options.source, options.target)
