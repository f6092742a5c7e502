# SPDX-License-Identifier: GPL-3.0-or-later
"""What every network under training has: a forward pass with loss, an optimiser and its schedule, and an average
of its weights.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from training.config import OptimiserSettings

Network = TypeVar("Network", bound=nn.Module)


class Batch(Protocol):
    """What a network learns from in one step."""

    @property
    def batch(self) -> int:
        """How many samples it holds."""
        ...


BatchKind = TypeVar("BatchKind", bound=Batch)


class Learner(nn.Module, ABC, Generic[Network, BatchKind]):
    """A network with what it needs to learn from batches of its kind; called on their inputs."""

    network: Network

    @abstractmethod
    def inputs(self, batch: BatchKind) -> tuple[Any, ...]:
        """What the forward pass takes of a batch."""

    @abstractmethod
    def terms(self, output: Any, batch: BatchKind) -> dict[str, Tensor]:
        """Weighted loss terms and their TOTAL, float32 whatever the network ran in."""

    @abstractmethod
    def optimiser(self, settings: OptimiserSettings) -> torch.optim.AdamW:
        """The optimiser; each group of parameters has its "share" of the learning rate."""


def lay_out_channels_last(network: nn.Module) -> None:
    """Puts the convolutions' weights into the layout of fast kernels; other weights have no channels."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def compile_or_stay_eager(network: nn.Module) -> None:
    """Has torch.compile take over the network's forward pass; whatever it cannot compile runs as written."""
    torch._dynamo.config.suppress_errors = True  # pyright: ignore[reportPrivateUsage]
    network.compile(dynamic=False)


def learning_rate(settings: OptimiserSettings, step: int, progress: float) -> float:
    """Warm-up by steps times a cosine by progress, 0..1, through the run."""
    warm = min(1.0, (step + 1) / max(settings.warmup_steps, 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return settings.learning_rate * warm * (settings.final_share + (1 - settings.final_share) * cosine)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Gives every group its share of the rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["share"]


class AveragedNetwork(Generic[Network]):
    """Exponential moving average of all weights and statistics, warmed up so that early steps are soon forgotten.

    torch's own AveragedModel counts its steps on the device: to warm up by them, every step would wait for the GPU.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.decay = decay
        self.network: Network = copy.deepcopy(network).eval().requires_grad_(False)
        self._own, self._live = _floating(self.network), _floating(network)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Moves the average towards the network after optimiser step number `step`."""
        keep = min(self.decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(self._own, self._live, 1 - keep)  # pyright: ignore[reportPrivateUsage]


def _floating(network: nn.Module) -> list[Tensor]:
    return [value for value in network.state_dict().values() if value.is_floating_point()]
