# SPDX-License-Identifier: GPL-3.0-or-later
"""The two-hand network of a capture: which it is, and loading it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path

from inference_core.hand_model.hand import HandModel
from inference_core.landmarks.formats import HEAD_FILE
from inference_core.landmarks.head_reader import HeadWithLandmarks, stored_head
from inference_core.landmarks.networks import load_partner
from inference_core.runtime.network_graph import Run as NetworkRun
from inference_core.runtime.network_run import device_kind
from inference_core.runtime.stopwatch import LOAD, timed
from inference_core.two_hand.card import CARD_FILE, SHIPPED_FOLDER, WEIGHTS_FILE, read_card, weights_folder
from inference_core.two_hand.predictor import Predictor, fitting_hand, load_predictor


@dataclass(frozen=True)
class LoadedNetwork:
    """A two-hand network, and the landmark head that comes with it, if any, ready to run.

    predictor: loads the network, ready to run: only reading keeps it, because other stages need its memory.
    conditioning: whether it takes landmarks.
    """

    predictor: Callable[[], Predictor]
    head: HeadWithLandmarks | None
    conditioning: bool


@dataclass(frozen=True)
class ChosenNetwork:
    """A two-hand network.

    name: its configuration's. identity: changes with the weights on disk and the device. partner: the partner network
    in the same folder, if there is one. loaded: waits until all is ready to run. Raises WeightsError, and RequestError
    for weights that need another hand model.
    """

    name: str
    identity: str
    partner: Callable[[], NetworkRun | None]
    loaded: Callable[[], LoadedNetwork]


def chosen_weights(wanted: str) -> Path | None:
    """The folder of the network that `wanted` names; None for no network.

    "shipped"; "auto": the same, if its card says that it is good enough; "none"; or a weights folder.
    """
    if wanted == "none" or (wanted == "auto" and not read_card(SHIPPED_FOLDER / CARD_FILE).by_default):
        return None
    return weights_folder(SHIPPED_FOLDER if wanted in ("auto", "shipped") else Path(wanted)).absolute()


def weights_stats(folder: Path) -> str:
    """Sizes and times of the files in a weights folder."""
    files = [path for name in (WEIGHTS_FILE, HEAD_FILE, CARD_FILE) if (path := folder / name).is_file()]
    return "|".join(f"{path.stat().st_size}|{path.stat().st_mtime_ns}" for path in files)


def network_at(folder: Path, device: str, loaded: Callable[[], LoadedNetwork]) -> ChosenNetwork:
    """The network in a weights folder, for a device."""
    name = read_card(folder / CARD_FILE).configuration.name
    identity = f"{folder.resolve()}|{weights_stats(folder)}|{device}"
    return ChosenNetwork(name, identity, cache(partial(load_partner, folder, device)), loaded)


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
