# SPDX-License-Identifier: GPL-3.0-or-later
"""The palm detector of MediaPipe Hands ("palm_detection_full" of the mediapipe 0.10.21 wheel)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from inference_core.landmarks.blocks import BlazeBlock, SameConv, Upsample, rows
from inference_core.landmarks.formats import PALM_VALUES

_BLOCKS_A_STAGE = 4
_ANCHORS_FINE, _ANCHORS_COARSE = 2, 6


class PalmOutput(NamedTuple):
    """boxes (B, 2016, 18): box and key points in input pixels about each anchor. logits (B, 2016)."""

    boxes: Tensor
    logits: Tensor


class PalmNetwork(nn.Module):
    """BlazePalm over (B, 3, 192, 192) RGB in [0, 1]: five stages down, two up, heads at strides 8 and 16."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 5, stride=2)
        self.stem_activation = nn.PReLU(32)
        self.stage_2 = _stage(32)
        self.down_4 = BlazeBlock(32, 64, stride=2)
        self.stage_4 = _stage(64)
        self.down_8 = BlazeBlock(64, 128, stride=2)
        self.stage_8 = _stage(128)
        self.down_16 = BlazeBlock(128, 256, stride=2)
        self.stage_16 = _stage(256)
        self.down_32 = BlazeBlock(256, 256, stride=2)
        self.stage_32 = _stage(256)
        self.up_16 = Upsample(256, 256)
        self.merge_16 = _stage(256, 2)
        self.logits_16 = SameConv(256, _ANCHORS_COARSE)
        self.boxes_16 = SameConv(256, _ANCHORS_COARSE * PALM_VALUES)
        self.up_8 = Upsample(256, 128)
        self.merge_8 = _stage(128, 2)
        self.logits_8 = SameConv(128, _ANCHORS_FINE)
        self.boxes_8 = SameConv(128, _ANCHORS_FINE * PALM_VALUES)

    def forward(self, images: Tensor) -> PalmOutput:
        x = self.stage_2(self.stem_activation(self.stem(images)))
        at_8 = self.stage_8(self.down_8(self.stage_4(self.down_4(x))))
        at_16 = self.stage_16(self.down_16(at_8))
        at_32 = self.stage_32(self.down_32(at_16))
        coarse = self.merge_16(at_16 + self.up_16(at_32))
        fine = self.merge_8(at_8 + self.up_8(coarse))
        boxes = torch.cat(
            (rows(self.boxes_8(fine), PALM_VALUES), rows(self.boxes_16(coarse), PALM_VALUES)), 1
        )
        logits = torch.cat((rows(self.logits_8(fine), 1), rows(self.logits_16(coarse), 1)), 1)
        return PalmOutput(boxes, logits[..., 0])


def _stage(width: int, blocks: int = _BLOCKS_A_STAGE) -> nn.Sequential:
    return nn.Sequential(*(BlazeBlock(width, width) for _ in range(blocks)))
