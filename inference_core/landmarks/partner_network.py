# SPDX-License-Identifier: GPL-3.0-or-later
"""Predicts the other hand from the crop of a known one.

Where two hands touch, the crop of one shows much of the other. A small network on the landmark network's early
features predicts whether there is another hand, and where its landmarks are. (Later features describe the crop's own
hand and contain little about the other.)
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from inference_core.landmarks.crop_readings import Partners
from inference_core.landmarks.formats import FEATURES, LANDMARKS
from inference_core.landmarks.weights import load_weights

_WIDTH, _BLOCKS, _PLACES, _HIDDEN, _DROPOUT = 128, 3, 24, 256, 0.2
_GROWN, _KERNEL = 3, 5


class PartnerNetwork(nn.Module):
    """(N, 112, 14, 14) early features of hand crops to Partners."""

    def __init__(self) -> None:
        super().__init__()
        channels, cells = FEATURES[0], FEATURES[1] // 2
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, _WIDTH, 2, 2, bias=False),
            nn.BatchNorm2d(_WIDTH),
            *(_Block(_WIDTH) for _ in range(_BLOCKS)),
        )
        self.places = _mixed(_WIDTH, _PLACES)
        self.out = nn.Sequential(
            nn.Dropout(_DROPOUT),
            nn.Linear(_PLACES * cells**2 + _WIDTH, _HIDDEN),
            nn.GELU(),
            nn.Dropout(_DROPOUT),
            nn.Linear(_HIDDEN, 2 * LANDMARKS + 2),
        )

    def forward(self, features: Tensor) -> Partners:
        x = self.trunk(features)
        told = self.out(torch.cat([self.places(x).flatten(1), x.mean((2, 3))], 1))
        points, there, log_sigma = told.split((2 * LANDMARKS, 1, 1), 1)
        return Partners(there[:, 0], points.unflatten(1, (LANDMARKS, 2)), log_sigma[:, 0] - 1)


class _Block(nn.Module):
    """A depthwise filter, then channels mixed through a wider layer, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, _KERNEL, padding=_KERNEL // 2, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, _GROWN * width, 1),
            nn.ReLU(),
            nn.Conv2d(_GROWN * width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _mixed(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class PartnerGraph(nn.Module):
    """A partner network that returns Partners as a tuple of tensors."""

    def __init__(self, network: PartnerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        told = self.network(features)
        return told.there, told.points, told.log_sigma


def load_partner_network(path: Path) -> PartnerNetwork:
    """In evaluation mode, on the CPU. Raises WeightsError if the file is damaged or another network's."""
    network = PartnerNetwork()
    load_weights(network, path)
    return network.eval().requires_grad_(False)
