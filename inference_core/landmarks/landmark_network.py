# SPDX-License-Identifier: GPL-3.0-or-later
"""The 21-landmark network of MediaPipe Hands ("hand_landmark_full" of the mediapipe 0.10.21 wheel)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inference_core.landmarks.blocks import InvertedResidual, SameConv, depthwise, trunk_blocks
from inference_core.landmarks.formats import LANDMARKS

_BLOCKS = trunk_blocks(24, 40, 80, 112, 192)
_STEM, _FIRST, LAST_CHANNELS = 24, 16, 1152
# The blocks after these see the early features.
_EARLY_BLOCKS = 10


class LandmarkOutput(NamedTuple):
    """The network's output for a batch of crops.

    points (B, 21, 3): x, y in crop pixels, z on the same scale with the wrist near 0.
    presence (B,): 0..1. right (B,): 0..1, near 1 for a right hand in plain, unmirrored footage.
    world_m (B, 21, 3): metres about the hand's centre, in the crop's rotated frame.
    """

    points: Tensor
    presence: Tensor
    right: Tensor
    world_m: Tensor


class LandmarkNetwork(nn.Module):
    """A MobileNetV2-like trunk over a (B, 3, 224, 224) RGB crop in [0, 1], then four linear heads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, _STEM, 3, stride=2)
        self.first_filter = depthwise(_STEM, 3)
        self.first_project = SameConv(_STEM, _FIRST)
        blocks: list[nn.Module] = []
        width = _FIRST
        for outputs, expansion, kernel, stride in _BLOCKS:
            blocks.append(InvertedResidual(width, outputs, expansion, kernel, stride))
            width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.last_expand = SameConv(width, LAST_CHANNELS)
        self.last_filter = depthwise(LAST_CHANNELS, 3)
        self.right = nn.Linear(LAST_CHANNELS, 1)
        self.presence = nn.Linear(LAST_CHANNELS, 1)
        self.points = nn.Linear(LAST_CHANNELS, 3 * LANDMARKS)
        self.world = nn.Linear(LAST_CHANNELS, 3 * LANDMARKS)

    def forward(self, crops: Tensor) -> LandmarkOutput:
        return self.read(self.early_features(crops))

    def early_features(self, crops: Tensor) -> Tensor:
        """(B, 112, 14, 14): the input of the later blocks."""
        return self.blocks[:_EARLY_BLOCKS](self._first_features(crops))

    def pyramid(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features at strides 4, 8, 16 and 32, with 24, 40, 112 and 192 channels, of RGB pictures (B, 3, N, N)."""
        at_4 = self.blocks[:2](self._first_features(pictures))
        at_8 = self.blocks[2:4](at_4)
        at_16 = self.blocks[4:_EARLY_BLOCKS](at_8)
        return at_4, at_8, at_16, self.late_blocks(at_16)

    def read(self, features: Tensor) -> LandmarkOutput:
        """The output for early features (B, 112, 14, 14)."""
        x = self.late_blocks(features)
        x = F.relu6(self.last_expand(x), inplace=True)
        x = F.relu6(self.last_filter(x), inplace=True)
        x = x.mean((2, 3))
        return LandmarkOutput(
            self.points(x).unflatten(1, (LANDMARKS, 3)),
            torch.sigmoid(self.presence(x))[:, 0],
            torch.sigmoid(self.right(x))[:, 0],
            self.world(x).unflatten(1, (LANDMARKS, 3)),
        )

    def _first_features(self, crops: Tensor) -> Tensor:
        x = F.relu6(self.stem(crops), inplace=True)
        return self.first_project(F.relu6(self.first_filter(x), inplace=True))

    @property
    def late_blocks(self) -> nn.Sequential:
        """The blocks that read the early features."""
        late = self.blocks[_EARLY_BLOCKS:]
        assert isinstance(late, nn.Sequential)
        return late
