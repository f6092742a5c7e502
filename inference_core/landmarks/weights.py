# SPDX-License-Identifier: GPL-3.0-or-later
"""The landmark networks with their weights, from the safetensors files in this folder."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference_core.landmarks.landmark_network import CROP_PX, FEATURES, LandmarkNetwork, LandmarkOutput
from inference_core.landmarks.palm_network import INPUT_PX as PALM_PX
from inference_core.landmarks.palm_network import PalmNetwork
from inference_core.landmarks.pose_network import BODY_PX, PERSON_PX, BodyNetwork, PersonNetwork
from inference_core.landmarks.sparse_weights import with_zeros
from inference_core.runtime.network_graph import NetworkGraph
from inference_core.runtime.network_run import Run, ready_to_run
from inference_core.runtime.tensor_file import read_tensors
from inference_core.shared.errors import WeightsError

PALM_WEIGHTS = "palm_detection_full.safetensors"
LANDMARK_WEIGHTS = "hand_landmark_full.safetensors"
PERSON_WEIGHTS, BODY_WEIGHTS = "pose_detection.safetensors", "pose_landmark_full.safetensors"
WEIGHTS_FOLDER = Path(__file__).parent

Network = TypeVar("Network", bound=nn.Module)
Array = NDArray[np.float32]
PalmArrays = tuple[Array, Array]
LandmarkArrays = tuple[Array, Array, Array, Array]
PersonArrays = tuple[Array, Array]
BodyArrays = tuple[Array, Array, Array]


@dataclass(frozen=True)
class LandmarkNetworks:
    """Palm detector and landmark network, ready to run.

    The landmark network runs in two parts, because the landmark head also reads the features between them.
    """

    palm: Run
    early: Run
    late: Run

    def run_palm(self, pictures: NDArray[np.uint8]) -> PalmArrays:
        """The palm detector on (B, 192, 192, 3) RGB: boxes (B, 2016, 18) and logits (B, 2016)."""
        boxes, logits = self.palm(torch.from_numpy(pictures))
        return boxes.numpy(), logits.numpy()

    def run_landmark(self, pictures: NDArray[np.uint8]) -> LandmarkArrays:
        """The landmark network on (B, 224, 224, 3) RGB: points, presence, right, world_m as numpy arrays."""
        points, presence, right, world_m = self.read(self.early_features(pictures))
        return points.numpy(), presence.numpy(), right.numpy(), world_m.numpy()

    def early_features(self, pictures: NDArray[np.uint8]) -> Tensor:
        """(B, 112, 14, 14) of (B, 224, 224, 3) RGB."""
        return self.early(torch.from_numpy(pictures))[0]

    def read(self, features: Tensor) -> LandmarkOutput:
        """The output for early features (B, 112, 14, 14)."""
        return LandmarkOutput(*self.late(features))


@dataclass(frozen=True)
class PoseNetworks:
    """Person detector and body landmarks, ready to run."""

    person: Run
    body: Run

    def run_person(self, pictures: NDArray[np.uint8]) -> PersonArrays:
        """The person detector on (B, 224, 224, 3) RGB: boxes (B, 2254, 12) and logits (B, 2254)."""
        boxes, logits = self.person(torch.from_numpy(pictures))
        return boxes.numpy(), logits.numpy()

    def run_body(self, pictures: NDArray[np.uint8]) -> BodyArrays:
        """The body's landmarks on (B, 256, 256, 3) RGB: points, presence, world_m as numpy arrays."""
        points, presence, world_m = self.body(torch.from_numpy(pictures))
        return points.numpy(), presence.numpy(), world_m.numpy()


class _OfPictures(nn.Module):
    """A network of RGB pictures (B, N, N, 3) uint8, scaled to 0..1, or to -1..1 if centred."""

    def __init__(self, network: nn.Module, centred: bool = False) -> None:
        super().__init__()
        self.network, self.centred = network, centred

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        images = pictures.permute(0, 3, 1, 2).float() / 255
        return tuple(self.network(images * 2 - 1 if self.centred else images))


class _Early(nn.Module):
    def __init__(self, network: LandmarkNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.network.early_features(images),)


