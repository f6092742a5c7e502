# SPDX-License-Identifier: GPL-3.0-or-later
"""Joint features written back into the picture along the projected bones (paper section 3.3)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference_core.shared.skeleton import PARENTS_21
from inference_core.two_hand.blocks import SIDE_COUNT, SharedEmbedding

BONE_COUNT = len(PARENTS_21) - 1
_TINY_PX = 1e-6


class BoneProjection(nn.Module):
    """Picture features (B, D, N, N) of joint features (B, S, J, C) at uv (B, S, J, 2).

    A pixel within reach of a bone receives the features of the bone's two joints, weighted by proximity. Each of
    the 40 bones has its own channels, and a 3x3 convolution reads all 40 C of them. That map is nearly empty, and
    it is an outer product of weights and features, so by default it is never built: the kernel is applied to the
    joints' features first, and the result is multiplied by the weights of the nine neighbouring pixels. These two
    matrix products give the same numbers with 30 times fewer operations. `as_published` builds the map, for
    counting operations and for comparison.
    """

    def __init__(
        self, channels: int, outputs: int, size: int, reach_px: float, as_published: bool = False
    ) -> None:
        super().__init__()
        self.size, self.reach_px, self.as_published = size, reach_px, as_published
        self.embedding = SharedEmbedding(channels, channels)
        self.conv = nn.Conv2d(SIDE_COUNT * BONE_COUNT * channels, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.head = nn.Conv2d(outputs, outputs, 1)

    def forward(self, features: Tensor, uv: Tensor) -> Tensor:
        features = self.embedding(features)
        weights = bone_weights(uv.detach().float(), self.size, self.reach_px).to(features.dtype)
        ends = torch.stack([features[:, :, _PARENTS], features[:, :, 1:]], 3)
        drawn = self.conv(bone_map(weights, ends)) if self.as_published else self._drawn(weights, ends)
        return self.head(torch.relu(self.norm(drawn)))

    def _drawn(self, weights: Tensor, ends: Tensor) -> Tensor:
        """The convolution of `bone_map(weights, ends)`, computed without building the map."""
        kernel = self.conv.weight.unflatten(1, (SIDE_COUNT * BONE_COUNT, -1)).flatten(-2).permute(1, 2, 3, 0)
        by_bone = ends.flatten(1, 2).transpose(0, 1)
        batch, outputs = len(ends), kernel.shape[-1]
        stamps = by_bone.flatten(1, 2) @ kernel.flatten(2)
        stamps = stamps.view(-1, batch, 2 * 9, outputs).transpose(0, 1).flatten(1, 2)
        around = F.pad(weights.flatten(1, 3), (1, 1, 1, 1))
        size = self.size
        shifts = [around[:, :, y : y + size, x : x + size] for y in range(3) for x in range(3)]
        neighbours = torch.stack(shifts, 2).flatten(1, 2).flatten(2)
        assert self.conv.bias is not None
        drawn = stamps.transpose(1, 2) @ neighbours + self.conv.bias[:, None].to(stamps.dtype)
        return drawn.unflatten(-1, (size, size))


_PARENTS: list[int] = PARENTS_21[1:].tolist()


def bone_weights(uv: Tensor, size: int, reach_px: float) -> Tensor:
    """(B, S, 20, 2, N, N): each pixel's weights of a bone's parent and child; 0 beyond `reach_px` of the bone.

    With dp, dc the distances from the pixel's centre to parent and child, their weights are dc / (dp + dc) and
    dp / (dp + dc). uv (B, S, 21, 2).
    """
    joints_px = (uv + 1) * (size / 2)
    centres = torch.arange(size, device=uv.device, dtype=uv.dtype) + 0.5
    parent, child = joints_px[:, :, _PARENTS, :, None, None], joints_px[:, :, 1:, :, None, None]
    x, y = centres[None, :], centres[:, None]
    from_parent_x, from_parent_y = x - parent[:, :, :, 0], y - parent[:, :, :, 1]
    bone_x, bone_y = (child - parent).unbind(3)
    length_sq = (bone_x.square() + bone_y.square()).clamp(min=_TINY_PX)
    along = ((from_parent_x * bone_x + from_parent_y * bone_y) / length_sq).clamp(0, 1)
    to_bone_sq = (from_parent_x - along * bone_x).square() + (from_parent_y - along * bone_y).square()
    to_parent = (from_parent_x.square() + from_parent_y.square()).sqrt()
    to_child = ((x - child[:, :, :, 0]).square() + (y - child[:, :, :, 1]).square()).sqrt()
    share = to_child / (to_parent + to_child).clamp(min=_TINY_PX)
    near = to_bone_sq < reach_px * reach_px
    return torch.where(near[:, :, :, None], torch.stack([share, 1 - share], 3), 0.0)


def bone_map(weights: Tensor, ends: Tensor) -> Tensor:
    """(B, S * 20 * C, N, N): every bone's features, each in its own channels.

    weights (B, S, 20, 2, N, N): from `bone_weights`. ends (B, S, 20, 2, C): the features of parent and child.
    """
    return torch.einsum("bskeyx,bskec->bskcyx", weights, ends).flatten(1, 3)
