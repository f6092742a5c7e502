# SPDX-License-Identifier: GPL-3.0-or-later
"""The landmark head of a weights folder, ready to run, and its readings in the frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_readings import Partners, RefinedLandmarks
from inference_core.landmarks.formats import FEATURES, HEAD_FILE
from inference_core.landmarks.hand_crops import Features, Floats, Sides, points_to_frame, world_to_frame
from inference_core.landmarks.networks import (
    LandmarkNetworks,
    file_digest,
    load_landmark_networks,
    load_partner,
)
from inference_core.runtime.network_graph import NetworkGraph
from inference_core.runtime.network_run import ready_to_run
from inference_core.shared.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

_EARLIER_FILE = "hand_lifter.safetensors"

# The expected error, as a share of half the crop's side, at which a landmark's trust is one half.
_HALF_TRUSTED = 0.1

HeadCall = Callable[[Features], RefinedLandmarks]
PartnerCall = Callable[[Features], Partners]


@dataclass(frozen=True)
class HeadWithLandmarks:
    """A head and the landmark network whose early features it reads, ready to run.

    loaded: the landmark networks, which may have been released meanwhile. partner: the network that predicts the other
    hand, if the weights contain one.
    """

    network: HeadCall
    loaded: Callable[[], LandmarkNetworks]
    partner: PartnerCall | None = None

    @property
    def landmarks(self) -> LandmarkNetworks:
        """The landmark networks."""
        return self.loaded()


def stored_head(folder: Path, device: str = "cpu") -> HeadWithLandmarks | None:
    """The landmark head of a weights folder, ready to run on `device`; None if it holds none.

    Raises WeightsError for a damaged file, and for a folder whose head still has its earlier name.
    """
    path = folder / HEAD_FILE
    if not path.is_file():
        if (folder / _EARLIER_FILE).is_file():
            raise WeightsError(f"{folder / _EARLIER_FILE} is called {HEAD_FILE} now: rename it.")
        return None

    def build() -> nn.Module:
        from inference_core.landmarks.landmark_head import HeadGraph, load_head

        return HeadGraph(load_head(path))

    example = np.zeros((1, *FEATURES), np.float32)
    run = ready_to_run(NetworkGraph("hand-head", file_digest(path), build, (example,)), device)
    loaded, partner = partial(load_landmark_networks, device), _stored_partner(folder, device)
    loaded()
    return HeadWithLandmarks(lambda features: RefinedLandmarks(*run(features)), loaded, partner)


def _stored_partner(folder: Path, device: str) -> PartnerCall | None:
    run = load_partner(folder, device)
    return None if run is None else lambda features: Partners(*run(features))


def in_frame(read: RefinedLandmarks, crops: Floats, sides: Sides) -> tuple[Floats, Floats, Floats]:
    """Readings of N hand crops (N, 4) of hands of `sides` (N,), in the frame.

    Returns landmarks (N, 21, 2) in frame pixels; world landmarks (N, 21, 3) about the hand's centre, in axes along
    the line of sight; and each landmark's trust (N, 21), 0..1, which falls with its expected error.
    """
    trust = 1 / (1 + np.square(np.exp(np.asarray(read.log_sigma[..., 0], np.float64)) / _HALF_TRUSTED))
    return points_in_frame(read, crops, sides), world_in_frame(read, crops, sides), trust


def points_in_frame(read: RefinedLandmarks | Partners, crops: Floats, sides: Sides) -> Floats:
    """Landmarks (N, 21, 2) in frame pixels."""
    return points_to_frame(np.asarray(read.points, np.float64), crops, sides)


def world_in_frame(read: RefinedLandmarks, crops: Floats, sides: Sides) -> Floats:
    """World landmarks (N, 21, 3) about the hand's centre, in axes along the line of sight."""
    return world_to_frame(np.asarray(read.world_m, np.float64), crops, sides)


def expected_errors(read: RefinedLandmarks) -> NDArray[np.float64]:
    """(N,) mean expected errors of the landmarks, of half the crop's side."""
    return np.exp(np.asarray(read.log_sigma[..., 0], np.float64)).mean(-1)
