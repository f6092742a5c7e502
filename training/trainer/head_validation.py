# SPDX-License-Identifier: GPL-3.0-or-later
"""The landmark head's errors on hand crops that it is not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inference_core.landmarks.landmark_head import LandmarkHead
from training.evaluation.scoring import evaluating
from training.hand_crops.made import TOUCHING_M
from training.hand_crops.shards import CropSet

_BATCH = 64
_MOST_CROPS = 900


@dataclass(frozen=True)
class CropErrors:
    """Of N crops (N,): world_m about the wrist at the true scale, metres; points, in the crop's half side; size of the
    points about their middle, as a share of the true one; whether the handedness is correct.
    """

    world_m: Tensor
    points: Tensor
    size: Tensor
    side: Tensor


def crop_errors(head: LandmarkHead, crops: CropSet, rows: Tensor, device: torch.device) -> CropErrors:
    """Errors of some crops."""
    with evaluating(head):
        parts = [head(crops.features(part).to(device)) for part in rows.split(_BATCH)]
    world, points, right = (
        torch.cat([getattr(part, name) for part in parts]).cpu() for name in ("world_m", "points", "right")
    )
    found, true = (value - value[:, :1] for value in (world, crops.world_m[rows]))
    scale = true[:, 9].norm(dim=-1) / found[:, 9].norm(dim=-1).clamp(min=1e-6)
    read, drawn = (value - value.mean(1, keepdim=True) for value in (points, crops.points[rows]))
    return CropErrors(
        world_m=(found * scale[:, None, None] - true).norm(dim=-1).mean(-1),
        points=(points - crops.points[rows]).norm(dim=-1).mean(-1),
        size=(read * drawn).sum((1, 2)) / drawn.square().sum((1, 2)),
        side=((right > 0) == crops.right[rows]).float(),
    )


def head_errors(head: LandmarkHead, crops: CropSet, device: torch.device) -> dict[str, float]:
    """Means by group ("touching/world_mm", ...) over up to 900 crops, evenly over the set."""
    rows = torch.linspace(0, len(crops) - 1, min(_MOST_CROPS, len(crops))).long()
    errors = crop_errors(head, crops, rows, device)
    right, own, gap_m = crops.right[rows], crops.own_view[rows], crops.gap_m[rows]
    groups = {
        "touching": right & (gap_m < TOUCHING_M),
        "others": right & (gap_m >= TOUCHING_M),
        "own_view": right & own,
    }
    values = {} if bool(right.all()) else {"wrong_way/side": float(errors.side[~right].mean())}
    for name, mask in groups.items():
        if not bool(mask.any()):
            continue
        values[f"{name}/world_mm"] = 1000 * float(errors.world_m[mask].mean())
        for measure in ("points", "size", "side"):
            values[f"{name}/{measure}"] = float(getattr(errors, measure)[mask].mean())
    return values
