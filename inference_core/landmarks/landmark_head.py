# SPDX-License-Identifier: GPL-3.0-or-later
"""One hand from one crop: its 21 landmarks in the picture and in space, with their expected errors.

The landmark network's last blocks, retrained. Its early features are trained on real hands and stay frozen; its own
output leaves hands tilted by about 20 degrees, especially where the other hand is near. Every crop shows a right hand
(left ones are mirrored), so that one set of weights learns from both.
"""

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from inference_core.landmarks.crop_readings import RefinedLandmarks
from inference_core.landmarks.formats import LANDMARKS
from inference_core.landmarks.landmark_network import LAST_CHANNELS, LandmarkNetwork
from inference_core.landmarks.weights import load_weights

_HIDDEN = 512
_DROPOUT = 0.2


class LandmarkHead(nn.Module):
    """(N, 112, 14, 14) early features of hand crops to RefinedLandmarks."""

    def __init__(self) -> None:
        super().__init__()
        grown = LandmarkNetwork()
        self.blocks, self.last_expand, self.last_filter = (
            grown.late_blocks,
            grown.last_expand,
            grown.last_filter,
        )
        self.points, self.world = nn.Linear(LAST_CHANNELS, 2 * LANDMARKS), grown.world
        self.right = grown.right
        self.correction = nn.Sequential(
            nn.LayerNorm(LAST_CHANNELS),
            nn.Dropout(_DROPOUT),
            nn.Linear(LAST_CHANNELS, _HIDDEN),
            nn.GELU(),
            nn.Dropout(_DROPOUT),
            nn.Linear(_HIDDEN, 7 * LANDMARKS),
        )

    def forward(self, features: Tensor) -> RefinedLandmarks:
        x = F.relu6(self.last_expand(self.blocks(features)))
        x = F.relu6(self.last_filter(x)).mean((2, 3))
        points, world, log_sigma = self.correction(x).unflatten(1, (LANDMARKS, 7)).split((2, 3, 2), -1)
        world_m = self.world(x).unflatten(1, (LANDMARKS, 3)) + 0.1 * world
        return RefinedLandmarks(
            self.points(x).unflatten(1, (LANDMARKS, 2)) + points,
            world_m,
            log_sigma - 3,
            self.right(x)[:, 0],
        )

    def start_from(self, network: LandmarkNetwork) -> None:
        """Load the landmark network's weights; the correction starts at zero."""
        own, theirs = self.state_dict(), network.state_dict()
        for key in own:
            # The blocks keep their numbers.
            if key.startswith(("blocks.", "last_", "world.", "right.")):
                own[key] = theirs[key]
        half_side = 112.0
        for name in ("weight", "bias"):
            of_points = theirs[f"points.{name}"].unflatten(0, (LANDMARKS, 3))[:, :2]
            if name == "bias":
                of_points = of_points - half_side
            own[f"points.{name}"] = (of_points / half_side).flatten(0, 1)
        self.load_state_dict(own)
        last = self.correction[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)


class HeadGraph(nn.Module):
    """A head that returns RefinedLandmarks as a tuple of tensors."""

    def __init__(self, head: LandmarkHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        read = self.head(features)
        return read.points, read.world_m, read.log_sigma, read.right


def load_head(path: Path) -> LandmarkHead:
    """The head in evaluation mode, on the CPU. Raises WeightsError if the file is damaged or another network's."""
    head = LandmarkHead()
    load_weights(head, path)
    return head.eval().requires_grad_(False)