class _Late(nn.Module):
    def __init__(self, network: LandmarkNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> LandmarkOutput:
        return self.network.read(features)


def load_landmark_networks(
    device: torch.device | str = "cpu", folder: Path = WEIGHTS_FOLDER, cache: Path | None = None
) -> LandmarkNetworks:
    """Both networks, float32, ready to run on `device`; every call returns the same ones. cache: see `ready_to_run`.

    Raises WeightsError if a file is missing, damaged, or holds another network.
    """
    return _landmark_networks(torch.device(device), folder, cache)


@lru_cache(maxsize=2)
def _landmark_networks(device: torch.device, folder: Path, cache: Path | None) -> LandmarkNetworks:
    palm, landmark = folder / PALM_WEIGHTS, folder / LANDMARK_WEIGHTS

    def run(name: str, file: Path, build: Callable[[], nn.Module], example: Tensor) -> Run:
        return ready_to_run(NetworkGraph(name, file_digest(file), build, (example,)), device, cache)

    return LandmarkNetworks(
        run("palm", palm, lambda: _OfPictures(load_palm_network(palm)), _picture(PALM_PX)),
        run(
            "hand-early",
            landmark,
            lambda: _OfPictures(_Early(load_landmark_network(landmark))),
            _picture(CROP_PX),
        ),
        run("hand-late", landmark, lambda: _Late(load_landmark_network(landmark)), torch.zeros(1, *FEATURES)),
    )


def load_pose_networks(device: torch.device | str = "cpu") -> PoseNetworks:
    """The same for the networks that find bodies."""
    return _pose_networks(torch.device(device))


@lru_cache(maxsize=2)
def _pose_networks(device: torch.device) -> PoseNetworks:
    person, body = WEIGHTS_FOLDER / PERSON_WEIGHTS, WEIGHTS_FOLDER / BODY_WEIGHTS

    def run(name: str, file: Path, build: Callable[[], nn.Module], px: int) -> Run:
        return ready_to_run(NetworkGraph(name, file_digest(file), build, (_picture(px),)), device)

    return PoseNetworks(
        run("person", person, lambda: _OfPictures(_loaded(PersonNetwork(), person), centred=True), PERSON_PX),
        run("body", body, lambda: _OfPictures(_loaded(BodyNetwork(), body)), BODY_PX),
    )


def load_palm_network(file: Path = WEIGHTS_FOLDER / PALM_WEIGHTS) -> PalmNetwork:
    """The palm detector as a module in evaluation mode. Raises WeightsError."""
    return _loaded(PalmNetwork(), file)


def load_landmark_network(file: Path = WEIGHTS_FOLDER / LANDMARK_WEIGHTS) -> LandmarkNetwork:
    """The landmark network as a module in evaluation mode. Raises WeightsError."""
    return _loaded(LandmarkNetwork(), file)


def file_digest(path: Path) -> str:
    """SHA-256 of a weights file. Raises WeightsError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"Cannot read the weights {path}: {error}. Install duohand again.") from error


def _picture(px: int) -> Tensor:
    return torch.zeros(1, px, px, 3, dtype=torch.uint8)


def _loaded(network: Network, file: Path) -> Network:
    load_weights(network, file)
    return network.eval().requires_grad_(False)


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a safetensors file into the network; WeightsError unless all names and shapes match."""
    try:
        weights = with_zeros(read_tensors(path))
    except ValueError as error:
        raise WeightsError(f"Cannot read the weights {path}: {error}. Install duohand again.") from error
    own = network.state_dict()
    wrong = [f"missing {name}" for name in own if name not in weights]
    wrong += [f"unexpected {name}" for name in weights if name not in own]
    wrong += [
        f"{name} is {tuple(weights[name].shape)} where {tuple(own[name].shape)} belongs"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    wrong += [
        f"{name} is not finite" for name, weight in weights.items() if not bool(weight.isfinite().all())
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise WeightsError(
            f"The weights {path} do not belong to {type(network).__name__}: {'; '.join(wrong[:5])}{more}. "
            "Install duohand again."
        )
    network.load_state_dict({name: weight.float() for name, weight in weights.items()})
