# SPDX-License-Identifier: GPL-3.0-or-later
"""The two-hand network with a hand model, ready to run: pictures and conditioning in, both hands out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from inference_core.hand_model.hand import HandModel
from inference_core.runtime.network_graph import NetworkGraph, Run
from inference_core.runtime.network_run import ready_to_run, runs_in_openvino
from inference_core.runtime.torch_run import TorchRun, run_on_tensors
from inference_core.two_hand.batch_norm_fusion import with_fused_norms
from inference_core.two_hand.configuration import CROP_PX, NetworkConfiguration
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.picture import check_picture
from inference_core.two_hand.records import Conditioning
from inference_core.two_hand.weights import StoredNetwork

# Crops that a CPU runs at once: more are no faster and take more memory, one at a time is slower.
CPU_ROWS = 4


@dataclass(frozen=True)
class HandEstimates:
    """A network's output for a batch of crops, float32 on the CPU. Fields as in HandStage; presence (B, S): 0..1.

    presence and log_sigma are None if the network has no such heads; vertices_m is None if the engine does not skin.
    """

    rotations: Tensor
    betas: Tensor
    joints_m: Tensor
    joints_uv: Tensor
    offset_m: Tensor
    vertices_m: Tensor | None = None
    presence: Tensor | None = None
    log_sigma: Tensor | None = None


class Engine(Protocol):
    """Runs one network with one hand model."""

    def __call__(self, image: Tensor, conditioning: Conditioning | None = None) -> HandEstimates:
        """The last stage's output for normalised pictures (B, 3, 256, 256). Raises RequestError for invalid ones."""
        ...


class HandGraph(nn.Module):
    """A network and a hand model as one graph of plain tensors, as compilers and exporters need it.

    forward(image, and the six tensors of Conditioning if the network takes them) -> the
    tensors named by `output_names`.
    """

    def __init__(self, network: DirNetwork, hand: HandModel, vertices: bool) -> None:
        super().__init__()
        self.network, self.hand, self.vertices = network, hand, vertices

    def forward(self, image: Tensor, *conditioning: Tensor) -> tuple[Tensor, ...]:
        known = Conditioning(*conditioning) if conditioning else None
        stage = self.network(image, self.hand, known, vertices=self.vertices, picture_heads=False).answer
        values = [stage.rotations, stage.betas, stage.joints_m, stage.joints_uv, stage.offset_m]
        values += [stage.vertices_m] if self.vertices else []
        if stage.presence_logit is not None:
            values += [torch.sigmoid(stage.presence_logit), stage.log_sigma]
        return tuple(value for value in values if value is not None)


class GraphEngine:
    """A network and hand model in the runtime that suits the device. Joints only, unless vertices are requested."""

    def __init__(self, run: Run, outputs: list[str], takes_conditioning: bool) -> None:
        self._run, self._outputs, self._takes_conditioning = run, outputs, takes_conditioning

    def __call__(self, image: Tensor, conditioning: Conditioning | None = None) -> HandEstimates:
        check_picture(image)
        return estimates(
            self._outputs,
            run_on_tensors(self._run, *graph_inputs(image, conditioning, self._takes_conditioning)),
        )


def stored_engine(
    network: StoredNetwork, hand: HandModel, device: torch.device, cache: Path | None = None
) -> Engine:
    """The engine for weights on disk. cache: see `ready_to_run`. Raises WeightsError."""
    configuration = network.card.configuration
    example = torch.zeros(CPU_ROWS, 3, CROP_PX, CROP_PX)
    graph = NetworkGraph(
        configuration.name,
        f"{network.digest} {hand_digest(hand)}",
        lambda: prepared(network.load(), hand, device),
        tuple(values.numpy() for values in graph_inputs(example, None, configuration.conditioning)),
    )
    run = ready_to_run(graph, device, cache)
    return GraphEngine(run, output_names(configuration, vertices=False), configuration.conditioning)


def torch_engine(
    network: DirNetwork, hand: HandModel, device: torch.device | str = "cpu", vertices: bool = False
) -> Engine:
    """The torch engine for a network in memory."""
    device = torch.device(device)
    run = TorchRun(HandGraph(with_fused_norms(network), hand.to(device), vertices), device)
    return GraphEngine(run, output_names(network.configuration, vertices), network.configuration.conditioning)


def prepared(network: DirNetwork, hand: HandModel, device: torch.device, vertices: bool = False) -> HandGraph:
    """The graph optimised for the device's runtime."""
    fused = with_fused_norms(network, winograd=runs_in_openvino(device))
    return HandGraph(fused, hand.to(device), vertices).eval()


def output_names(configuration: NetworkConfiguration, vertices: bool) -> list[str]:
    """The fields of HandEstimates that the graph outputs, in order."""
    names = ["rotations", "betas", "joints_m", "joints_uv", "offset_m"]
    names += ["vertices_m"] if vertices else []
    return names + (["presence", "log_sigma"] if configuration.presence else [])


def hand_digest(hand: HandModel) -> str:
    """SHA-256 of a hand model's arrays."""
    digest = hashlib.sha256()
    for value in vars(hand).values():
        if isinstance(value, Tensor):
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def graph_inputs(image: Tensor, conditioning: Conditioning | None, takes_conditioning: bool) -> list[Tensor]:
    """The pictures (B, 3, H, W), and the conditioning's six tensors for a network that takes them; zeros for None."""
    if not takes_conditioning:
        return [image]
    known = Conditioning.none(image.shape[0]) if conditioning is None else conditioning
    return [image, *known.tensors]


def estimates(names: Sequence[str], values: Sequence[Tensor]) -> HandEstimates:
    """The graph's outputs as a record."""
    return HandEstimates(**dict(zip(names, values, strict=True)))
