# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples made of the open hand without a renderer: true geometry, and pictures that tell samples apart."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from inference_core.geometry import rotations
from inference_core.hand_model.load import load_open_hand
from training.data.sample import LEFT_HAND, Sample, uv_from_camera
from training.data.sources import epoch_rows
from training.distributed import ALONE, World


def made_sample(count: int, seed: int = 0, crop_px: int = 256, absent: bool = False) -> Sample:
    """`count` samples of two hands about half a metre before the camera; absent: some lack a hand."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(count, *shape, generator=generator)

    hand = load_open_hand().tensors()
    angles = 0.3 * normal(2, 15, 3) * torch.tensor([1.0, 0.2, 0.1]) + torch.tensor([0.4, 0.0, 0.0])
    root = rotations.exp(0.8 * normal(2, 1, 3))
    turns = torch.cat([root, hand.rotations_from_angles(angles)], dim=2)
    betas = 0.5 * normal(2, 10)
    wrist = torch.tensor([[-0.08, 0.05, 0.5], [0.08, 0.05, 0.5]]) + 0.02 * normal(2, 3)
    posed = hand.with_shape(betas).with_pose(turns, wrist)
    K = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]]) * torch.tensor(
        [[crop_px], [crop_px], [1]]
    )
    K = K.expand(count, 3, 3).clone()
    present = torch.ones(count, 2, dtype=torch.bool)
    if absent:
        present = torch.rand(count, 2, generator=generator) > 0.3
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    uv = uv_from_camera(posed.joints21_m, K[:, None], crop_px)
    mask = torch.zeros(count, crop_px, crop_px, dtype=torch.long)
    for k in range(count):
        for side in (0, 1):
            if present[k, side]:
                x, y = ((uv[k, side].clamp(-1, 0.99) + 1) / 2 * crop_px).long().unbind(-1)
                mask[k, y.min() : y.max() + 1, x.min() : x.max() + 1] = LEFT_HAND + side
    landmarks = posed.landmarks21_m
    return Sample(
        image=F.interpolate(coarse, (crop_px, crop_px), mode="bilinear"),
        K=K,
        present=present,
        wrist_cam_m=wrist,
        joints_rel_m=posed.joints21_m - wrist[:, :, None],
        vertices_rel_m=posed.vertices_m - wrist[:, :, None],
        joints_uv=uv,
        vertices_uv=uv_from_camera(posed.vertices_m, K[:, None], crop_px),
        offset_m=wrist[:, 1] - wrist[:, 0],
        rotations=turns,
        betas=betas,
        side_mask=mask,
        dense=torch.rand(count, 3, 64, 64, generator=generator),
        visibility=(torch.rand(count, 2, 21, generator=generator) > 0.2).float(),
        landmarks_uv=uv_from_camera(landmarks, K[:, None], crop_px),
        landmarks_rel_m=landmarks - landmarks[:, :, :1],
    )


@dataclass(frozen=True)
class MemorySource:
    """A set held in memory, reshuffled each epoch. size: samples per batch over all processes of the world."""

    samples: Sample
    size: int
    seed: int
    world: World = ALONE

    def batches(self, first_step: int) -> Iterator[Sample]:
        """See SampleSource."""
        step = first_step
        share = self.size // self.world.size
        while True:
            rows = epoch_rows(self.samples.batch, self.size, self.seed, step)[
                self.world.rank * share : (self.world.rank + 1) * share
            ]
            yield self.samples.rows(rows.to(self.samples.image.device))
            step += 1
