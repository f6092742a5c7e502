# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of MediaPipe Pose ("pose_detection" and "pose_landmark_full" of the mediapipe 0.10.21 wheel), and that
of MediaPipe Holistic which finds a hand's square about a body's wrist ("hand_recrop").

The landmark network's heat maps and segmentation are left out: a limb's position to a few per cent is enough here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inference_core.landmarks.blocks import InvertedResidual, SameConv, depthwise, rows, trunk_blocks
from inference_core.landmarks.formats import PERSON_VALUES

BODY_LANDMARKS = 39
# Of a body landmark: x, y, z, and the logits that it is visible and that it is in the picture.
_BODY_VALUES = 5

_PERSON_BLOCKS = trunk_blocks(24, 40, 80, 112, 192)
_BODY_BLOCKS = trunk_blocks(24, 32, 64, 88, 144)
_AT_8, _AT_16 = 4, 10
_STEM, _FIRST, _EXPANSION = 24, 16, 6
_ANCHORS_FINE, _ANCHORS_COARSE = 2, 6
_READ = 288
# Outputs of the blocks of the network of a hand's square, and of their first convolution.
_SQUARE_STEM, _SQUARE_BLOCKS = 8, ((16, 8), (32, 16), (64, 32), (64, 32), (32, 16), (16, 8))
_SQUARE_VALUES = 4


class PersonOutput(NamedTuple):
    """boxes (B, 2254, 12): box and key points in input pixels about each anchor. logits (B, 2254)."""

    boxes: Tensor
    logits: Tensor


class BodyOutput(NamedTuple):
    """points (B, 39, 5): x, y, z in crop pixels, logits of visible and of present. presence (B,): 0..1.
    world_m (B, 39, 3): metres about the middle of the hips, in the crop's rotated frame.
    """

    points: Tensor
    presence: Tensor
    world_m: Tensor


class PersonNetwork(nn.Module):
    """BlazePose's detector over (B, 3, 224, 224) RGB in [-1, 1]: heads at strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = _Trunk(_PERSON_BLOCKS)
        widest = _PERSON_BLOCKS[-1][0] * _EXPANSION
        self.last_expand = SameConv(_PERSON_BLOCKS[-1][0], widest)
        self.last_filter = depthwise(widest, 3)
        self.beside_8, self.beside_16 = _separable(40, 96), _separable(112, 192)
        self.up_16 = SameConv(widest, 192)
        self.merge_16 = nn.Sequential(_Separable(192), _Separable(192))
        self.up_8 = SameConv(192, 96)
        self.merge_8 = nn.Sequential(_Separable(96), _Separable(96))
        heads = ((24, _ANCHORS_FINE), (48, _ANCHORS_FINE), (288, _ANCHORS_COARSE))
        self.logits = nn.ModuleList(_head(width, anchors) for width, anchors in heads)
        self.boxes = nn.ModuleList(_head(width, anchors * PERSON_VALUES) for width, anchors in heads)

    def forward(self, images: Tensor) -> PersonOutput:
        at_8, at_16, at_32 = self.trunk.pyramid(images)
        coarse = F.relu6(self.last_filter(F.relu6(self.last_expand(at_32))))
        middle = self.merge_16(F.relu6(self.beside_16(at_16)) + F.relu6(self.up_16(_doubled(coarse))))
        fine = self.merge_8(F.relu6(self.beside_8(at_8)) + F.relu6(self.up_8(_doubled(middle))))
        maps = [_unfolded(x) for x in (fine, middle, coarse)]
        boxes = [rows(head(x), PERSON_VALUES) for head, x in zip(self.boxes, maps, strict=True)]
        logits = [rows(head(x), 1) for head, x in zip(self.logits, maps, strict=True)]
        return PersonOutput(torch.cat(boxes, 1), torch.cat(logits, 1)[..., 0])


class BodyNetwork(nn.Module):
    """BlazePose's landmarks over a (B, 3, 256, 256) RGB crop in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = _Trunk(_BODY_BLOCKS)
        widest = _BODY_BLOCKS[-1][0] * _EXPANSION
        self.last_expand = SameConv(_BODY_BLOCKS[-1][0], widest)
        self.last_filter = depthwise(widest, 3)
        self.narrow_filter, self.narrow_mix = depthwise(widest, 3), SameConv(widest, _READ)
        self.down_64 = _Separable(_READ, stride=2)
        self.at_64 = nn.Sequential(*(_Separable(_READ, before=True) for _ in range(4)))
        self.down_128 = _Separable(_READ, stride=2)
        self.at_128 = nn.Sequential(*(_Separable(_READ, before=True) for _ in range(5)))
        self.points = nn.Conv2d(_READ, BODY_LANDMARKS * _BODY_VALUES, 2)
        self.world = nn.Conv2d(_READ, BODY_LANDMARKS * 3, 2)
        self.presence = nn.Conv2d(_READ, 1, 2)

    def forward(self, crops: Tensor) -> BodyOutput:
        x = self.trunk.pyramid(crops)[-1]
        x = F.relu6(self.last_filter(F.relu6(self.last_expand(x))))
        x = F.relu6(self.narrow_mix(F.relu6(self.narrow_filter(x))))
        x = self.at_128(self.down_128(self.at_64(self.down_64(x))))
        return BodyOutput(
            self.points(x).flatten(1).unflatten(1, (BODY_LANDMARKS, _BODY_VALUES)),
            torch.sigmoid(self.presence(x)).flatten(),
            self.world(x).flatten(1).unflatten(1, (BODY_LANDMARKS, 3)),
        )


