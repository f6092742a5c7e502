# SPDX-License-Identifier: GPL-3.0-or-later
"""The two-hand network with a hand model, ready to run: pictures and conditioning in, both hands out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from inference_core.hand_model.hand import HandModel
from inference_core.runtime.network_graph import NetworkGraph, Run
from inference_core.runtime.network_run import ready_to_run
from inference_core.two_hand.card import StoredNetwork
from inference_core.two_hand.configuration import CROP_PX, NetworkConfiguration
from inference_core.two_hand.picture import check_picture
from inference_core.two_hand.records import Conditioning

if TYPE_CHECKING:
    from torch import nn

# Crops that a CPU runs at once: more are no faster and take more memory, one at a time is slower.
CPU_ROWS = 4

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class HandEstimates:
    """A network's output for a batch of crops, float32. Fields as in HandStage; presence (B, S): 0..1.

    presence and log_sigma are None if the network has no such heads; vertices_m is None if the engine does not skin.
    """

    rotations: Floats
    betas: Floats
    joints_m: Floats
    joints_uv: Floats
    offset_m: Floats
    vertices_m: Floats | None = None
    presence: Floats | None = None
    log_sigma: Floats | None = None


class Engine(Protocol):
    """Runs one network with one hand model."""

    def __call__(self, image: Floats, conditioning: Conditioning | None = None) -> HandEstimates:
        """The last stage's output for normalised pictures (B, 3, 256, 256). Raises RequestError for invalid ones."""
        ...


class GraphEngine:
    """A network and hand model in the runtime that suits the device. Joints only, unless vertices are requested."""

    def __init__(self, run: Run, outputs: list[str], takes_conditioning: bool) -> None:
        self._run, self._outputs, self._takes_conditioning = run, outputs, takes_conditioning

    def __call__(self, image: Floats, conditioning: Conditioning | None = None) -> HandEstimates:
        check_picture(image)
        found = self._run(*graph_inputs(image, conditioning, self._takes_conditioning))
        return estimates(self._outputs, found)


def stored_engine(network: StoredNetwork, hand: HandModel, device: str, cache: Path | None = None) -> Engine:
    """The engine for weights on disk. cache: see `ready_to_run`. Raises WeightsError."""
    configuration = network.card.configuration

    def build() -> nn.Module:
        from inference_core.two_hand.hand_graph import prepared
        from inference_core.two_hand.weights import load_network

        return prepared(load_network(network), hand, device)

    example = np.zeros((CPU_ROWS, 3, CROP_PX, CROP_PX), np.float32)
    graph = NetworkGraph(
        configuration.name,
        f"{network.digest} {hand_digest(hand)}",
        build,
        tuple(graph_inputs(example, None, configuration.conditioning)),
    )
    run = ready_to_run(graph, device, cache)
    return GraphEngine(run, output_names(configuration, vertices=False), configuration.conditioning)


def output_names(configuration: NetworkConfiguration, vertices: bool) -> list[str]:
    """The fields of HandEstimates that the graph outputs, in order."""
    names = ["rotations", "betas", "joints_m", "joints_uv", "offset_m"]
    names += ["vertices_m"] if vertices else []
    return names + (["presence", "log_sigma"] if configuration.presence else [])


def hand_digest(hand: HandModel) -> str:
    """SHA-256 of a hand model's arrays."""
    digest = hashlib.sha256()
    for field in fields(hand):
        value = getattr(hand, field.name)
        if isinstance(value, np.ndarray):
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def graph_inputs(image: Floats, conditioning: Conditioning | None, takes_conditioning: bool) -> list[Floats]:
    """The pictures (B, 3, H, W), and the conditioning's six arrays for a network that takes them; zeros for None."""
    if not takes_conditioning:
        return [image]
    known = Conditioning.none(image.shape[0]) if conditioning is None else conditioning
    return [image, *known.arrays]


def estimates(names: Sequence[str], values: Sequence[Floats]) -> HandEstimates:
    """The graph's outputs as a record."""
    return HandEstimates(**dict(zip(names, values, strict=True)))
