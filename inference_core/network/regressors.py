# SPDX-License-Identifier: GPL-3.0-or-later
"""The attention baseline (stage 0) and the regression at the end of each refinement stage."""

import torch
from torch import Tensor, nn

from inference_core.network.blocks import SIDE_COUNT, SideLinear
from inference_core.network.configuration import PARAMETERS, Attention, NetworkConfiguration

# Raw presence, logarithm of the error in uv, logarithm of the error in metres.
HEAD_COUNT = 3
_EVIDENCE_MLP_CHANNELS = 256
_TINY = 1e-8


class AttentionPooling(nn.Module):
    """Each hand's own mean of the last features, weighed by a learnt map: (B, C, N, N) -> (B, S, C) (paper
    section 3.1).

    The release's maps ("full") cost 37.7 million parameters, against what the paper reports; "light" stays
    within it.
    """

    def __init__(self, channels: int, attention: Attention, light_channels: int) -> None:
        super().__init__()
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
    """Both hands get the plain mean: the ablation without attention."""

    def forward(self, features: Tensor) -> Tensor:
        return features.float().mean((2, 3))[:, None].expand(-1, SIDE_COUNT, -1)


class BaselineRegressor(nn.Module):
    """Last features (B, C, N, N) -> parameters (B, S, 64), offset (B, 3), heads (B, S, 3) or None.

    With evidence, each hand's linear layer becomes a small perceptron that sees its own pooled features,
    the mean ones and the embedded evidence of both hands.
    """

    def __init__(self, configuration: NetworkConfiguration, channels: int, evidence_channels: int) -> None:
        super().__init__()
        light = configuration.attention_channels
        attention = configuration.attention
        self.pooling = MeanPooling() if attention == "none" else AttentionPooling(channels, attention, light)
        inputs = channels
        self.mix = nn.Identity()
        if configuration.evidence:
            inputs = _EVIDENCE_MLP_CHANNELS
            wide = 2 * channels + SIDE_COUNT * evidence_channels
            self.mix = nn.Sequential(
                SideLinear(wide, inputs), nn.ReLU(), SideLinear(inputs, inputs), nn.ReLU()
            )
        self.parameters_head = SideLinear(inputs, PARAMETERS)
        self.offset_head = nn.Linear(inputs * SIDE_COUNT if configuration.evidence else channels, 3)
        self.heads = SideLinear(inputs, HEAD_COUNT) if configuration.presence else None
        if configuration.residual:
            start_small(self.parameters_head, self.offset_head)

    def forward(self, features: Tensor, evidence: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """evidence (B, S, E): both hands' embedded evidence, or None for a network without."""
        pooled, mean = self.pooling(features), features.float().mean((2, 3))
        if evidence is not None:
            both = torch.cat([mean, evidence.flatten(1)], 1)[:, None].expand(-1, SIDE_COUNT, -1)
            pooled = self.mix(torch.cat([pooled, both], -1))
            mean = pooled.flatten(1)
        heads = None if self.heads is None else self.heads(pooled)
        return self.parameters_head(pooled), self.offset_head(mean), heads


class RefinementRegressor(nn.Module):
    """Joint features (B, S, 21, D) and the previous stage's numbers -> parameters, offset, heads, as the
    baseline.
    """

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
    """Lets a correcting stage begin as one that corrects next to nothing."""
    for layer in layers:
        nn.init.normal_(layer.weight, std=1e-3)
        nn.init.zeros_(layer.bias)
