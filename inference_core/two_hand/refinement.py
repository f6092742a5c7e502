# SPDX-License-Identifier: GPL-3.0-or-later
"""One refinement stage: pixels to joints, joints to joints, joints back to pixels (paper sections 3.2, 3.3)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference_core.two_hand.blocks import Residual, SharedEmbedding, SideEmbedding
from inference_core.two_hand.bone_projection import BoneProjection
from inference_core.two_hand.conditioning_input import ConditioningMaps
from inference_core.two_hand.configuration import NetworkConfiguration
from inference_core.two_hand.hand_parameters import HandParameters
from inference_core.two_hand.joint_graph import JOINT_COUNT, JointGraph
from inference_core.two_hand.joint_transformer import JointTransformer
from inference_core.two_hand.records import OFFSET_UNIT_M, Conditioning, HandStage
from inference_core.two_hand.regressors import RefinementRegressor


class Refinement(nn.Module):
    """A stage at features of `size` pixels a side, with the previous map and the
    backbone's skip of that size as inputs.

    draws: whether later layers read the features that it writes back.
    """

    def __init__(
        self,
        configuration: NetworkConfiguration,
        before_channels: int,
        skip_channels: int,
        size: int,
        reach_px: float,
        conditioning_channels: int,
        as_published: bool,
        draws: bool,
    ) -> None:
        super().__init__()
        visual, joint = configuration.visual_channels, configuration.joint_channels
        projected = configuration.projected_channels
        self.size = size
        self.maps = ConditioningMaps(skip_channels) if conditioning_channels else None
        self.skip = Residual(skip_channels, visual)
        self.fusion = Residual(before_channels + visual, visual)
        self.image_embedding = SideEmbedding(visual, joint)
        self.joint_embedding = SideEmbedding(3, joint)
        # For the conditioning; the name is that in the bundled weights.
        self.evidence_embedding = (
            SideEmbedding(conditioning_channels, joint) if conditioning_channels else None
        )
        self.graph = JointGraph(joint, configuration.graph_layers)
        self.common_embedding = SharedEmbedding(3, joint)
        self.transformer = JointTransformer(joint, projected, configuration.transformer_blocks)
        self.regressor = RefinementRegressor(configuration, JOINT_COUNT)
        if draws:
            self.projection = BoneProjection(projected, visual, size, reach_px, as_published)
            self.enhancement = Residual(2 * visual, visual)

    def fused(self, before: Tensor, skip: Tensor, conditioning: Conditioning | None) -> Tensor:
        """(B, C, N, N): the previous map upsampled by two, combined with the
        backbone's features and the conditioning.
        """
        if self.maps is not None and conditioning is not None:
            skip = self.maps(skip, conditioning)
        doubled = F.interpolate(before, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.fusion(torch.cat([doubled, self.skip(skip)], 1))

    def joint_features(self, fused: Tensor, previous: HandStage, conditioning: Tensor | None) -> Tensor:
        """(B, S, 21, D) features of both hands' joints after attention between them.

        conditioning (B, S, 21, E): landmarks compared with the previous stage's joints, or None.
        """
        joints = previous.joints_m.detach() / OFFSET_UNIT_M
        features = self.image_embedding(sampled(fused, previous.joints_uv.detach())) + self.joint_embedding(
            joints
        )
        if self.evidence_embedding is not None and conditioning is not None:
            features = features + self.evidence_embedding(conditioning)
        features = self.graph(features)
        half = previous.offset_m.detach()[:, None] / (2 * OFFSET_UNIT_M)
        common = joints + torch.stack([-half, half], 1)
        return self.transformer(features + self.common_embedding(common))

    def regressed(self, features: Tensor, previous: HandParameters) -> tuple[Tensor, Tensor, Tensor | None]:
        """Parameters (B, S, 64), offset (B, 3) and heads (B, S, 3) or None."""
        return self.regressor(features, previous.parameters.detach(), previous.offset.detach())

    def enhanced(self, fused: Tensor, features: Tensor, uv: Tensor) -> Tensor:
        """(B, C, N, N): the fused map plus the joints' features, projected along the bones at uv (B, S, 21, 2)."""
        return self.enhancement(torch.cat([fused, self.projection(features, uv)], 1))


def sampled(features: Tensor, uv: Tensor) -> Tensor:
    """(B, S, J, C): features (B, C, N, N) sampled at uv (B, S, J, 2), bilinear, zero outside."""
    grid = uv.flatten(1, 2)[:, None].to(features.dtype)
    values = F.grid_sample(features, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return values[:, :, 0].transpose(1, 2).unflatten(1, uv.shape[1:3])
