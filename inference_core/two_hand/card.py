# SPDX-License-Identifier: GPL-3.0-or-later
"""The card of a network's weights, and the checks of their folder that do not need torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from inference_core.hand_model.arrays import MANO_NAME
from inference_core.runtime.tensor_header import check_tensor_header
from inference_core.shared.errors import RequestError, WeightsError
from inference_core.shared.json_record import json_object, record_from_json, shortened, unknown_fields
from inference_core.two_hand.configuration import NetworkConfiguration

WEIGHTS_FILE, CARD_FILE = "weights.safetensors", "card.json"
CARD_VERSION = 1
SHIPPED_FOLDER = Path(__file__).parent / "assets" / "dir-s"

_LARGEST_CARD = 1 << 20
_MOST_VERTICES = 1 << 24
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


def weights_folder(weights: Path) -> Path:
    """The folder of weights that are given as the folder, or as either file in it."""
    is_file = weights.suffix in (".safetensors", ".json") and not weights.is_dir()
    return weights.parent if is_file else weights


def check_weights(weights: Path) -> WeightsCard:
    """The card of the weights in a folder, all of whose tensors lie within their files.

    weights: the folder, or either file in it. Raises WeightsError if a file is missing or damaged.
    """
    folder = weights_folder(weights)
    card, file = read_card(folder / CARD_FILE), folder / WEIGHTS_FILE
    if not file.is_file():
        raise WeightsError(
            f"There are no weights {file}. Run `duohand import-weights`, or name another folder."
        )
    for tensors in sorted(folder.glob("[!.]*.safetensors")):
        check_tensor_header(tensors)
    return card


@dataclass(frozen=True)
class StoredNetwork:
    """A network in its folder, which is read only when it is needed: a converted network is kept elsewhere."""

    file: Path
    card: WeightsCard

    @cached_property
    def digest(self) -> str:
        """A digest of everything that determines the network's output."""
        with self.file.open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        return f"{self.card.configuration} {self.card.tip_vertices} {weights}"


def stored_network(folder: Path) -> StoredNetwork:
    """The network in a folder, given as the folder or either file in it.

    Raises WeightsError if a file is missing or damaged.
    """
    return StoredNetwork(weights_folder(folder) / WEIGHTS_FILE, check_weights(folder))


def check_hand(card: WeightsCard, hand_model: str) -> None:
    """RequestError if the weights need MANO's hands, and the hand model of that name is another."""
    if card.hand_model == MANO_NAME and hand_model != MANO_NAME:
        raise RequestError(
            f"{card.configuration.name} weights need MANO's hands: give your MANO folder (--mano), "
            "or choose another network."
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
        values = json_object(path.read_text(encoding="utf-8-sig"))
        configuration = values.get("configuration")
        if isinstance(configuration, dict) and _EARLIER_NAME in configuration:
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
