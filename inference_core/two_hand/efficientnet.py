# SPDX-License-Identifier: GPL-3.0-or-later
"""EfficientNet-Lite0 (Google 2020: EfficientNet-B0 without squeeze-and-excitation, with ReLU6) as a feature pyramid.

Padding is TensorFlow's SAME (the extra row and column at stride 2 are at the bottom and right),
as the published weights require.
"""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

_STEM_CHANNELS = 32
# Each group's blocks, kernel, stride, expansion and output channels.
_GROUPS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# Groups that end the features of strides 4, 8, 16 and 32.
_PYRAMID_ENDS = (1, 2, 4, 6)
_EPSILON = 1e-3
_MOMENTUM = 0.01


class SamePadConv(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, for pictures whose sides are multiples of the stride."""

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = kernel - stride
        if total % 2 == 0:
            return F.conv2d(input, self.weight, self.bias, self.stride, total // 2, groups=self.groups)
        before = total // 2
        padded = F.pad(input, (before, total - before, before, total - before))
        return F.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection, with a shortcut where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.expand = _convolution(inputs, middle, 1) if expansion != 1 else nn.Identity()
        self.depthwise = _convolution(middle, middle, kernel, stride, groups=middle)
        self.project = _convolution(middle, outputs, 1, activation=False)
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        inner = self.project(self.depthwise(self.expand(features)))
        return inner + features if self.adds_input else inner


class EfficientNetLite0(nn.Module):
    """(B, 3, 256, 256) -> 24 @ 64, 40 @ 32, 112 @ 16, 320 @ 8."""

    channels = tuple(_GROUPS[end][4] for end in _PYRAMID_ENDS)

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolution(3, _STEM_CHANNELS, 3, 2)
        self.groups = nn.ModuleList()
        inputs = _STEM_CHANNELS
        for depth, kernel, stride, expansion, outputs in _GROUPS:
            blocks = [InvertedResidual(inputs, outputs, kernel, stride, expansion)]
            blocks += [InvertedResidual(outputs, outputs, kernel, 1, expansion) for _ in range(depth - 1)]
            self.groups.append(nn.Sequential(*blocks))
            inputs = outputs

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features (B, C, H / s, W / s) of pictures (B, 3, H, W) at strides s of 4, 8, 16 and 32."""
        features = self.stem(image)
        levels: list[Tensor] = []
        for index, group in enumerate(self.groups):
            features = group(features)
            if index in _PYRAMID_ENDS:
                levels.append(features)
        return cast(tuple[Tensor, Tensor, Tensor, Tensor], tuple(levels))


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, activation: bool = True
) -> nn.Sequential:
    layers: list[nn.Module] = [
        SamePadConv(inputs, outputs, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, _EPSILON, _MOMENTUM),
    ]
    return nn.Sequential(*layers, *([nn.ReLU6()] if activation else []))
