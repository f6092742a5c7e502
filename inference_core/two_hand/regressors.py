# SPDX-License-Identifier: GPL-3.0-or-later
"""The attention baseline (stage 0) and the regression at the end of each refinement stage."""

import torch
from torch import Tensor, nn

from inference_core.two_hand.blocks import SIDE_COUNT, SideLinear
from inference_core.two_hand.configuration import PARAMETERS, Attention, NetworkConfiguration

# Presence logit, logarithm of the error in uv, logarithm of the error in metres.
HEAD_COUNT = 3
_TRUNK_CHANNELS, _TRUNK_BLOCKS = 768, 3
# Inputs are clipped at this many standard deviations from the mean.
_FAR_OUT = 5.0
_TINY = 1e-8


class AttentionPooling(nn.Module):
    """The mean of the last features for each hand, weighted by a learned map: (B, C, N, N)
    -> (B, S, C) (paper section 3.1).

    The release's maps ("full") have 37.7 million parameters, more than the paper reports;
    "light" stays within its count.
    """

    def __init__(self, channels: int, attention: Attention, light_channels: int) -> None:
        super().__init__()
        self.attention = attention
        middle, kernel = (channels // 2, 3) if attention == "full" else (light_channels, 1)
        self.scores = nn.Sequential(
            nn.Conv2d(channels, SIDE_COUNT * middle, kernel, padding=kernel // 2),
            nn.BatchNorm2d(SIDE_COUNT * middle),
            nn.ReLU(),
            nn.Conv2d(SIDE_COUNT * middle, SIDE_COUNT, 1, groups=SIDE_COUNT),
        )

    def forward(self, features: Tensor) -> Tensor:
        weights = torch.sigmoid(self.scores(features).float()).flatten(2)
        pooled = torch.einsum("bcn,bsn->bsc", features.float().flatten(2), weights)
        return pooled / (weights.sum(-1, keepdim=True) + _TINY)


class MeanPooling(nn.Module):
    """The plain mean for both hands: the ablation without attention."""

    def forward(self, features: Tensor) -> Tensor:
        return features.float().mean((2, 3))[:, None].expand(-1, SIDE_COUNT, -1)


class Layout(nn.Module):
    """Spatial layout, which pooling discards: features (B, C, 16, 16) -> (B, 1024)."""

    channels = 16 * 8 * 8

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, 1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 16, 3, 2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features).flatten(1)


class Trunk(nn.Module):
    """Maps all inputs to features shared by both hands: (B, C) -> (B, D).

    Inputs are standardised first, because lengths, angles and scores have different units.
    """

    def __init__(self, inputs: int, dropout: float) -> None:
        super().__init__()
        width = _TRUNK_CHANNELS
        self.norm1 = nn.BatchNorm1d(inputs)
        self.linear = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, width),
                nn.GELU(),
                nn.Dropout(dropout),
                nn.Linear(width, width),
            )
            for _ in range(_TRUNK_BLOCKS)
        )
        self.last_norm = nn.LayerNorm(width)

    def forward(self, known: Tensor) -> Tensor:
        features = self.linear(self.norm1(known).clamp(-_FAR_OUT, _FAR_OUT))
        for block in self.blocks:
            features = features + block(features)
        return self.last_norm(features)


class BaselineRegressor(nn.Module):
    """Last features (B, C, N, N) -> parameters (B, S, 64), offset (B, 3), heads (B, S, 3) or None (section 3.1)."""

    def __init__(self, configuration: NetworkConfiguration, channels: int) -> None:
        super().__init__()
        light = configuration.attention_channels
        attention = configuration.attention
        self.pooling = MeanPooling() if attention == "none" else AttentionPooling(channels, attention, light)
        self.parameters_head = SideLinear(channels, PARAMETERS)
        self.offset_head = nn.Linear(channels, 3)
        self.heads = SideLinear(channels, HEAD_COUNT) if configuration.presence else None
        if configuration.residual:
            start_small(self.parameters_head, self.offset_head)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        pooled, mean = self.pooling(features), features.float().mean((2, 3))
        heads = None if self.heads is None else self.heads(pooled)
        return self.parameters_head(pooled), self.offset_head(mean), heads


class ConditionedBaselineRegressor(nn.Module):
    """The baseline with conditioning.

    One trunk receives both hands' pooled features, the mean features, the layout of the level before and both hands'
    conditioning; its heads cover both hands.
    """

    def __init__(
        self,
        configuration: NetworkConfiguration,
        before_channels: int,
        channels: int,
        conditioning_channels: int,
    ) -> None:
        super().__init__()
        self.pooling = AttentionPooling(channels, configuration.attention, configuration.attention_channels)
        self.layout = Layout(before_channels)
        known = (1 + SIDE_COUNT) * channels + Layout.channels + SIDE_COUNT * conditioning_channels
        self.trunk = Trunk(known, configuration.dropout)
        self.parameters_head = nn.Linear(_TRUNK_CHANNELS, SIDE_COUNT * PARAMETERS)
        self.offset_head = nn.Linear(_TRUNK_CHANNELS, 3)
        self.heads = nn.Linear(_TRUNK_CHANNELS, SIDE_COUNT * HEAD_COUNT) if configuration.presence else None
        start_small(self.parameters_head, self.offset_head)

    def forward(
        self, before: Tensor, features: Tensor, conditioning: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The baseline's outputs. before (B, C, 16, 16): the level before the last; conditioning (B, S, E)."""
        parts = [
            self.pooling(features).flatten(1),
            features.mean((2, 3)),
            self.layout(before),
            conditioning.flatten(1),
        ]
        shared = self.trunk(torch.cat([part.float() for part in parts], 1))
        heads = None if self.heads is None else self.heads(shared).unflatten(1, (SIDE_COUNT, HEAD_COUNT))
        parameters = self.parameters_head(shared).unflatten(1, (SIDE_COUNT, PARAMETERS))
        return parameters, self.offset_head(shared), heads


class RefinementRegressor(nn.Module):
    """Joint features (B, S, 21, D) and the previous stage's numbers -> parameters, offset, heads, as the baseline."""

    def __init__(self, configuration: NetworkConfiguration, joint_count: int) -> None:
        super().__init__()
        own = joint_count * configuration.projected_channels
        self.parameters_head = SideLinear(own + PARAMETERS, PARAMETERS)
        self.offset_head = nn.Linear(SIDE_COUNT * own + 3, 3)
        self.heads = SideLinear(own + PARAMETERS, HEAD_COUNT) if configuration.presence else None
        if configuration.residual:
            start_small(self.parameters_head, self.offset_head)

    def forward(
        self, features: Tensor, parameters: Tensor, offset: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        own = torch.cat([features.flatten(2), parameters], -1)
        offset = self.offset_head(torch.cat([features.flatten(1), offset], -1))
        return self.parameters_head(own), offset, None if self.heads is None else self.heads(own)


def start_small(*layers: SideLinear | nn.Linear) -> None:
    """Initialise a correcting stage's output to almost zero."""
    for layer in layers:
        nn.init.normal_(layer.weight, std=1e-3)
        nn.init.zeros_(layer.bias)
