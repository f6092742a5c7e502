# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches and the validation set of a feature cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from inference_core.hand_model.hand import HandModel
from inference_core.shared.errors import RequestError
from training.data.sample import Sample, uv_from_camera
from training.data.sources import epoch_rows
from training.distributed import ALONE, World
from training.feature_cache.store import StoredSet

# One file in this many of each kind is kept for validation.
_VALIDATION_EVERY = 20


@dataclass(frozen=True)
class FeatureCacheSource:
    """See SampleSource. size: samples over all processes. fine: see StoredSet.rows."""

    folder: Path
    backbone: str
    size: int
    seed: int
    device: torch.device
    world: World = ALONE
    fine: bool = True

    def batches(self, first_step: int) -> Iterator[Sample]:
        """See SampleSource. Raises SetError, and RequestError if the set is of another backbone."""
        samples = StoredSet(self.folder, training_paths(self.folder))
        if samples.backbone != self.backbone:
            raise RequestError(
                f"{self.folder} holds features of the {samples.backbone} backbone, not of {self.backbone}: "
                "make a set of that backbone, or train a network of this one."
            )
        step, share = first_step, self.size // self.world.size
        while True:
            rows = epoch_rows(len(samples), self.size, self.seed, step)
            rows = rows[self.world.rank * share : (self.world.rank + 1) * share]
            yield samples.rows(rows, self.fine).to(self.device)
            step += 1


def training_paths(folder: Path) -> list[Path]:
    """The files that are trained on."""
    return [path for path in sorted(folder.glob("*.safetensors")) if not _is_validation(path)]


def validation_paths(folder: Path) -> list[Path]:
    """The files that are never trained on."""
    return [path for path in sorted(folder.glob("*.safetensors")) if _is_validation(path)]


def validation_set(folder: Path, hand: HandModel, count: int, device: torch.device) -> Sample:
    """`count` samples of the validation files, evenly over them, vertices included."""
    samples = StoredSet(folder, validation_paths(folder))
    chosen = torch.linspace(0, len(samples) - 1, min(count, len(samples))).long()
    return with_vertices(samples.rows(chosen).to(device), hand)


def with_vertices(sample: Sample, hand: HandModel) -> Sample:
    """The sample with the skin that follows from its parameters."""
    vertices = hand.with_shape(sample.betas).with_pose(sample.rotations, sample.wrist_cam_m).vertices_m
    uv = uv_from_camera(vertices, sample.K[:, None], sample.image.shape[-1])
    return replace(sample, vertices_rel_m=vertices - sample.wrist_cam_m[:, :, None], vertices_uv=uv)


def _is_validation(path: Path) -> bool:
    return int(path.stem.rsplit("-", 1)[1]) % _VALIDATION_EVERY == _VALIDATION_EVERY - 1
