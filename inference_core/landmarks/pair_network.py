# SPDX-License-Identifier: GPL-3.0-or-later
"""The pair detector's network, on the palm detector's fine features (see `pair_detector`)."""

from pathlib import Path

import torch
from torch import Tensor, nn

from inference_core.landmarks.blocks import SameConv
from inference_core.landmarks.formats import PAIR_VALUES
from inference_core.landmarks.palm_network import PalmNetwork
from inference_core.landmarks.weights import load_palm_network, load_weights

_HIDDEN = 128


class PairNetwork(nn.Module):
    """(B, 128, 24, 24) fine features of the palm detector to (B, S, PAIR_VALUES, CELLS, CELLS)."""

    def __init__(self) -> None:
        super().__init__()
        palm = PalmNetwork()
        self.down_16, self.stage_16 = palm.down_16, palm.stage_16
        self.down_32, self.stage_32 = palm.down_32, palm.stage_32
        self.up_16, self.merge_16 = palm.up_16, palm.merge_16
        self.head = nn.Sequential(
            SameConv(256, _HIDDEN), nn.PReLU(_HIDDEN), SameConv(_HIDDEN, 2 * PAIR_VALUES)
        )

    def forward(self, features: Tensor) -> Tensor:
        at_16 = self.stage_16(self.down_16(features))
        merged = self.merge_16(at_16 + self.up_16(self.stage_32(self.down_32(at_16))))
        return torch.unflatten(self.head(merged), 1, (2, PAIR_VALUES))


def fine_features(palm: PalmNetwork, images: Tensor) -> Tensor:
    """(B, 128, 24, 24) of (B, 3, 192, 192) RGB in [0, 1]."""
    at_2 = palm.stage_2(palm.stem_activation(palm.stem(images)))
    features: Tensor = palm.stage_8(palm.down_8(palm.stage_4(palm.down_4(at_2))))
    return features


class PairGraph(nn.Module):
    """The palm detector's fine features and a pair network on pictures (B, 192, 192, 3) uint8."""

    def __init__(self, palm: PalmNetwork, network: PairNetwork) -> None:
        super().__init__()
        self.palm, self.network = palm, network

    def forward(self, pictures: Tensor) -> tuple[Tensor]:
        return (self.network(fine_features(self.palm, (pictures.float() / 255).permute(0, 3, 1, 2))),)


def load_pair_graph(path: Path, palm: Path) -> PairGraph:
    """In evaluation mode, on the CPU. Raises WeightsError if a file is damaged or another network's."""
    network = PairNetwork()
    load_weights(network, path)
    return PairGraph(load_palm_network(palm), network).eval().requires_grad_(False)
