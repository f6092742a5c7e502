# SPDX-License-Identifier: GPL-3.0-or-later
"""Best rigid and similarity alignments of point sets (Procrustes), any leading axes."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation. scale (...,), rotation (..., 3, 3), translation (..., 3)."""

    scale: Tensor
    rotation: Tensor
    translation: Tensor

    def apply(self, points: Tensor) -> Tensor:
        """Moved points (..., N, 3)."""
        turned = points @ self.rotation.mT
        return self.scale[..., None, None] * turned + self.translation[..., None, :]


def fit_rigid(source: Tensor, target: Tensor) -> Similarity:
    """Best rigid motion (scale 1) of points `source` (..., N, 3) onto `target`."""
    return _fit(source, target, with_scale=False)


def fit_similarity(source: Tensor, target: Tensor) -> Similarity:
    """Best rotation, shift and scale of points `source` (..., N, 3) onto `target` (Umeyama 1991)."""
    return _fit(source, target, with_scale=True)


def _fit(source: Tensor, target: Tensor, with_scale: bool) -> Similarity:
    share = 1 / source.shape[-2]
    source_centre, target_centre = (share * source).sum(-2), (share * target).sum(-2)
    source_arms = source - source_centre[..., None, :]
    target_arms = target - target_centre[..., None, :]
    rotation, gain = _proper_rotation(target_arms.mT @ (share * source_arms))
    if with_scale:
        spread = (share * source_arms.square()).sum((-2, -1))
        scale = gain / spread.clamp(min=torch.finfo(spread.dtype).tiny)
    else:
        scale = torch.ones_like(gain)
    translation = target_centre - scale[..., None] * (rotation @ source_centre[..., None])[..., 0]
    return Similarity(scale, rotation, translation)


def _proper_rotation(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """The rotation (..., 3, 3) nearest a covariance and trace(rotation.T @ covariance) (...,)."""
    u, singular, vh = torch.linalg.svd(covariance)
    sign = torch.det(u @ vh).sign()
    signs = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], -1)
    return (u * signs[..., None, :]) @ vh, (singular * signs).sum(-1)
