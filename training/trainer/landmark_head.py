# SPDX-License-Identifier: GPL-3.0-or-later
"""Training of the landmark head on hand crops.

It starts from the landmark network's weights, or from those of a head. Shards that appear during training are used as
well; the averaged head is written with each checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from inference_core.landmarks.crop_readings import RefinedLandmarks
from inference_core.landmarks.formats import HEAD_FILE
from inference_core.landmarks.landmark_head import LandmarkHead, load_head
from inference_core.landmarks.weights import load_landmark_network
from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import PARENTS_21
from training.config import HeadExperiment, OptimiserSettings
from training.distributed import ALONE
from training.feature_cache.store import write_columns
from training.hand_crops.made import TOUCHING_M
from training.hand_crops.shards import CropSet, training_shards, validation_shards
from training.trainer.head_validation import head_errors
from training.trainer.learner import Learner
from training.trainer.loop import TrainingResult, train
from training.trainer.run_folder import RunFolder
from training.trainer.supervision import TOTAL

# The share of the learning rate for an already trained head, the same for all layers.
_SHARE_OF_HEAD = 0.3
# Factor from metres to the unit of points, approximately: a hand fills half of its crop.
_WORLD_GAIN = 8.0
_SIGMA_WEIGHT, _SIDE_WEIGHT = 0.02, 0.15
# Uncertain landmarks contract, and hands read too small are placed too far away: so the
# overall size has its own loss.
_SIZE_WEIGHT = 0.3
# The estimated distance depends on orientation and flexion, so bone directions have their own loss.
_BONE_WEIGHT = 0.3
# This share of a batch shows hands apart as others see them, besides those drawn anyway: of what a head sees too
# little, it reads tilted.
_PLAIN_SHARE = 0.3
# Shifting a crop by one cell of its features is nearly the same as shifting the crop by as many pixels.
_CELL = 2 / 14
_MOVED = 0.3


@dataclass(frozen=True)
class CropBatch:
    """features (N, 112, 14, 14), points (N, 21, 2), world_m (N, 21, 3), right (N,) bool, on the training device."""

    features: Tensor
    points: Tensor
    world_m: Tensor
    right: Tensor

    @property
    def batch(self) -> int:
        """How many crops."""
        return len(self.right)


@dataclass(frozen=True)
class CropSource:
    """Random crops of a folder's training shards, some shifted a little; it looks for new shards regularly."""

    folder: Path
    size: int
    seed: int
    device: torch.device
    renewed_every_s: float = 60.0

    def batches(self, first_step: int) -> Iterator[CropBatch]:
        """Endless batches, different for every first_step. Raises SetError if there are no shards."""
        generator = torch.Generator().manual_seed(self.seed + first_step)
        crops, read_s = CropSet(training_shards(self.folder)), time.monotonic()
        while True:
            if time.monotonic() - read_s > self.renewed_every_s:
                crops, read_s = CropSet(training_shards(self.folder), crops), time.monotonic()
            rows = _drawn(crops, self.size, generator)
            features, points = moved(crops.features(rows), crops.points[rows], generator)
            features = features.to(self.device).contiguous(memory_format=torch.channels_last)
            truth = (points, crops.world_m[rows], crops.right[rows])
            yield CropBatch(features, *(values.to(self.device) for values in truth))


def _drawn(crops: CropSet, size: int, generator: torch.Generator) -> Tensor:
    """(size,) random rows, some of them only of hands apart as others see them."""
    rows = torch.randint(len(crops), (size,), generator=generator)
    plain = (~crops.own_view & (crops.gap_m >= TOUCHING_M)).nonzero()[:, 0]
    if len(plain):
        count = round(size * _PLAIN_SHARE)
        rows[:count] = plain[torch.randint(len(plain), (count,), generator=generator)]
    return rows


class HeadLearner(Learner[LandmarkHead, CropBatch]):
    """The landmark head and its loss."""

    def __init__(self, head: LandmarkHead, experiment: HeadExperiment) -> None:
        super().__init__()
        self.network = head
        self._bf16 = experiment.run.precision == "bf16"
        self._is_trained = experiment.run.init_from is not None

    def forward(self, features: Tensor) -> RefinedLandmarks:
        """The head's readings of crops with these features; in bfloat16 on a GPU."""
        on_gpu = features.device.type == "cuda"
        with torch.autocast(features.device.type, torch.bfloat16, enabled=on_gpu and self._bf16):
            return self.network(features)

    def inputs(self, batch: CropBatch) -> tuple[Tensor]:
        """See Learner."""
        return (batch.features,)

    def terms(self, output: RefinedLandmarks, batch: CropBatch) -> dict[str, Tensor]:
        """See Learner."""
        singles = RefinedLandmarks(*(values.float() for values in vars(output).values()))
        return {TOTAL: loss(singles, batch.points, batch.world_m, batch.right)}

    def optimiser(self, settings: OptimiserSettings) -> torch.optim.AdamW:
        """AdamW over the new layers and those from the landmark network, which learn more slowly."""
        fresh = list(self.network.correction.parameters())
        known = {id(parameter) for parameter in fresh}
        brought = [parameter for parameter in self.network.parameters() if id(parameter) not in known]
        shares = (_SHARE_OF_HEAD,) * 2 if self._is_trained else (1.0, settings.backbone_share)
        groups = [
            {"params": parameters, "share": share}
            for parameters, share in zip((fresh, brought), shares, strict=True)
        ]
        return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)


