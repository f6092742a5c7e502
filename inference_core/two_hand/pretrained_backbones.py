# SPDX-License-Identifier: GPL-3.0-or-later
"""The landmark networks' features as backbones: small, fast, and trained on real hands.

Both networks are bundled and take pictures of any size; at 256 pixels their features have the sizes that the
refinement stages need. They have no batch norm, so they can stay frozen while the rest is trained.
"""

from abc import abstractmethod
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from inference_core.landmarks.formats import LANDMARK_WEIGHTS, PALM_WEIGHTS, WEIGHTS_FOLDER
from inference_core.landmarks.landmark_network import LandmarkNetwork
from inference_core.landmarks.palm_network import PalmNetwork
from inference_core.landmarks.weights import load_weights
from inference_core.two_hand.picture import rgb_of

Features = tuple[Tensor, Tensor, Tensor, Tensor]
Network = TypeVar("Network", PalmNetwork, LandmarkNetwork)


class PretrainedBackbone(nn.Module, Generic[Network]):
    """A bundled network without the layers that only its own outputs need."""

    channels: ClassVar[tuple[int, ...]]
    weights: ClassVar[str]
    heads: ClassVar[tuple[str, ...]]

    def __init__(self, network: Network) -> None:
        super().__init__()
        for name in self.heads:
            delattr(network, name)
        self.trunk = network

    @abstractmethod
    def forward(self, image: Tensor) -> Features:
        """Features at strides 4, 8, 16 and 32 of pictures (B, 3, 256, 256), ImageNet-normalised."""

    def load_pretrained(self) -> None:
        """Load the bundled weights. Raises WeightsError if they are damaged."""
        self.trunk.load_state_dict(self._pretrained())

    def is_pretrained(self) -> bool:
        """Whether the weights are still the bundled ones."""
        own, pretrained = self.trunk.state_dict(), self._pretrained()
        return all(torch.equal(own[key].cpu(), pretrained[key]) for key in own)

    def _pretrained(self) -> dict[str, Tensor]:
        whole = type(self.trunk)()
        load_weights(whole, WEIGHTS_FOLDER / self.weights)
        state = whole.state_dict()
        return {key: state[key] for key in self.trunk.state_dict()}


class PalmBackbone(PretrainedBackbone[PalmNetwork]):
    """The palm detector's features: 64 @ 64, 128 @ 32, 256 @ 16, 256 @ 8.

    Its two merged levels encode where palms are and how they are oriented, which an ImageNet
    backbone would first have to learn.
    """

    channels = (64, 128, 256, 256)
    weights = PALM_WEIGHTS
    heads = ("logits_16", "boxes_16", "logits_8", "boxes_8")

    def __init__(self) -> None:
        super().__init__(PalmNetwork())

    def forward(self, image: Tensor) -> Features:
        """Of pictures (B, 3, H, W): the encoder's features at strides 4 and 32, the merged ones at 8 and 16."""
        palm = self.trunk
        at_4 = palm.stage_4(palm.down_4(palm.stage_2(palm.stem_activation(palm.stem(rgb_of(image))))))
        at_8 = palm.stage_8(palm.down_8(at_4))
        at_16 = palm.stage_16(palm.down_16(at_8))
        at_32 = palm.stage_32(palm.down_32(at_16))
        coarse = palm.merge_16(at_16 + palm.up_16(at_32))
        return at_4, palm.merge_8(at_8 + palm.up_8(coarse)), coarse, at_32


class LandmarkBackbone(PretrainedBackbone[LandmarkNetwork]):
    """The landmark network's features: 24 @ 64, 40 @ 32, 112 @ 16, 192 @ 8.

    It was trained on crops of one upright hand; here hands are smaller, rotated, and come in pairs.
    """

    channels = (24, 40, 112, 192)
    weights = LANDMARK_WEIGHTS
    heads = ("last_expand", "last_filter", "right", "presence", "points", "world")

    def __init__(self) -> None:
        super().__init__(LandmarkNetwork())

    def forward(self, image: Tensor) -> Features:
        return self.trunk.pyramid(rgb_of(image))
