# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples rendered on the training device during training, and the validation set that training never sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inference_core.hand_model.hand import HandModel
from training.data.augment import straightened
from training.data.sample import BACKGROUND, RIGHT_HAND, Sample, concatenated, uv_from_camera
from training.distributed import ALONE, World
from training.synthetic.batch import HIDDEN_BY_SELF, VISIBLE, SyntheticBatch
from training.synthetic.generate import generate
from training.synthetic.settings import Settings as SceneSettings

# How visible a joint behind its own hand is to a landmark network, which knows hands.
_SELF_HIDDEN_SEEN = 0.6
# Seeds of the validation pictures, outside the range of training seeds.
VALIDATION_SEED = 900_000_000
_VALIDATION_BACKGROUNDS = 64
# Validation pictures rendered together.
_AT_ONCE = 64


@dataclass(frozen=True)
class SyntheticSource:
    """Pictures number step * size ... of a stream; each process makes its own share. size: over all processes."""

    settings: SceneSettings
    hand: HandModel
    size: int
    seed: int
    device: torch.device
    world: World = ALONE

    def batches(self, first_step: int) -> Iterator[Sample]:
        """See SampleSource."""
        step, share = first_step, self.size // self.world.size
        while True:
            first = step * self.size + self.world.rank * share
            yield made_samples(self.settings, self.hand, self.seed, first, share, self.device)
            step += 1


def made_samples(
    settings: SceneSettings, hand: HandModel, seed: int, first: int, count: int, device: torch.device
) -> Sample:
    """Pictures number first ... first + count of the stream `seed`."""
    return training_sample(generate(seed, count, device, settings, first), hand)


def training_sample(batch: SyntheticBatch, hand: HandModel) -> Sample:
    """The batch cropped as by the predictor."""
    # The generator runs in inference mode, whose tensors cannot carry gradients.
    return straightened(sample_from_synthetic(batch, hand).map(torch.clone))


def validation_samples(settings: SceneSettings, hand: HandModel, count: int, device: torch.device) -> Sample:
    """The first `count` pictures of the validation stream."""
    settings = replace(settings, backgrounds=min(settings.backgrounds, _VALIDATION_BACKGROUNDS))
    return concatenated(
        [
            made_samples(settings, hand, VALIDATION_SEED, k, min(_AT_ONCE, count - k), device)
            for k in range(0, count, _AT_ONCE)
        ]
    )


def sample_from_synthetic(batch: SyntheticBatch, hand: HandModel) -> Sample:
    """The generator's record as a training sample; vertices are posed here if the generator left them out."""
    wrist = batch.wrist_cam_m
    vertices = batch.vertices_cam_m
    if vertices is None:
        vertices = hand.with_shape(batch.betas).with_pose(batch.rotations, wrist).vertices_m
    mask = batch.side_mask.long()
    return Sample(
        image=batch.image.float() / 255,
        K=batch.K,
        present=batch.present,
        wrist_cam_m=wrist,
        joints_rel_m=batch.joints_cam_m - wrist[:, :, None],
        vertices_rel_m=vertices - wrist[:, :, None],
        joints_uv=batch.joints_uv,
        vertices_uv=uv_from_camera(vertices, batch.K[:, None], batch.image.shape[-1]),
        offset_m=batch.offset_m,
        rotations=batch.rotations,
        betas=batch.betas,
        side_mask=torch.where(mask > RIGHT_HAND, torch.full_like(mask, BACKGROUND), mask),
        dense=batch.dense.float() / 255,
        visibility=joint_seen(batch.visibility),
        landmarks_uv=batch.landmarks_uv,
        landmarks_rel_m=batch.landmarks_cam_m - batch.landmarks_cam_m[:, :, :1],
    )


def joint_seen(visibility: Tensor) -> Tensor:
    """0..1 how visible a joint is to a landmark network, from the generator's `visibility`."""
    return (visibility == VISIBLE).float() + _SELF_HIDDEN_SEEN * (visibility == HIDDEN_BY_SELF)