class HandSquareNetwork(nn.Module):
    """Two points of the hand in a (B, 3, 256, 256) RGB crop in [0, 1] about a body's wrist: (B, 4), x and y in crop
    pixels of the hand's middle, and of the middle of its square's lower side, where the wrist is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, _SQUARE_STEM, 3, stride=2)
        self.activation = nn.PReLU(_SQUARE_STEM)
        self.filter = depthwise(_SQUARE_STEM, 1)
        widths = (_SQUARE_STEM, *(outputs for outputs, _ in _SQUARE_BLOCKS))
        self.blocks = nn.Sequential(
            *(_Halving(width, *block) for width, block in zip(widths, _SQUARE_BLOCKS, strict=False))
        )
        self.points = nn.Conv2d(widths[-1], _SQUARE_VALUES, 2)

    def forward(self, crops: Tensor) -> tuple[Tensor]:
        x = self.filter(self.activation(self.stem(crops)))
        return (self.points(self.blocks(x)).flatten(1),)


class _Halving(nn.Module):
    """A convolution at stride 2 to a narrow width, a depthwise filter and a pointwise mix; beside it the pooled input,
    filled with empty channels, or without the last ones.
    """

    def __init__(self, inputs: int, outputs: int, narrow: int) -> None:
        super().__init__()
        self.more = outputs - inputs
        self.before, self.scale = nn.PReLU(inputs), depthwise(inputs, 1)
        self.halve, self.between = nn.Conv2d(inputs, narrow, 2, 2), nn.PReLU(narrow)
        self.narrow_scale, self.filter = depthwise(narrow, 1), depthwise(narrow, 3)
        self.mix = SameConv(narrow, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.between(self.halve(self.scale(self.before(x))))
        # Padding by less than nothing cuts off.
        beside = F.pad(F.max_pool2d(x, 2), (0, 0, 0, 0, 0, self.more))
        return self.mix(self.filter(self.narrow_scale(y))) + beside


class _Trunk(nn.Module):
    """The inverted residuals that both networks begin with; pads evenly."""

    def __init__(self, blocks: Sequence[tuple[int, int, int, int]]) -> None:
        super().__init__()
        self.stem = SameConv(3, _STEM, 3, stride=2, even=True)
        self.first_filter = depthwise(_STEM, 3)
        self.first_project = SameConv(_STEM, _FIRST)
        widths = (_FIRST, *(outputs for outputs, *_ in blocks))
        self.blocks = nn.Sequential(
            *(
                InvertedResidual(width, *block, even=True)
                for width, block in zip(widths, blocks, strict=False)
            )
        )

    def pyramid(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at strides 8, 16 and 32."""
        x = F.relu6(self.stem(images))
        x = self.first_project(F.relu6(self.first_filter(x)))
        at_8 = self.blocks[:_AT_8](x)
        at_16 = self.blocks[_AT_8:_AT_16](at_8)
        return at_8, at_16, self.blocks[_AT_16:](at_16)


class _Separable(nn.Module):
    """A depthwise filter and a pointwise convolution, with a shortcut, pooled at stride
    2. before: a ReLU6 between them.
    """

    def __init__(self, width: int, stride: int = 1, before: bool = False) -> None:
        super().__init__()
        self.stride, self.between = stride, before or stride == 2
        self.filter = depthwise(width, 3, stride)
        self.mix = SameConv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.filter(x)
        y = self.mix(F.relu6(y) if self.between else y)
        return F.relu6(y + (F.max_pool2d(x, 2) if self.stride == 2 else x))


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(depthwise(inputs, 3), SameConv(inputs, outputs))


def _head(width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(depthwise(width, 3, stride=2, even=True), SameConv(width, outputs))


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _unfolded(x: Tensor) -> Tensor:
    """(B, 4 C, H, W) to (B, C, 2 H, 2 W), in TFLite's order of channels."""
    return F.pixel_shuffle(x.unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2), 2)
