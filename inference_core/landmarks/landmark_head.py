# SPDX-License-Identifier: GPL-3.0-or-later
"""One hand from one crop: its 21 landmarks in the picture and in space, with their expected errors.

The landmark network's last blocks, retrained. Its early features are trained on real hands and stay frozen; its own
output leaves hands tilted by about 20 degrees, especially where the other hand is near. Every crop shows a right hand
(left ones are mirrored), so that one set of weights learns from both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference_core.landmarks.formats import FEATURES, HEAD_FILE, LANDMARKS
from inference_core.landmarks.hand_crops import Floats, Sides, points_to_frame, world_to_frame
from inference_core.landmarks.landmark_network import LAST_CHANNELS, LandmarkNetwork
from inference_core.landmarks.networks import (
    LandmarkNetworks,
    file_digest,
    load_landmark_networks,
    load_partner,
)
from inference_core.landmarks.partner_network import Partners
from inference_core.landmarks.weights import load_weights
from inference_core.runtime.network_graph import NetworkGraph
from inference_core.runtime.network_run import ready_to_run
from inference_core.runtime.torch_run import run_on_tensors
from inference_core.shared.errors import WeightsError

_EARLIER_FILE = "hand_lifter.safetensors"

_HIDDEN = 512
_DROPOUT = 0.2
_BATCH = 64
# The expected error, as a share of half the crop's side, at which a landmark's trust is one half.
_HALF_TRUSTED = 0.1


@dataclass(frozen=True)
class RefinedLandmarks:
    """N hands in their crops.

    points (N, 21, 2): -1..1. world_m (N, 21, 3): about the hand's centre, in the crop's axes.
    log_sigma (N, 21, 2): logarithms of the expected errors of points (same unit) and of world_m (metres). right (N,):
    log odds that the crop shows a right hand, as it should; if not, it was mirrored wrongly.
    """

    points: Tensor
    world_m: Tensor
    log_sigma: Tensor
    right: Tensor

    def float(self) -> RefinedLandmarks:
        """The same in single precision."""
        return RefinedLandmarks(*(value.float() for value in vars(self).values()))


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


HeadCall = Callable[[Tensor], RefinedLandmarks]
PartnerCall = Callable[[Tensor], Partners]


@dataclass(frozen=True)
class HeadWithLandmarks:
    """A head and the landmark network whose early features it reads, ready to run.

    partner: the network that predicts the other hand, if the weights contain one.
    """

    network: HeadCall
    landmarks: LandmarkNetworks
    partner: PartnerCall | None = None


def stored_head(folder: Path, device: torch.device | str = "cpu") -> HeadWithLandmarks | None:
    """The landmark head of a weights folder, ready to run on `device`; None if it holds none.

    Raises WeightsError for a damaged file, and for a folder whose head still has its earlier name.
    """
    path = folder / HEAD_FILE
    if not path.is_file():
        if (folder / _EARLIER_FILE).is_file():
            raise WeightsError(f"{folder / _EARLIER_FILE} is called {HEAD_FILE} now: rename it.")
        return None
    graph = NetworkGraph(
        "hand-head",
        file_digest(path),
        lambda: _HeadGraph(load_head(path)),
        (np.zeros((1, *FEATURES), np.float32),),
    )
    run = ready_to_run(graph, device)
    networks = load_landmark_networks(device)
    partner = _stored_partner(folder, device)
    return HeadWithLandmarks(
        lambda features: RefinedLandmarks(*run_on_tensors(run, features)), networks, partner
    )


def _stored_partner(folder: Path, device: torch.device | str) -> PartnerCall | None:
    run = load_partner(folder, device)
    return None if run is None else lambda features: Partners(*run_on_tensors(run, features))


class _HeadGraph(nn.Module):
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


def read_hand_crops(
    features: Tensor, crops: Floats, sides: Sides, head: HeadCall
) -> tuple[Floats, Floats, Floats]:
    """The head's readings of N hand crops (N, 4) of hands of `sides` (N,), from their features (N, 112, 14, 14).

    Returns landmarks (N, 21, 2) in frame pixels; world landmarks (N, 21, 3) about the hand's centre, in axes along
    the line of sight; and each landmark's trust (N, 21), 0..1, which falls with its expected error.
    """
    with torch.inference_mode():
        parts = [head(part.float()) for part in features.split(_BATCH)]
    names = ("points", "world_m", "log_sigma", "right")
    read = RefinedLandmarks(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
    return in_frame(read, crops, sides)


def in_frame(read: RefinedLandmarks, crops: Floats, sides: Sides) -> tuple[Floats, Floats, Floats]:
    """The same three arrays for given readings."""
    points, world_m, log_sigma = (
        values.double().cpu().numpy() for values in (read.points, read.world_m, read.log_sigma)
    )
    trust = 1 / (1 + np.square(np.exp(log_sigma[..., 0]) / _HALF_TRUSTED))
    return points_to_frame(points, crops, sides), world_to_frame(world_m, crops, sides), trust
