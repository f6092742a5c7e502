# SPDX-License-Identifier: GPL-3.0-or-later
"""The landmark networks as torch modules with their weights, from the safetensors files in this folder."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from inference_core.landmarks.formats import LANDMARK_WEIGHTS, PALM_WEIGHTS, WEIGHTS_FOLDER
from inference_core.landmarks.landmark_network import LandmarkNetwork, LandmarkOutput
from inference_core.landmarks.palm_network import PalmNetwork
from inference_core.landmarks.pose_network import BodyNetwork, HandSquareNetwork, PersonNetwork
from inference_core.landmarks.sparse_weights import with_zeros
from inference_core.runtime.tensor_file import read_tensors
from inference_core.shared.errors import WeightsError

Network = TypeVar("Network", bound=nn.Module)


class _OfPictures(nn.Module):
    """A network of RGB pictures (B, N, N, 3) uint8, scaled to 0..1, or to -1..1 if centred."""

    def __init__(self, network: nn.Module, centred: bool = False) -> None:
        super().__init__()
        self.network, self.centred = network, centred

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        # Scaled before their axes are exchanged: OpenVINO convolves pictures (B, N, N, 3) and need not turn them twice.
        images = pictures.float() / 255
        images = images * 2 - 1 if self.centred else images
        return tuple(self.network(images.permute(0, 3, 1, 2)))


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


def module_of(name: str, file: Path) -> nn.Module:
    """The network, or the part of one, that runs under a name, in evaluation mode. Raises WeightsError."""
    parts: dict[str, Callable[[], nn.Module]] = {
        "palm": lambda: _OfPictures(load_palm_network(file)),
        "hand-early": lambda: _OfPictures(_Early(load_landmark_network(file))),
        "hand-late": lambda: _Late(load_landmark_network(file)),
        "person": lambda: _OfPictures(_loaded(PersonNetwork(), file), centred=True),
        "body": lambda: _OfPictures(_loaded(BodyNetwork(), file)),
        "hand-square": lambda: _OfPictures(_loaded(HandSquareNetwork(), file)),
    }
    return parts[name]()


def load_palm_network(file: Path = WEIGHTS_FOLDER / PALM_WEIGHTS) -> PalmNetwork:
    """The palm detector as a module in evaluation mode. Raises WeightsError."""
    return _loaded(PalmNetwork(), file)


def load_landmark_network(file: Path = WEIGHTS_FOLDER / LANDMARK_WEIGHTS) -> LandmarkNetwork:
    """The landmark network as a module in evaluation mode. Raises WeightsError."""
    return _loaded(LandmarkNetwork(), file)


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
