# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers used in several parts of the network.

Joint features are (B, S, J, C). Layers named Side... hold separate weights for each hand, stacked on the side axis.
"""

import math

import torch
from torch import Tensor, nn

SIDE_COUNT = 2


class SideLinear(nn.Module):
    """A linear layer for each hand: (B, S, ..., C) -> (B, S, ..., D). weight (S, D, C), bias (S, D)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(SIDE_COUNT, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(SIDE_COUNT, outputs).uniform_(-bound, bound))

    def forward(self, features: Tensor) -> Tensor:
        # One product per hand, weights in their stored layout: an exported einsum
        # would reorder them at every run.
        rows = features.transpose(0, 1).flatten(1, -2)
        out = torch.baddbmm(self.bias[:, None], rows, self.weight.transpose(1, 2))
        return out.unflatten(1, (len(features), *features.shape[2:-1])).transpose(0, 1)


class SideBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of joint features (B, S, J, C), with separate statistics for each hand and channel."""

    def __init__(self, channels: int) -> None:
        super().__init__(SIDE_COUNT * channels)

    def forward(self, input: Tensor) -> Tensor:
        by_joint = input.transpose(1, 2)
        normal = super().forward(by_joint.flatten(2).flatten(0, 1))
        return normal.view(by_joint.shape).transpose(1, 2)


class SideEmbedding(nn.Module):
    """Linear, batch norm, ReLU, linear, with separate weights for each hand: (B, S, J, C) -> (B, S, J, D)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear1 = SideLinear(inputs, outputs)
        self.norm = SideBatchNorm(outputs)
        self.linear2 = SideLinear(outputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear2(torch.relu(self.norm(self.linear1(features))))


class JointBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of joint features (B, S, J, C) over the last axis, with common statistics for both hands."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.flatten(0, -2)).view_as(input)


class SharedEmbedding(nn.Module):
    """Linear, batch norm, ReLU, linear, with common weights for both hands: (B, S, J, C) -> (B, S, J, D)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(inputs, outputs)
        self.norm = JointBatchNorm(outputs)
        self.linear2 = nn.Linear(outputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear2(torch.relu(self.norm(self.linear1(features))))


class Residual(nn.Module):
    """The residual module of the stacked hourglass: pre-activated 1x1, 3x3, 1x1 (supplement, section 1)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = outputs // 2
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, middle, 1)
        self.norm2 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1)
        self.norm3 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, outputs, 1)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        inner = self.conv1(torch.relu(self.norm1(features)))
        inner = self.conv2(torch.relu(self.norm2(inner)))
        inner = self.conv3(torch.relu(self.norm3(inner)))
        return inner + self.skip(features)


def convolution_head(inputs: int, middle: int, outputs: int, first_bias: bool = True) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU, 1x1 convolution."""
    return nn.Sequential(
        nn.Conv2d(inputs, middle, 3, padding=1, bias=first_bias),
        nn.BatchNorm2d(middle),
        nn.ReLU(),
        nn.Conv2d(middle, outputs, 1),
    )
