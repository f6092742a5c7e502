# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights on disk: a folder with weights.safetensors, and a card.json that describes them and their origin."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from inference_core.runtime.tensor_file import read_tensors
from inference_core.shared.errors import WeightsError
from inference_core.shared.json_record import json_object, record_from_json, shortened, unknown_fields
from inference_core.shared.whole_file import whole_file
from inference_core.two_hand.configuration import NetworkConfiguration
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.pretrained_backbones import PretrainedBackbone

WEIGHTS_FILE, CARD_FILE = "weights.safetensors", "card.json"
CARD_VERSION = 1
_LARGEST_CARD = 1 << 20
_MOST_VERTICES = 1 << 24
SHIPPED_FOLDER = Path(__file__).parent / "assets" / "dir-s"

_COUNTER = "num_batches_tracked"
_BACKBONE = "backbone."
# The name of the configuration's `conditioning` in older cards.
_EARLIER_NAME = "evidence"


@dataclass(frozen=True)
class WeightsCard:
    """The description of a network's weights.

    hand_model: the model they were trained with, the only one their betas apply to. tip_vertices: that model's
    fingertips as the weights assume them (left, right); None for the model's own. by_default: whether bundled weights
    are good enough to be on by default.
    """

    configuration: NetworkConfiguration
    source: str
    licence: str
    hand_model: str
    tip_vertices: tuple[tuple[int, ...], ...] | None = None
    data: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: str = ""
    by_default: bool = False
    version: int = CARD_VERSION


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


@dataclass(frozen=True)
class StoredNetwork:
    """A network in its folder, loaded only when needed: an engine with a cached export never loads it."""

    file: Path
    card: WeightsCard

    def load(self) -> DirNetwork:
        """The network in eval mode, float32. Raises WeightsError for a truncated or foreign file."""
        tensors = read_tensors(self.file)
        network = _empty_network(self.card.configuration, tensors, str(self.file))
        if isinstance(network.backbone, PretrainedBackbone):
            network.backbone.load_pretrained()
        fill_network(network, tensors, str(self.file))
        return network.eval()

    @cached_property
    def digest(self) -> str:
        """A digest of everything that determines the network's output."""
        with self.file.open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        return f"{self.card.configuration} {self.card.tip_vertices} {weights}"


def stored_network(folder: Path) -> StoredNetwork:
    """The network in a folder, given as the folder or either file in it. Raises WeightsError if a file is missing."""
    folder = folder.parent if folder.suffix in (".safetensors", ".json") else folder
    card, file = read_card(folder / CARD_FILE), folder / WEIGHTS_FILE
    if not file.is_file():
        raise WeightsError(
            f"There are no weights {file}. Run `duohand import-weights`, or name another folder."
        )
    return StoredNetwork(file, card)


def load_weights(folder: Path) -> tuple[DirNetwork, WeightsCard]:
    """The network in eval mode, float32, with its card. `folder`: the weights' folder, or either file in it.

    Raises WeightsError for a missing, truncated or foreign file, naming missing and unexpected keys.
    """
    stored = stored_network(folder)
    return stored.load(), stored.card


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


def read_card(path: Path) -> WeightsCard:
    """The card. Raises WeightsError when it is missing, unreadable or of a future version."""
    if not path.is_file():
        raise WeightsError(
            f"There is no card {path} beside the weights: name a folder that `import-weights` wrote."
        )
    try:
        if path.stat().st_size > _LARGEST_CARD:
            raise ValueError("it is larger than any")
        values = json_object(path.read_text(encoding="utf-8"))
        if _EARLIER_NAME in values.get("configuration", ()):
            raise ValueError(f'an earlier Duohand wrote it: rename "{_EARLIER_NAME}" in it to "conditioning"')
        unknown = unknown_fields(WeightsCard, values)
        version = values.get("version")
        if type(version) is int and version > CARD_VERSION:
            raise ValueError(
                f"version {shortened(str(version))}, where this Duohand reads up to {CARD_VERSION}: update it"
            )
        if unknown or type(version) is not int or version < 1:
            raise ValueError(f"unknown {shortened(', '.join(unknown))}" if unknown else "no version")
        return _checked(record_from_json(WeightsCard, values))
    except (OSError, ValueError, WeightsError) as error:
        raise WeightsError(
            f"{path} is not a card of network weights ({error}). Import the weights again."
        ) from error


def _checked(card: WeightsCard) -> WeightsCard:
    tips = card.tip_vertices
    if tips is not None and not (
        len(tips) == 2
        and all(len(side) == 5 and all(0 <= tip < _MOST_VERTICES for tip in side) for side in tips)
    ):
        raise ValueError("tip_vertices are not five vertex numbers for each hand")
    return card


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
