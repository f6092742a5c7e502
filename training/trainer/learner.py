# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface of a network in training: forward pass with loss, optimiser and schedule, and averaged weights."""

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
        """The number of samples."""
        ...


BatchKind = TypeVar("BatchKind", bound=Batch)


class Learner(nn.Module, ABC, Generic[Network, BatchKind]):
    """A network with the functions needed to train it on batches of its kind; called on their inputs."""

    network: Network

    @abstractmethod
    def inputs(self, batch: BatchKind) -> tuple[Any, ...]:
        """The inputs of the forward pass for a batch."""

    @abstractmethod
    def terms(self, output: Any, batch: BatchKind) -> dict[str, Tensor]:
        """Weighted loss terms and their TOTAL, in float32 whatever precision the network used."""

    @abstractmethod
    def optimiser(self, settings: OptimiserSettings) -> torch.optim.AdamW:
        """The optimiser; each group of parameters has its "share" of the learning rate."""


def lay_out_channels_last(network: nn.Module) -> None:
    """Convert the convolutions' weights to the layout of fast kernels; other weights have no channels."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def compile_or_stay_eager(network: nn.Module) -> None:
    """Let torch.compile take over the network's forward pass; whatever it cannot compile runs unchanged."""
    torch._dynamo.config.suppress_errors = True  # pyright: ignore[reportPrivateUsage]
    network.compile(dynamic=False)


def learning_rate(settings: OptimiserSettings, step: int, progress: float) -> float:
    """The learning rate: warm-up by steps times a cosine of the run's progress, 0..1."""
    warm = min(1.0, (step + 1) / max(settings.warmup_steps, 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return settings.learning_rate * warm * (settings.final_share + (1 - settings.final_share) * cosine)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set each group's share of the rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["share"]


class AveragedNetwork(Generic[Network]):
    """Exponential moving average of all weights and statistics, with a warm-up so that
    early steps are soon forgotten.

    torch's own AveragedModel counts its steps on the device: a warm-up that depends on them would
    wait for the GPU at every step.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.decay = decay
        self.network: Network = copy.deepcopy(network).eval().requires_grad_(False)
        self._own, self._live = _floating(self.network), _floating(network)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the network after optimiser step number `step`."""
        keep = min(self.decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(self._own, self._live, 1 - keep)  # pyright: ignore[reportPrivateUsage]


def _floating(network: nn.Module) -> list[Tensor]:
    return [value for value in network.state_dict().values() if value.is_floating_point()]
