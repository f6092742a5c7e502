# SPDX-License-Identifier: GPL-3.0-or-later
"""One interface to run a network for inference, whatever runs it, and torch's own ways behind it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from inference_core.hand_model.hand import HandModel
from inference_core.two_hand.batch_norm_fusion import folded
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.picture import check_picture
from inference_core.two_hand.records import Conditioning

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class HandEstimates:
    """A network's answer for a batch of crops, float32 on the CPU. Fields as HandStage's; presence (B, S):
    0..1.

    presence and log_sigma are None where the network has no such heads; vertices_m where the engine skins
    none.
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
    """Runs one network with one hand model. name: how, in words for cards and logs."""

    name: str

    def __call__(self, image: Tensor, evidence: Conditioning | None = None) -> HandEstimates:
        """The last stage's answer for normalised pictures (B, 3, 256, 256). Raises RequestError for bad
        ones.
        """
        ...


class HandGraph(nn.Module):
    """Network and hand model as one graph of plain tensors: what compilers and exporters take.

    forward(image, the six tensors of Conditioning where the network takes evidence) -> the tensors named by
    `outputs`.
    """

    def __init__(self, network: DirNetwork, hand: HandModel, vertices: bool) -> None:
        super().__init__()
        self.network, self.hand, self.vertices = network, hand, vertices
        names = ["rotations", "betas", "joints_m", "joints_uv", "offset_m"]
        names += ["vertices_m"] if vertices else []
        self.outputs = names + (["presence", "log_sigma"] if network.configuration.presence else [])

    def forward(self, image: Tensor, *evidence: Tensor) -> tuple[Tensor, ...]:
        known = Conditioning(*evidence) if evidence else None
        stage = self.network(image, self.hand, known, vertices=self.vertices, picture_heads=False).answer
        values = [stage.rotations, stage.betas, stage.joints_m, stage.joints_uv, stage.offset_m]
        values += [stage.vertices_m] if self.vertices else []
        if stage.presence_logit is not None:
            values += [torch.sigmoid(stage.presence_logit), stage.log_sigma]
        return tuple(value for value in values if value is not None)


class TorchEngine:
    """torch by itself. Any of: folded batch norms with channels_last, half precision, torch.compile.

    Of the half precisions float16 holds: 0.1 mm on random weights of the released graph, bfloat16 1.6 mm.
    """

    def __init__(
        self,
        network: DirNetwork,
        hand: HandModel,
        device: torch.device | str = "cpu",
        *,
        fold: bool = True,
        precision: Precision = "float32",
        compiled: bool = False,
        vertices: bool = True,
    ) -> None:
        traits = {"folded": fold, "compiled": compiled}
        self.name = " ".join(["torch", precision, *(trait for trait, chosen in traits.items() if chosen)])
        self.device = torch.device(device)
        self._half = None if precision == "float32" else getattr(torch, precision)
        prepared = (folded(network) if fold else network.eval()).to(self.device)
        if fold:
            prepared = prepared.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._memory = torch.channels_last if fold else torch.contiguous_format
        self.graph = HandGraph(prepared, hand.to(self.device), vertices)
        self._takes_evidence = network.configuration.evidence
        mode = "max-autotune-no-cudagraphs" if self.device.type == "cuda" else "default"
        self._run = torch.compile(self.graph, mode=mode) if compiled else self.graph

    def __call__(self, image: Tensor, evidence: Conditioning | None = None) -> HandEstimates:
        check_picture(image)
        inputs = graph_inputs(image, evidence, self._takes_evidence)
        moved = [value.to(self.device, non_blocking=True) for value in inputs]
        moved[0] = moved[0].contiguous(memory_format=self._memory)
        with torch.no_grad(), self._mixed():
            values = self._run(*moved)
        return estimates(self.graph.outputs, [value.float().cpu() for value in values])

    def _mixed(self) -> AbstractContextManager[object]:
        return nullcontext() if self._half is None else torch.autocast(self.device.type, self._half)


def graph_inputs(image: Tensor, evidence: Conditioning | None, takes_evidence: bool) -> list[Tensor]:
    """The picture, and the evidence's six tensors for a network that takes evidence (zeros where there is
    none).
    """
    if not takes_evidence:
        return [image]
    known = Conditioning.none(image.shape[0]) if evidence is None else evidence
    return [image, *known.tensors]


def estimates(names: list[str], values: list[Tensor]) -> HandEstimates:
    """The record of a graph's outputs."""
    return HandEstimates(**dict(zip(names, values, strict=True)))
