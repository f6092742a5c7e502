# SPDX-License-Identifier: GPL-3.0-or-later
"""DIR: decoupled iterative refinement of two interacting hands from one picture (ICCV 2023).

Stage 0 regresses both hands from the backbone's last features. Each refinement stage samples the picture at the
current joints, exchanges information between joints, regresses again, and projects the joint features back into the
picture's. Departures from the paper: no gradient flows from one stage's hands into the previous stage (as
released), nor through the projection's geometry; `dir-s` corrects the previous stage instead of starting over, and
takes conditioning as an input.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from inference_core.hand_model.hand import HandModel
from inference_core.two_hand.blocks import convolution_head
from inference_core.two_hand.conditioning_input import (
    HAND_CONDITIONING_CHANNELS,
    JOINT_CONDITIONING_CHANNELS,
    first_guess,
    hand_conditioning,
    joint_conditioning,
)
from inference_core.two_hand.configuration import NetworkConfiguration
from inference_core.two_hand.efficientnet import EfficientNetLite0
from inference_core.two_hand.hand_parameters import (
    HandParameters,
    absolute_numbers,
    corrected_numbers,
    detached,
    posed_hands,
)
from inference_core.two_hand.pretrained_backbones import LandmarkBackbone, PalmBackbone
from inference_core.two_hand.records import Conditioning, DirOutput, HandStage
from inference_core.two_hand.refinement import Refinement
from inference_core.two_hand.regressors import BaselineRegressor, ConditionedBaselineRegressor
from inference_core.two_hand.resnet import ResNet50

Levels = tuple[Tensor, Tensor, Tensor, Tensor]

BACKBONES = {
    "resnet50": ResNet50,
    "efficientnet_lite0": EfficientNetLite0,
    "palm": PalmBackbone,
    "landmark": LandmarkBackbone,
}

# Size of the features in pixels, index of the backbone's skip and reach of the
# bones, for each refinement stage.
_STAGES = ((16, 2, 1.0), (32, 1, 2.0))


class DirNetwork(nn.Module):
    """The network of a configuration. It holds weights only: the hand model comes with each call.

    as_published: builds the bone projection's map as the paper describes it, for counting and comparing.
    """

    def __init__(self, configuration: NetworkConfiguration, as_published: bool = False) -> None:
        super().__init__()
        self.configuration = configuration
        self.backbone = BACKBONES[configuration.backbone]()
        channels = self.backbone.channels
        conditioning = configuration.conditioning
        self.baseline = (
            ConditionedBaselineRegressor(configuration, channels[2], channels[3], HAND_CONDITIONING_CHANNELS)
            if conditioning
            else BaselineRegressor(configuration, channels[3])
        )
        befores = (channels[3], configuration.visual_channels)
        # The last stage projects into the picture's features only for the maps.
        drawing = configuration.stages if configuration.maps else configuration.stages - 1
        self.refinements = nn.ModuleList(
            Refinement(
                configuration,
                before,
                channels[skip],
                size,
                reach_px,
                JOINT_CONDITIONING_CHANNELS if conditioning else 0,
                as_published,
                draws=index < drawing,
            )
            for index, (before, (size, skip, reach_px)) in enumerate(
                zip(befores, _STAGES[: configuration.stages], strict=False)
            )
        )
        if configuration.stages > 0 and configuration.maps:
            visual = configuration.visual_channels
            final = convolution_head(visual, visual, visual, first_bias=False)
            self.final = final if configuration.final_convolution else nn.Identity()
            self.side_head = convolution_head(visual, visual // 2, 3)
            self.dense_head = convolution_head(visual, visual // 2, 3)

    def forward(
        self,
        image: Tensor,
        hand: HandModel,
        conditioning: Conditioning | None = None,
        vertices: bool = True,
        picture_heads: bool = True,
    ) -> DirOutput:
        """Both hands after every stage.

        image (B, 3, 256, 256): RGB, ImageNet-normalised. conditioning: for networks that take it; None
        if nothing is known. vertices: whether to skin the meshes. picture_heads: whether to compute
        the dense map and the side scores.
        """
        return self.from_levels(self.backbone(image), hand, conditioning, vertices, picture_heads)

    def from_levels(
        self,
        levels: Levels,
        hand: HandModel,
        conditioning: Conditioning | None = None,
        vertices: bool = True,
        picture_heads: bool = True,
    ) -> DirOutput:
        """The same from the backbone's features, for a frozen backbone whose features were computed before."""
        if not self.configuration.conditioning:
            conditioning = None
        elif conditioning is None:
            conditioning = Conditioning.none(len(levels[3]), partial(torch.zeros, device=levels[3].device))
        picture_heads = picture_heads and self.configuration.maps
        numbers, stage = self._baseline(levels, hand, conditioning, vertices)
        stages, features = [stage], levels[3]
        for refinement, (_, skip, _) in zip(self._refinements(), _STAGES, strict=False):
            fused = refinement.fused(features, levels[skip], conditioning)
            joint_input = None if conditioning is None else joint_conditioning(conditioning, stage)
            joints = refinement.joint_features(fused, stage, joint_input)
            numbers, heads = self._interpreted(numbers, refinement.regressed(joints, numbers))
            stage = self._posed(numbers, hand, vertices, heads)
            stages.append(stage)
            if picture_heads or refinement is not self.refinements[-1]:
                features = refinement.enhanced(fused, joints, stage.joints_uv)
        if not stages[1:] or not picture_heads:
            return DirOutput(tuple(stages))
        final = self.final(features)
        return DirOutput(tuple(stages), self.dense_head(final).float(), self.side_head(final).float())

    def _baseline(
        self, levels: Levels, hand: HandModel, conditioning: Conditioning | None, vertices: bool
    ) -> tuple[HandParameters, HandStage]:
        if isinstance(self.baseline, ConditionedBaselineRegressor):
            assert conditioning is not None
            start = first_guess(conditioning, hand)
            regressed = self.baseline(levels[2], levels[3], hand_conditioning(conditioning, start))
        else:
            start, regressed = None, self.baseline(levels[3])
        numbers, heads = self._interpreted(start, regressed)
        return numbers, self._posed(numbers, hand, vertices, heads)

    def _interpreted(
        self, previous: HandParameters | None, regressed: tuple[Tensor, Tensor, Tensor | None]
    ) -> tuple[HandParameters, Tensor | None]:
        """The hands described by a regression's numbers, in float32 whatever precision the convolutions used."""
        parameters, offset = regressed[0].float(), regressed[1].float()
        heads = None if regressed[2] is None else regressed[2].float()
        with torch.autocast(parameters.device.type, enabled=False):
            if self.configuration.residual and previous is not None:
                return corrected_numbers(detached(previous), parameters, offset), heads
            return absolute_numbers(parameters, offset), heads

    def _posed(
        self, numbers: HandParameters, hand: HandModel, vertices: bool, heads: Tensor | None
    ) -> HandStage:
        with torch.autocast(numbers.pose.device.type, enabled=False):
            return posed_hands(numbers, hand, self.configuration.pose, vertices, heads)

    def _refinements(self) -> list[Refinement]:
        return [module for module in self.refinements if isinstance(module, Refinement)]
