# SPDX-License-Identifier: GPL-3.0-or-later
"""Attention between the joints of both hands: a transformer over 42 tokens (paper section 3.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference_core.two_hand.blocks import SIDE_COUNT
from inference_core.two_hand.joint_graph import JOINT_COUNT

HEADS = 4
_MLP_RATIO = 2
_EPSILON = 1e-6


class Block(nn.Module):
    """Pre-norm attention and pre-norm MLP."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, _EPSILON)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels, _EPSILON)
        self.fc1 = nn.Linear(channels, _MLP_RATIO * channels)
        self.fc2 = nn.Linear(_MLP_RATIO * channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (
            self.qkv(self.norm1(tokens)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        )
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.proj(attended)
        return tokens + self.fc2(F.gelu(self.fc1(self.norm2(tokens))))


class JointTransformer(nn.Module):
    """Joint features (B, S, J, C) -> (B, S, J, D): position embedding, blocks, one shared norm, head."""

    def __init__(self, channels: int, outputs: int, blocks: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(0.02 * torch.randn(SIDE_COUNT, JOINT_COUNT, channels))
        self.blocks = nn.ModuleList(Block(channels) for _ in range(blocks))
        self.norm = nn.LayerNorm(channels, _EPSILON)
        self.head_norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, outputs)

    def forward(self, features: Tensor) -> Tensor:
        tokens = (features + self.positions).flatten(1, 2)
        for block in self.blocks:
            tokens = self.norm(block(tokens))
        return self.head(self.head_norm(tokens)).unflatten(1, (SIDE_COUNT, JOINT_COUNT))
