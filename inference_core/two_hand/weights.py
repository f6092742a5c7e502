# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights on disk, in and out of networks: weights.safetensors in a folder, beside the card that describes them."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from inference_core.runtime.tensor_file import read_tensors
from inference_core.shared.errors import WeightsError
from inference_core.shared.json_record import shortened
from inference_core.shared.whole_file import whole_file
from inference_core.two_hand.card import CARD_FILE, WEIGHTS_FILE, StoredNetwork, WeightsCard, stored_network
from inference_core.two_hand.configuration import NetworkConfiguration
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.pretrained_backbones import PretrainedBackbone

_COUNTER = "num_batches_tracked"
_BACKBONE = "backbone."


def save_weights(network: DirNetwork, folder: Path, card: WeightsCard, half: bool = False) -> None:
    """Write the network's weights and card into `folder`. half: as float16.

    Each file appears whole or not at all. A backbone that is still a bundled landmark network is not stored again.
    """
    backbone = network.backbone
    known = isinstance(backbone, PretrainedBackbone) and backbone.is_pretrained()
    tensors = {
        key: (value.detach().half() if half else value.detach()).contiguous().cpu()
        for key, value in network.state_dict().items()
        if not key.endswith(_COUNTER) and not (known and key.startswith(_BACKBONE))
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / WEIGHTS_FILE) as temporary:
            save_file(tensors, temporary)
        text = json.dumps(dataclasses.asdict(card), indent=1, sort_keys=True)
        with whole_file(folder / CARD_FILE) as temporary:
            temporary.write_text(text + os.linesep, encoding="utf-8")
    except OSError as error:
        raise WeightsError(
            f"The weights cannot be written to {folder}: {error.strerror or error}."
        ) from error


def load_weights(folder: Path) -> tuple[DirNetwork, WeightsCard]:
    """The network in eval mode, float32, with its card. `folder`: the weights' folder, or either file in it.

    Raises WeightsError for a missing, truncated or foreign file, naming missing and unexpected keys.
    """
    stored = stored_network(folder)
    return load_network(stored), stored.card


def load_network(stored: StoredNetwork) -> DirNetwork:
    """The network in eval mode, float32. Raises WeightsError for a truncated or foreign file."""
    tensors, where = read_tensors(stored.file), str(stored.file)
    network = _empty_network(stored.card.configuration, tensors, where)
    if isinstance(network.backbone, PretrainedBackbone):
        network.backbone.load_pretrained()
    fill_network(network, tensors, where)
    return network.eval()


def fill_network(network: DirNetwork, tensors: dict[str, Tensor], where: str) -> None:
    """Load tensors strictly, except a landmark network used as backbone, which may be absent.

    `where` names their file in the error.
    """
    _check_fit(network, tensors, where)
    network.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=False)


def _check_fit(network: DirNetwork, tensors: dict[str, Tensor], where: str) -> None:
    """Raise WeightsError naming what does not fit; only the shapes are compared."""
    own = {key: value for key, value in network.state_dict().items() if not key.endswith(_COUNTER)}
    if isinstance(network.backbone, PretrainedBackbone) and not any(
        key.startswith(_BACKBONE) for key in tensors
    ):
        own = {key: value for key, value in own.items() if not key.startswith(_BACKBONE)}
    problems = {
        "missing": sorted(set(own) - set(tensors)),
        "unexpected": sorted(set(tensors) - set(own)),
        "of another shape": sorted(k for k in set(own) & set(tensors) if own[k].shape != tensors[k].shape),
        "not finite": sorted(k for k, v in tensors.items() if not bool(torch.isfinite(v).all())),
    }
    found = [f"{len(keys)} {what} ({', '.join(keys[:3])})" for what, keys in problems.items() if keys]
    if found:
        raise WeightsError(
            f"{where} does not hold the weights of {network.configuration.name} as its card describes it: "
            f"{'; '.join(found)}. Use the weights and the card of one network."
        )


def _empty_network(configuration: NetworkConfiguration, tensors: dict[str, Tensor], where: str) -> DirNetwork:
    """A network without memory for its weights, to be filled after they are known to fit."""
    try:
        with torch.device("meta"):
            sketch = DirNetwork(configuration)
    except (ValueError, RuntimeError, ArithmeticError, AssertionError) as error:
        raise WeightsError(
            f"The card of {where} describes an impossible network ({shortened(str(error))}). Import it again."
        ) from error
    _check_fit(sketch, tensors, where)
    return DirNetwork(configuration)
