# SPDX-License-Identifier: GPL-3.0-or-later
"""The two-hand network of a capture: which one, and loading it."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from inference_core.hand_model.hand import HandModel
from inference_core.landmarks.landmark_head import HEAD_FILE, HeadWithLandmarks, stored_head
from inference_core.landmarks.weights import load_pose_networks
from inference_core.runtime.ahead import beside
from inference_core.runtime.stopwatch import LOAD, timed
from inference_core.two_hand.card import CARD_FILE, SHIPPED_FOLDER, WEIGHTS_FILE, read_card, weights_folder
from inference_core.two_hand.predictor import Predictor, load_predictor


@dataclass(frozen=True)
class ChosenNetwork:
    """A two-hand network, and the landmark head that comes with it, if any.

    name: its configuration's. identity: changes with the weights on disk, the device and the hand model.
    """

    name: str
    identity: str
    predictor: Predictor
    head: HeadWithLandmarks | None


@timed(LOAD)
def choose_network(wanted: str, hand_model: HandModel, device: torch.device) -> ChosenNetwork | None:
    """The network that `wanted` names; None for no network.

    "shipped"; "auto": the same, if its card says that it is good enough; "none"; or a weights folder.
    """
    if wanted == "none" or (wanted == "auto" and not read_card(SHIPPED_FOLDER / CARD_FILE).by_default):
        return None
    folder = weights_folder(SHIPPED_FOLDER if wanted in ("auto", "shipped") else Path(wanted)).absolute()
    files = [path for name in (WEIGHTS_FILE, HEAD_FILE, CARD_FILE) if (path := folder / name).is_file()]
    stats = "|".join(f"{path.stat().st_size}|{path.stat().st_mtime_ns}" for path in files)
    return _network(folder, stats, hand_model, device)


@lru_cache(maxsize=1)
def _network(folder: Path, stats: str, hand_model: HandModel, device: torch.device) -> ChosenNetwork:
    """The network at `folder`, cached while its files' sizes and modification times are these."""
    configuration = read_card(folder / CARD_FILE).configuration
    identity = f"{folder.resolve()}|{stats}|{device.type}|{hand_model.name}"
    with beside(timed(LOAD)(load_predictor), folder, hand_model, device) as predictor:
        head = stored_head(folder, device) if configuration.conditioning else None
        load_pose_networks(device)  # detection needs them next
        return ChosenNetwork(configuration.name, identity, predictor(), head)
