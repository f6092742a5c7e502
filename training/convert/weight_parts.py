# SPDX-License-Identifier: GPL-3.0-or-later
"""Splits a weights folder into files of bounded size, for channels that accept no larger ones, and joins them again.

python -m training convert weight-parts split WEIGHTS_FOLDER OUT_FOLDER
python -m training convert weight-parts join OUT_FOLDER WEIGHTS_FOLDER
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from inference_core.runtime.tensor_file import read_tensors
from inference_core.shared.errors import WeightsError
from inference_core.two_hand.card import CARD_FILE, WEIGHTS_FILE

SHARD_BYTES = 15 * 2**20


def split(folder: Path, out: Path, shard_bytes: int = SHARD_BYTES) -> list[Path]:
    """The files written: weights-1-of-N.safetensors ... and the card."""
    shards = _shards(read_tensors(folder / WEIGHTS_FILE), shard_bytes)
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"weights-{k + 1}-of-{len(shards)}.safetensors" for k in range(len(shards))]
    for path, shard in zip(paths, shards, strict=True):
        save_file(shard, path)
    shutil.copyfile(folder / CARD_FILE, out / CARD_FILE)
    return [*paths, out / CARD_FILE]


def join(parts: Path, folder: Path) -> Path:
    """The weights file made of all shards in `parts`. Raises WeightsError naming a shard that is missing or damaged."""
    found = sorted(parts.glob("weights-*-of-*.safetensors"))
    if not found:
        raise WeightsError(
            f"{parts} holds no weights-1-of-N.safetensors. Name the folder that `split` wrote."
        )
    count = int(found[0].stem.rsplit("-", 1)[1])
    tensors: dict[str, Tensor] = {}
    for k in range(count):
        path = parts / f"weights-{k + 1}-of-{count}.safetensors"
        try:
            tensors |= load_file(path)
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"{path} is missing or cut short ({error}). Copy it again.") from error
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS_FILE)
    shutil.copyfile(parts / CARD_FILE, folder / CARD_FILE)
    return folder / WEIGHTS_FILE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("action", choices=("split", "join"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.action == "split":
        split(options.source, options.target)
    else:
        join(options.source, options.target)


def _shards(tensors: dict[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    filled = 0
    for key, value in tensors.items():
        size = value.numel() * value.element_size()
        if filled and filled + size > limit:
            shards.append({})
            filled = 0
        shards[-1][key] = value
        filled += size
    return shards