def train_head(experiment: HeadExperiment, device: torch.device) -> TrainingResult[LandmarkHead]:
    """The averaged head; its folder holds it as landmark_head.safetensors from the first checkpoint on.

    Raises SetError, WeightsError, and CheckpointError for another run's folder.
    """
    run = experiment.run
    if experiment.crops is None:
        raise RequestError("The landmark head needs --crops, the folder that `generate crops` wrote.")
    validation = CropSet(validation_shards(experiment.crops))
    torch.manual_seed(run.seed)

    def evaluate(head: LandmarkHead, folder: RunFolder, step: int) -> None:
        folder.record("validation", step, head_errors(head, validation, device))

    def saved(head: LandmarkHead) -> None:
        columns = {name: value.half() for name, value in head.state_dict().items()}
        write_columns(experiment.folder / HEAD_FILE, columns)

    source = CropSource(experiment.crops, run.batch, run.seed, device)
    learner = HeadLearner(started_head(run.init_from), experiment)
    return train(experiment, learner, source, device, ALONE, evaluate, saved)


def started_head(weights: Path | None) -> LandmarkHead:
    """A head with the landmark network's weights, or with those of a head's file."""
    head = LandmarkHead()
    if weights is None:
        head.start_from(load_landmark_network())
    else:
        head.load_state_dict(load_head(weights).state_dict())
    return head


def loss(refined: RefinedLandmarks, points: Tensor, world_m: Tensor, right: Tensor) -> Tensor:
    """Of right hands (N,) bool the mean distance of points and of centred world landmarks, the likelihood of those
    errors (Laplace), and how far the size of both and the directions of bones are off; of all crops the side's.
    """
    off = (refined.points - points).norm(dim=-1)
    off_m = (refined.world_m - world_m).norm(dim=-1)
    errors = torch.stack([off, off_m], -1)
    likelihood = (errors.detach() / refined.log_sigma.exp() + refined.log_sigma).mean((1, 2))
    grown = (log_size(refined.points) - log_size(points)).abs()
    grown = grown + (log_size(refined.world_m) - log_size(world_m)).abs()
    turned = (_bone_directions(refined.world_m) - _bone_directions(world_m)).norm(dim=-1).mean(1)
    of_hand = off.mean(1) + _WORLD_GAIN * off_m.mean(1) + _SIGMA_WEIGHT * likelihood
    of_hand = of_hand + _SIZE_WEIGHT * grown + _BONE_WEIGHT * turned
    of_side = torch.nn.functional.softplus(torch.where(right, -refined.right, refined.right))
    # Both sides count equally, although few hand crops are mirrored wrongly.
    sides = sum((of_side * mask).sum() / mask.sum().clamp(min=1) for mask in (right, ~right))
    return (of_hand * right).sum() / right.sum().clamp(min=1) + _SIDE_WEIGHT * sides


def log_size(points: Tensor) -> Tensor:
    """(N,) logarithm of the distance of points (N, 21, D) from their middle."""
    return (points - points.mean(1, keepdim=True)).square().sum((1, 2)).clamp(min=1e-8).log() / 2


def _bone_directions(world_m: Tensor) -> Tensor:
    """(N, 21, 3) unit vectors along the 20 bones of landmarks (N, 21, 3), and out of the palm."""
    bones = world_m[:, 1:] - world_m[:, PARENTS_21[1:]]
    ahead = world_m[:, [5, 17]] - world_m[:, :1]
    normal = torch.linalg.cross(ahead[:, :1], ahead[:, 1:])
    return torch.nn.functional.normalize(torch.cat([bones, normal], 1), dim=-1, eps=1e-6)


def moved(features: Tensor, points: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Some of the batch shifted by up to one cell each way, with the border repeated."""
    padded = torch.nn.functional.pad(features, (1, 1, 1, 1), mode="replicate")
    size = features.shape[-1]
    by = torch.randint(-1, 2, (2,), generator=generator)
    chosen = torch.rand(len(features), generator=generator) < _MOVED
    x, y = 1 - int(by[0]), 1 - int(by[1])
    shifted = padded[:, :, y : y + size, x : x + size]
    features = torch.where(chosen[:, None, None, None], shifted, features)
    return features, points + chosen[:, None, None] * by * _CELL
