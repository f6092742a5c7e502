# SPDX-License-Identifier: GPL-3.0-or-later
"""Loading the two-hand network of a capture."""

from functools import lru_cache
from pathlib import Path

from inference_core.hand_model.hand import HandModel
from inference_core.landmarks.head_reader import stored_head
from inference_core.run import ChosenNetwork, LoadedNetwork, chosen_weights, network_at, weights_stats
from inference_core.runtime.network_run import device_kind
from inference_core.runtime.stopwatch import LOAD, timed
from inference_core.two_hand.card import CARD_FILE, read_card
from inference_core.two_hand.predictor import fitting_hand, load_predictor


@timed(LOAD)
def choose_network(wanted: str, hand_model: HandModel, device: str) -> ChosenNetwork | None:
    """The network that `wanted` names, loaded; None for no network. See `chosen_weights`."""
    folder, kind = chosen_weights(wanted), device_kind(device)
    if folder is None:
        return None
    loaded = load_network(folder, hand_model, kind)
    return network_at(folder, kind, lambda: loaded)


def load_network(folder: Path, hand_model: HandModel, device: str) -> LoadedNetwork:
    """The network in a weights folder; the same again while its files and the rest are the same."""
    return _network(folder, weights_stats(folder), hand_model, device)


@lru_cache(maxsize=1)
def _network(folder: Path, stats: str, hand_model: HandModel, device: str) -> LoadedNetwork:
    card = read_card(folder / CARD_FILE)
    fitting_hand(card, hand_model)
    conditioning = card.configuration.conditioning
    head = stored_head(folder, device) if conditioning else None
    return LoadedNetwork(timed(LOAD)(lambda: load_predictor(folder, hand_model, device)), head, conditioning)
