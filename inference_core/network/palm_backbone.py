# SPDX-License-Identifier: GPL-3.0-or-later
"""The palm detector's features as a backbone: small, fast, and taught on real hands.

MediaPipe's detector is a convolutional network of any input size; at 256 pixels its features have the sizes that
the refinement stages ask for. Its two merged levels know where palms are and which way they point, which an
ImageNet backbone would have to learn first. It has no batch norm, so it can be held still while the rest learns.
"""

import torch
from torch import Tensor, nn

from inference_core.landmarks.palm_network import PalmNetwork
from inference_core.landmarks.weights import PALM_WEIGHTS_PATH, load_weights
from inference_core.network.picture import rgb_of

_HEADS = ("logits_16", "boxes_16", "logits_8", "boxes_8")


class PalmBackbone(nn.Module):
    """(B, 3, 256, 256), ImageNet-normalised -> 64 @ 64, 128 @ 32, 256 @ 16, 256 @ 8."""

    channels = (64, 128, 256, 256)

    def __init__(self) -> None:
        super().__init__()
        self.palm = PalmNetwork()
        for name in _HEADS:
            delattr(self.palm, name)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The encoder's features at strides 4 and 32, the merged ones at strides 8 and 16."""
        palm = self.palm
        at_4 = palm.stage_4(palm.down_4(palm.stage_2(palm.stem_activation(palm.stem(rgb_of(image))))))
        at_8 = palm.stage_8(palm.down_8(at_4))
        at_16 = palm.stage_16(palm.down_16(at_8))
        at_32 = palm.stage_32(palm.down_32(at_16))
        coarse = palm.merge_16(at_16 + palm.up_16(at_32))
        return at_4, palm.merge_8(at_8 + palm.up_8(coarse)), coarse, at_32

    def load_detector(self) -> None:
        """Takes the weights of the palm detector that ships. Raises WeightsError where they are damaged."""
        self.palm.load_state_dict(self._detector())

    def is_detector(self) -> bool:
        """Whether the weights are those of the palm detector that ships."""
        own, detector = self.palm.state_dict(), self._detector()
        return all(torch.equal(own[key].cpu(), detector[key]) for key in own)

    def _detector(self) -> dict[str, Tensor]:
        detector = PalmNetwork()
        load_weights(detector, PALM_WEIGHTS_PATH)
        state = detector.state_dict()
        return {key: state[key] for key in self.palm.state_dict()}
