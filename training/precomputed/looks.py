# SPDX-License-Identifier: GPL-3.0-or-later
"""The looks of a precomputed set with their truth, one row a hand."""

from pathlib import Path

import torch
from torch import Tensor

from inference_core.geometry.rotations import exp
from inference_core.network.hand_looks import points_to_look, world_to_look
from training.precomputed.store import from_bytes, read_look_columns

# A look tells of its hand where the hand's middle lies within it, in its half side.
_INSIDE = 0.8


class LookSet:
    """N looks that show something of their hand, held in memory.

    points (N, 21, 2), world_m (N, 21, 3): the true landmarks in the look, see HandLifter. seen (N,) bool: the landmark
    network's evidence of the hand is of this very frame.
    """

    def __init__(self, folder: Path, paths: list[Path]) -> None:
        """Raises SetError where there is nothing, or a file is damaged."""
        columns = read_look_columns(folder, paths)
        crops, uv = columns["look_crops"], columns["landmarks_uv"]
        shown = crops[..., 2] > 0
        rows, sides = shown.nonzero(as_tuple=True)
        crops, numbers = crops[rows, sides].double().numpy(), sides.numpy()
        uv = uv[rows, sides].double()
        px = _projected(uv, torch.linalg.inv(columns["look_uv_from_px"][rows].double()))
        points = torch.from_numpy(points_to_look(px.numpy(), crops, numbers)).float()
        landmarks_m = columns["landmarks_rel_m"][rows, sides].double()
        focal = columns["evidence_focal_uv"][rows].double()
        along = _along_ray(landmarks_m - landmarks_m.mean(1, keepdim=True), uv.mean(1) / focal[:, None])
        world_m = torch.from_numpy(world_to_look(along.numpy(), crops, numbers)).float()
        kept = points.mean(1).abs().amax(-1) < _INSIDE
        self.points, self.world_m = points[kept], world_m[kept]
        self.seen = (columns["evidence_hand_score"][rows, sides] >= 0.5)[kept]
        self._features = columns["look_features"].flatten(0, 1)
        self._numbers = (rows * 2 + sides)[kept]

    def __len__(self) -> int:
        return len(self.points)

    def features(self, rows: Tensor) -> Tensor:
        """(N, 112, 14, 14) of some rows."""
        return from_bytes(self._features[self._numbers[rows]])


def _projected(points: Tensor, homographies: Tensor) -> Tensor:
    flat = torch.cat([points, torch.ones_like(points[..., :1])], -1) @ homographies.mT
    return flat[..., :2] / flat[..., 2:]


def _along_ray(points_m: Tensor, tangent: Tensor) -> Tensor:
    """Points (N, P, 3) turned from camera axes to those of the line of sight with slopes `tangent` (N, 2)."""
    ray = torch.nn.functional.normalize(torch.cat([tangent, torch.ones_like(tangent[:, :1])], -1), dim=-1)
    sine = torch.stack([-ray[:, 1], ray[:, 0], torch.zeros_like(ray[:, 0])], -1)
    length = sine.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    turn = exp(sine / length * torch.atan2(length, ray[:, 2:]))
    return points_m @ turn
