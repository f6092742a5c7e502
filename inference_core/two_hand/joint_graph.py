# SPDX-License-Identifier: GPL-3.0-or-later
"""Semantic graph convolutions along the bones of each hand (paper section 3.2; Zhao et al. 2019)."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from inference_core.shared.skeleton import PARENTS_21
from inference_core.two_hand.blocks import SIDE_COUNT, SideBatchNorm

JOINT_COUNT = len(PARENTS_21)
# A neighbour's index in the row-major list of the 40 directed bones; non-neighbours point past the end.
_EDGE_COUNT = 2 * (JOINT_COUNT - 1)


class GraphConvolution(nn.Module):
    """Joint features (B, S, J, C) -> (B, S, J, C), with separate weights for each hand, joint, and self or neighbour.

    out_j = x_j W_self,j + sum over neighbours i of softmax(e)_ji x_i W_near,i + bias. The release weights the self
    term by a softmax over a single entry, which is always 1; that parameter is omitted here.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Flat: `to(memory_format=channels_last)` would take a tensor of four or five axes for pictures.
        weight = torch.randn(SIDE_COUNT * 2 * JOINT_COUNT, channels, channels) / math.sqrt(channels)
        self.weight = nn.Parameter(weight)
        self.edges = nn.Parameter(torch.ones(SIDE_COUNT, _EDGE_COUNT))
        self.bias = nn.Parameter(torch.zeros(SIDE_COUNT, channels))
        self.register_buffer("edge_index", torch.from_numpy(_edge_index()), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        # One product per joint, self and neighbour concatenated: an exported einsum would
        # reorder its weights at every run.
        weight = self.weight.unflatten(0, (SIDE_COUNT, 2, JOINT_COUNT)).permute(0, 2, 3, 1, 4)
        by_joint = features.flatten(1, 2).transpose(0, 1) @ weight.flatten(3).flatten(0, 1)
        own, near = by_joint.transpose(0, 1).unflatten(1, (SIDE_COUNT, JOINT_COUNT)).chunk(2, -1)
        absent = self.edges.new_full((SIDE_COUNT, 1), -torch.inf)
        scores = torch.cat([self.edges, absent], 1)[:, self.get_buffer("edge_index")]
        gathered = scores.softmax(-1) @ near
        return own + gathered + self.bias[:, None]


class JointGraph(nn.Module):
    """Graph convolutions, each followed by batch norm and ReLU, without skip connections."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(GraphConvolution(channels) for _ in range(layers))
        self.norms = nn.ModuleList(SideBatchNorm(channels) for _ in range(layers))

    def forward(self, features: Tensor) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            features = torch.relu(norm(convolution(features)))
        return features


def _edge_index() -> np.ndarray:
    """(J, J) int64: row-major index of the bone between two joints; the number of bones where there is none."""
    joined = np.zeros((JOINT_COUNT, JOINT_COUNT), bool)
    children = np.arange(1, JOINT_COUNT)
    joined[children, PARENTS_21[1:]] = joined[PARENTS_21[1:], children] = True
    return np.where(joined, np.cumsum(joined).reshape(joined.shape) - 1, _EDGE_COUNT)
