# SPDX-License-Identifier: GPL-3.0-or-later
"""The network's configuration: the released graph, the paper's variants, or the bundled compact network."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from inference_core.shared.errors import WeightsError

CROP_PX = 256
PARAMETERS = 64

Backbone = Literal["resnet50", "efficientnet_lite0", "palm", "landmark"]
Attention = Literal["full", "light", "none"]
Pose = Literal["coefficients", "angles"]

# Limits on a network's sizes: far above those of any trained network, yet quick to build.
_RANGES = {
    "visual_channels": (8, 512),
    "joint_channels": (8, 512),
    "projected_channels": (8, 512),
    "attention_channels": (1, 512),
    "graph_layers": (0, 8),
    "transformer_blocks": (0, 8),
    "dropout": (0, 0.9),
}


@dataclass(frozen=True)
class NetworkConfiguration:
    """A DIR graph. Networks of equal configuration have the same parameters.

    stages: refinement stages after the baseline, 0 to 2. attention: the baseline's attention over the last
    features, one map per hand: "full" is the release's 3x3 convolution to half the channels, "light" a 1x1
    convolution to `attention_channels`, "none" the plain mean (an ablation in the paper). transformer_blocks:
    blocks that run (the release stores one more, which never runs). pose: the meaning of the 45 pose numbers:
    "coefficients" of the hand model's components about its mean (MANO's), or "angles" (flexion, spread, twist)
    about its joint axes, which are the same for every hand model. final_convolution: the release's convolution
    before the segmentation and dense heads; the paper's GFLOPs are those of a graph without it, and it does not
    affect the hands. residual: each stage corrects the one before instead of starting over. conditioning: landmarks
    and sides are an input (the baseline then corrects a first guess made from them). presence: heads for presence
    and expected error. maps: segmentation and dense heads, used in training only. dropout: share of the conditioned
    baseline's hidden features that training drops.
    """

    name: str
    backbone: Backbone
    attention: Attention
    stages: int = 2
    visual_channels: int = 256
    joint_channels: int = 128
    projected_channels: int = 64
    graph_layers: int = 4
    transformer_blocks: int = 4
    attention_channels: int = 32
    pose: Pose = "coefficients"
    final_convolution: bool = True
    residual: bool = False
    conditioning: bool = False
    presence: bool = True
    maps: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.stages <= 2:
            raise WeightsError(f"A network has 0, 1 or 2 refinement stages, not {self.stages}.")
        choices = {"backbone": get_args(Backbone), "attention": get_args(Attention), "pose": get_args(Pose)}
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise WeightsError(
                    f"{field} is {getattr(self, field)!r}; choose one of {', '.join(allowed)}."
                )
        for field, (low, high) in _RANGES.items():
            if not low <= getattr(self, field) <= high:
                raise WeightsError(f"{field} is {getattr(self, field)}; it lies between {low} and {high}.")

    def with_stages(self, stages: int) -> NetworkConfiguration:
        """The same network with fewer or more refinement stages."""
        return dataclasses.replace(self, stages=stages)


DIR_RELEASE = NetworkConfiguration("dir-release", "resnet50", "full", transformer_blocks=3, presence=False)
DIR_PAPER = NetworkConfiguration("dir-paper", "resnet50", "light", final_convolution=False)
DIR_S = NetworkConfiguration(
    "dir-s",
    "palm",
    "light",
    visual_channels=64,
    joint_channels=96,
    projected_channels=32,
    graph_layers=2,
    transformer_blocks=4,
    pose="angles",
    final_convolution=False,
    residual=True,
    conditioning=True,
    maps=False,
    dropout=0.1,
)

CONFIGURATIONS = {configuration.name: configuration for configuration in (DIR_RELEASE, DIR_PAPER, DIR_S)}
