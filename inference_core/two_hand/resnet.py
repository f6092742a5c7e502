# SPDX-License-Identifier: GPL-3.0-or-later
"""ResNet-50 (He et al. 2016, stride on the 3x3 convolution) as a feature pyramid.

Parameter names are torchvision's, so that its ImageNet weights and the released checkpoint's load unchanged.
"""

import torch
from torch import Tensor, nn

_EXPANSION = 4
_LAYERS = ((64, 3), (128, 4), (256, 6), (512, 3))
_STEM_CHANNELS = 64


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a shortcut."""

    def __init__(self, inputs: int, middle: int, stride: int) -> None:
        super().__init__()
        outputs = middle * _EXPANSION
        self.conv1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        changes = stride != 1 or inputs != outputs
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if changes
            else nn.Identity()
        )

    def forward(self, features: Tensor) -> Tensor:
        inner = torch.relu(self.bn1(self.conv1(features)))
        inner = torch.relu(self.bn2(self.conv2(inner)))
        return torch.relu(self.bn3(self.conv3(inner)) + self.downsample(features))


class ResNet50(nn.Module):
    """(B, 3, 256, 256) -> c1 256 @ 64, c2 512 @ 32, c3 1024 @ 16, c4 2048 @ 8."""

    channels = (256, 512, 1024, 2048)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, _STEM_CHANNELS, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM_CHANNELS)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        inputs = _STEM_CHANNELS
        for index, (middle, depth) in enumerate(_LAYERS, start=1):
            blocks = [Bottleneck(inputs, middle, stride=1 if index == 1 else 2)]
            inputs = middle * _EXPANSION
            blocks += [Bottleneck(inputs, middle, stride=1) for _ in range(depth - 1)]
            self.add_module(f"layer{index}", nn.Sequential(*blocks))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        stem = self.maxpool(torch.relu(self.bn1(self.conv1(image))))
        c1 = self.get_submodule("layer1")(stem)
        c2 = self.get_submodule("layer2")(c1)
        c3 = self.get_submodule("layer3")(c2)
        return c1, c2, c3, self.get_submodule("layer4")(c3)
