# SPDX-License-Identifier: GPL-3.0-or-later
"""The landmark networks with their weights, which lie in the safetensors files beside this one."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference_core.landmarks.landmark_network import LandmarkNetwork
from inference_core.landmarks.palm_network import PalmNetwork
from inference_core.landmarks.pose_network import BodyNetwork, PersonNetwork
from inference_core.landmarks.sparse_weights import with_zeros
from inference_core.runtime.tensor_file import read_tensors
from inference_core.shared.errors import WeightsError

PALM_WEIGHTS = "palm_detection_full.safetensors"
LANDMARK_WEIGHTS = "hand_landmark_full.safetensors"
PERSON_WEIGHTS, BODY_WEIGHTS = "pose_detection.safetensors", "pose_landmark_full.safetensors"
WEIGHTS_FOLDER = Path(__file__).parent

Array = NDArray[np.float32]
PalmArrays = tuple[Array, Array]
LandmarkArrays = tuple[Array, Array, Array, Array]
PersonArrays = tuple[Array, Array]
BodyArrays = tuple[Array, Array, Array]


@dataclass(frozen=True)
class LandmarkNetworks:
    """Palm detector and landmark network, ready to run on `device`."""

    palm: PalmNetwork
    landmark: LandmarkNetwork
    device: torch.device

    def run_palm(self, pictures: NDArray[np.uint8]) -> PalmArrays:
        """The palm detector on (B, 192, 192, 3) RGB: boxes (B, 2016, 18) and logits (B, 2016)."""
        with torch.inference_mode():
            boxes, logits = self.palm(_picture_batch(pictures, self.device))
        return boxes.float().cpu().numpy(), logits.float().cpu().numpy()

    def run_landmark(self, pictures: NDArray[np.uint8]) -> LandmarkArrays:
        """The landmark network on (B, 224, 224, 3) RGB: points, presence, right, world_m as numpy arrays."""
        with torch.inference_mode():
            points, presence, right, world_m = self.landmark(_picture_batch(pictures, self.device))
        return tuple(x.float().cpu().numpy() for x in (points, presence, right, world_m))


@dataclass(frozen=True)
class PoseNetworks:
    """Person detector and body landmarks, ready to run on `device`."""

    person: PersonNetwork
    body: BodyNetwork
    device: torch.device

    def run_person(self, pictures: NDArray[np.uint8]) -> PersonArrays:
        """The person detector on (B, 224, 224, 3) RGB: boxes (B, 2254, 12) and logits (B, 2254)."""
        with torch.inference_mode():
            boxes, logits = self.person(_picture_batch(pictures, self.device) * 2 - 1)
        return boxes.float().cpu().numpy(), logits.float().cpu().numpy()

    def run_body(self, pictures: NDArray[np.uint8]) -> BodyArrays:
        """The body's landmarks on (B, 256, 256, 3) RGB: points, presence, world_m as numpy arrays."""
        with torch.inference_mode():
            points, presence, world_m = self.body(_picture_batch(pictures, self.device))
        return tuple(x.float().cpu().numpy() for x in (points, presence, world_m))


def load_landmark_networks(
    device: torch.device | str = "cpu", folder: Path = WEIGHTS_FOLDER
) -> LandmarkNetworks:
    """Both networks in evaluation mode, float32, channels last, on `device`.

    Raises WeightsError where a file is missing, damaged, or holds another network.
    """
    device = torch.device(device)
    palm, landmark = PalmNetwork(), LandmarkNetwork()
    for network, file_name in ((palm, PALM_WEIGHTS), (landmark, LANDMARK_WEIGHTS)):
        _ready(network, folder / file_name, device)
    return LandmarkNetworks(palm, landmark, device)


def load_pose_networks(device: torch.device | str = "cpu", folder: Path = WEIGHTS_FOLDER) -> PoseNetworks:
    """The same for the networks that find bodies."""
    device = torch.device(device)
    person, body = PersonNetwork(), BodyNetwork()
    for network, file_name in ((person, PERSON_WEIGHTS), (body, BODY_WEIGHTS)):
        _ready(network, folder / file_name, device)
    return PoseNetworks(person, body, device)


def _ready(network: nn.Module, file: Path, device: torch.device) -> None:
    load_weights(network, file)
    network.eval().requires_grad_(False).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _picture_batch(pictures: NDArray[np.uint8], device: torch.device) -> Tensor:
    return torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float().div_(255)


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a safetensors file into the network; WeightsError unless every name and shape is as it should."""
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
