# SPDX-License-Identifier: GPL-3.0-or-later
"""Convolution blocks of the palm detector and of the landmark networks. Images are (B, C, H, W)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Number of blocks, kernels and strides of the five levels of the landmark networks' trunk.
_COUNTS, _KERNELS, _STRIDES = (2, 2, 3, 3, 4), (3, 5, 3, 5, 5), (2, 2, 2, 1, 2)


class SameConv(nn.Module):
    """A convolution with TFLite's SAME padding: at stride 2 the extra row and column are at the bottom and right.

    even: pad equally on all sides, where TFLite has a separate padding layer.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, even: bool = False
    ) -> None:
        super().__init__()
        self.uneven = stride == 2 and not even
        self.before, self.after = (kernel - 2) // 2, (kernel - 1) // 2
        padding = 0 if self.uneven else kernel // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        if self.uneven:
            x = F.pad(x, (self.before, self.after, self.before, self.after))
        return self.conv(x)


def depthwise(channels: int, kernel: int, stride: int = 1, even: bool = False) -> SameConv:
    """A depthwise convolution: one filter per channel."""
    return SameConv(channels, channels, kernel, stride, groups=channels, even=even)


class InvertedResidual(nn.Module):
    """MobileNetV2's block (widen, filter each channel, narrow), batch norms fused into the convolutions."""

    def __init__(
        self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int, even: bool = False
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.expand = SameConv(inputs, wide)
        self.filter = depthwise(wide, kernel, stride, even)
        self.project = SameConv(wide, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.filter(y), inplace=True))
        return y.add_(x) if self.residual else y


def trunk_blocks(*widths: int) -> tuple[tuple[int, int, int, int], ...]:
    """Output, expansion, kernel and stride of each inverted residual in the landmark networks' trunk,
    for the widths of its five levels.
    """
    levels = zip(widths, _COUNTS, _KERNELS, _STRIDES, strict=True)
    blocks = [
        (width, 6, kernel, 1 if number else stride)
        for width, count, kernel, stride in levels
        for number in range(count)
    ]
    first, *others = blocks
    return ((first[0], 4, *first[2:]), *others)


class BlazeBlock(nn.Module):
    """BlazePalm's block: a depthwise 5x5 filter, a pointwise mix, a shortcut, a PReLU.

    At stride 2 the shortcut is pooled; where the block widens, it is padded with empty channels.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.more = outputs - inputs
        self.filter = depthwise(inputs, 5, stride)
        self.mix = SameConv(inputs, outputs)
        self.activation = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(self.filter(x))
        if self.stride == 2:
            x = F.max_pool2d(x, 2)
        if self.more:
            x = F.pad(x, (0, 0, 0, 0, 0, self.more))
        return self.activation(y.add_(x))


class Upsample(nn.Module):
    """Upsampling by two, then a 1x1 convolution with a PReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mix = SameConv(inputs, outputs)
        self.activation = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.activation(self.mix(x))


def rows(x: Tensor, width: int) -> Tensor:
    """(B, A * width, H, W) as (B, H * W * A, width): one row per anchor, in TFLite's order."""
    return torch.flatten(x.permute(0, 2, 3, 1), 1).unflatten(1, (-1, width))
