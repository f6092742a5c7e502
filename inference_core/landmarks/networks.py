# SPDX-License-Identifier: GPL-3.0-or-later
"""The landmark networks ready to run, on arrays. torch is imported only if it runs them, or to convert them once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.formats import (
    BODY_PX,
    BODY_WEIGHTS,
    CROP_PX,
    FEATURES,
    LANDMARK_WEIGHTS,
    PAIR_WEIGHTS,
    PALM_PX,
    PALM_WEIGHTS,
    PARTNER_FILE,
    PERSON_PX,
    PERSON_WEIGHTS,
    SQUARE_PX,
    SQUARE_WEIGHTS,
    WEIGHTS_FOLDER,
)
from inference_core.runtime.imports_ahead import forget
from inference_core.runtime.network_graph import NetworkGraph, Run
from inference_core.runtime.network_run import device_kind, ready_to_run
from inference_core.shared.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

Array = NDArray[np.float32]
PalmArrays = tuple[Array, Array]
PersonArrays = tuple[Array, Array]
BodyArrays = tuple[Array, Array, Array]


class LandmarkArrays(NamedTuple):
    """The landmark network's output for a batch of crops; fields as in LandmarkOutput."""

    points: Array
    presence: Array
    right: Array
    world_m: Array


@dataclass(frozen=True)
class LandmarkNetworks:
    """Palm detector and landmark network, ready to run.

    The landmark network runs in two parts, because the landmark head also reads the features between them. pairs:
    the pair detector, which is loaded where it is needed.
    """

    palm: Run
    early: Run
    late: Run
    pairs: Callable[[], Run]

    def run_palm(self, pictures: NDArray[np.uint8]) -> PalmArrays:
        """The palm detector on (B, 192, 192, 3) RGB: boxes (B, 2016, 18) and logits (B, 2016)."""
        boxes, logits = self.palm(pictures)
        return boxes, logits

    def run_landmark(self, pictures: NDArray[np.uint8]) -> LandmarkArrays:
        """The landmark network on (B, 224, 224, 3) RGB."""
        return self.read(self.early_features(pictures))

    def run_pairs(self, pictures: NDArray[np.uint8]) -> Array:
        """The pair detector on (B, 192, 192, 3) RGB: (B, S, PAIR_VALUES, CELLS, CELLS), see `pair_detector`."""
        return self.pairs()(pictures)[0]

    def early_features(self, pictures: NDArray[np.uint8]) -> Array:
        """(B, 112, 14, 14) of (B, 224, 224, 3) RGB."""
        return self.early(pictures)[0]

    def read(self, features: Array) -> LandmarkArrays:
        """The output for early features (B, 112, 14, 14)."""
        return LandmarkArrays(*self.late(features))


@dataclass(frozen=True)
class PoseNetworks:
    """Person detector, body landmarks, and what finds the square of a hand about a wrist, ready to run."""

    person: Run
    body: Run
    square: Run

    def run_person(self, pictures: NDArray[np.uint8]) -> PersonArrays:
        """The person detector on (B, 224, 224, 3) RGB: boxes (B, 2254, 12) and logits (B, 2254)."""
        boxes, logits = self.person(pictures)
        return boxes, logits

    def run_body(self, pictures: NDArray[np.uint8]) -> BodyArrays:
        """The body's landmarks on (B, 256, 256, 3) RGB: points, presence, world_m."""
        points, presence, world_m = self.body(pictures)
        return points, presence, world_m

    def run_square(self, pictures: NDArray[np.uint8]) -> Array:
        """The points (B, 4) of `HandSquareNetwork` on (B, 256, 256, 3) RGB."""
        return self.square(pictures)[0]


def load_landmark_networks(device: str = "cpu", folder: Path = WEIGHTS_FOLDER) -> LandmarkNetworks:
    """Both networks, float32, ready to run on `device`; every call returns the same ones.

    Raises WeightsError if a file is missing, damaged, or holds another network.
    """
    return _landmark_networks(device_kind(device), folder)


@lru_cache(maxsize=2)
def _landmark_networks(device: str, folder: Path) -> LandmarkNetworks:
    def run(name: str, file: str, *sizes: int) -> Run:
        return ready_to_run(_graph(name, folder / file, *sizes), device)

    return LandmarkNetworks(
        run("palm", PALM_WEIGHTS, PALM_PX, PALM_PX, 3),
        run("hand-early", LANDMARK_WEIGHTS, CROP_PX, CROP_PX, 3),
        run("hand-late", LANDMARK_WEIGHTS, *FEATURES),
        lambda: _pairs(device, folder),
    )


@lru_cache(maxsize=2)
def _pairs(device: str, folder: Path) -> Run:
    path, palm = folder / PAIR_WEIGHTS, folder / PALM_WEIGHTS

    def build() -> nn.Module:
        from inference_core.landmarks.pair_network import load_pair_graph

        return load_pair_graph(path, palm)

    digest = file_digest(path) + file_digest(palm)
    return ready_to_run(
        NetworkGraph("pairs", digest, build, (np.zeros((1, PALM_PX, PALM_PX, 3), np.uint8),)), device
    )


def load_pose_networks(device: str = "cpu") -> PoseNetworks:
    """The same for the networks that find bodies."""
    return _pose_networks(device_kind(device))


@lru_cache(maxsize=2)
def _pose_networks(device: str) -> PoseNetworks:
    def run(name: str, file: str, px: int) -> Run:
        return ready_to_run(_graph(name, WEIGHTS_FOLDER / file, px, px, 3), device)

    return PoseNetworks(
        run("person", PERSON_WEIGHTS, PERSON_PX),
        run("body", BODY_WEIGHTS, BODY_PX),
        run("hand-square", SQUARE_WEIGHTS, SQUARE_PX),
    )


def forget_pose_networks() -> None:
    """Release the networks that find bodies, some 75 MB, until they are loaded again."""
    _pose_networks.cache_clear()
    forget("person", "body", "hand-square")


def forget_landmark_networks() -> None:
    """Release the networks that find and read hands, some 60 MB, until they are loaded again."""
    _landmark_networks.cache_clear()
    _pairs.cache_clear()
    forget("palm", "hand-early", "hand-late", "pairs")


def load_partner(folder: Path, device: str = "cpu") -> Run | None:
    """The partner network of a weights folder, ready to run on early features of hand crops; None if it holds none.

    Its output: the fields of Partners. Raises WeightsError for a damaged file.
    """
    path = folder / PARTNER_FILE
    return _partner(path, file_digest(path), device_kind(device)) if path.is_file() else None


@lru_cache(maxsize=1)
def _partner(path: Path, digest: str, device: str) -> Run:
    def build() -> nn.Module:
        from inference_core.landmarks.partner_network import PartnerGraph, load_partner_network

        return PartnerGraph(load_partner_network(path))

    return ready_to_run(
        NetworkGraph("hand-partner", digest, build, (np.zeros((1, *FEATURES), np.float32),)), device
    )


def _graph(name: str, file: Path, *sizes: int) -> NetworkGraph:
    def build() -> nn.Module:
        from inference_core.landmarks.weights import module_of

        return module_of(name, file)

    kind = np.uint8 if sizes[-1] == 3 else np.float32
    return NetworkGraph(name, file_digest(file), build, (np.zeros((1, *sizes), kind),))


def file_digest(path: Path) -> str:
    """SHA-256 of a weights file. Raises WeightsError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"Cannot read the weights {path}: {error}. Install duohand again.") from error
