# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand crops cut from whole synthetic pictures on one device: for a GPU, which renders whole
pictures as fast as it reads crops.

A crop has fewer pixels of its hand than one from its own layer, and no lens far off its
axis; otherwise they are alike.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from inference_core.landmarks.formats import CROP_PX
from inference_core.landmarks.landmark_network import LandmarkNetwork
from inference_core.shared.skeleton import LEFT
from training.feature_cache.store import to_bytes
from training.hand_crops.made import MOST_CUTS, SIDES, CropRows
from training.hand_crops.windows import Windows, draw_cuts, tells, windows_round
from training.synthetic.batch import HIDDEN_BY_SELF, VISIBLE, SyntheticBatch
from training.synthetic.generate import generate
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings

# Hands with fewer visible landmarks (or landmarks hidden by the hand itself) are left out.
_SEEN_SHARE = 0.4
_NEAREST_M = 0.05


def rows_from_pictures(
    settings: Settings, seed: int, first: int, count: int, cuts: int, network: LandmarkNetwork
) -> CropRows:
    """Rows of the hands in pictures number first ... of the stream `seed`, `cuts` crops of each hand, on the CPU.

    network: on the device that everything is computed on.
    """
    device = next(network.parameters()).device
    batch = generate(seed, count, device, settings, first)
    windows = _windows(batch)
    hands = len(windows.side)
    windows = windows.rows(torch.arange(hands).repeat_interleave(cuts))
    cut = torch.arange(cuts).repeat(hands)
    numbers = batch.index.cpu()[windows.picture]
    placed = draw_cuts(Randomness(seed, (numbers * SIDES + windows.side) * MOST_CUTS + cut), windows)
    crops = cut_pictures(batch.image, batch.K, windows.picture, placed.square, placed.shown)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        features = network.early_features(crops)
    rows = CropRows(
        features=to_bytes(features.float()).cpu(),
        points=placed.points,
        world_m=placed.world_m,
        right=placed.right,
        side=windows.side.to(torch.uint8),
        picture=numbers,
        cut=cut.to(torch.uint8),
        own_view=torch.zeros(len(cut), dtype=torch.bool),
        gap_m=batch.gap_m.cpu()[windows.picture],
        partner=placed.partner,
    )
    return rows.chosen(tells(rows.points))


def cut_pictures(
    images: Tensor, K: Tensor, picture: Tensor, square: NDArray[np.float64], shown: NDArray[np.int64]
) -> Tensor:
    """(N, 3, CROP_PX, CROP_PX) 0..1 of squares (N, 4) in tangents, mirrored where `shown` (N,) is LEFT; the picture's
    border is repeated outside. images (B, 3, P, P) uint8 with K (B, 3, 3); picture (N,): which of them.
    """
    device, size = images.device, images.shape[-1]
    centre_x, centre_y, side, turn = torch.from_numpy(square).float().to(device).T[..., None, None]
    steps = (torch.arange(CROP_PX, device=device) + 0.5) / CROP_PX - 0.5
    mirror = torch.from_numpy(np.where(shown == LEFT, -1.0, 1.0)).float().to(device)[:, None, None]
    x, y = side * mirror * steps, side * steps[:, None]
    tangent_x = centre_x + turn.cos() * x - turn.sin() * y
    tangent_y = centre_y + turn.sin() * x + turn.cos() * y
    picture = picture.to(device)
    lens = K[picture][..., None, None]
    pixel = torch.stack(
        [lens[:, 0, 0] * tangent_x + lens[:, 0, 2], lens[:, 1, 1] * tangent_y + lens[:, 1, 2]], -1
    )
    grid = pixel * (2 / size) - 1
    return F.grid_sample(images[picture].float() / 255, grid, padding_mode="border", align_corners=False)


def _windows(batch: SyntheticBatch) -> Windows:
    """Windows round the hands that are there, before the camera and seen well enough."""
    landmarks_m = batch.landmarks_cam_m
    seen = ((batch.visibility == VISIBLE) | (batch.visibility == HIDDEN_BY_SELF)).float().mean(-1)
    there = batch.present & (landmarks_m[..., 2].amin(-1) > _NEAREST_M) & (seen >= _SEEN_SHARE)
    return windows_round(landmarks_m, there)
