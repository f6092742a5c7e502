# SPDX-License-Identifier: GPL-3.0-or-later
"""What the networks that train in minutes on a processor have in common: loop, averaging, and files with a card."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn


@dataclass(frozen=True)
class Schedule:
    """rate: AdamW's, after `warm_up` steps; it falls to 0 along a cosine. clip: largest norm of a gradient. averaged:
    share of the mean of the weights that a step keeps. report: steps from one line of progress to the next.
    """

    rate: float
    weight_decay: float
    warm_up: int
    clip: float
    averaged: float
    report: int

    def rate_at(self, step: int, share: float) -> float:
        """The learning rate of a step, after a share of the training."""
        return self.rate * min(1.0, (step + 1) / self.warm_up) * (1 + math.cos(math.pi * share)) / 2


def for_seconds(limit_s: float) -> Callable[[int], float]:
    """The share of a training that is done before a step, by the time since now; one step at least is made."""
    started_s = time.monotonic()
    return lambda step: (time.monotonic() - started_s) / max(limit_s, 1e-6) if step else 0.0


def for_steps(count: int) -> Callable[[int], float]:
    """The share of a training of so many steps that is done before a step."""
    return lambda step: step / count


def trained_network(
    done: Callable[[int], float],
    network: nn.Module,
    schedule: Schedule,
    loss_at: Callable[[int], Tensor],
    errors: Callable[[nn.Module], dict[str, float]],
) -> tuple[nn.Module, int]:
    """The network averaged over its last steps, in evaluation mode, and the number of steps.

    done: the share of the training that is done before a step, by number; loss_at: a step's loss. errors: on validation
    samples, for the lines of progress.
    """

    def average(averaged: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        """Over fewer steps at first."""
        kept = min(schedule.averaged, (1 + int(updates)) / (10 + int(updates)))
        return averaged + (current - averaged) * (1 - kept)

    averaged = torch.optim.swa_utils.AveragedModel(network, avg_fn=average, use_buffers=True)
    optimiser = torch.optim.AdamW(network.parameters(), schedule.rate, weight_decay=schedule.weight_decay)
    step = 0
    while (share := done(step)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate_at(step, share)
        value = loss_at(step)
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
        optimiser.step()
        averaged.update_parameters(network)
        step += 1
        if step % schedule.report == 0:
            found = rounded(errors(averaged.module))
            print(f"{step} steps, {share:.2f} of all: {float(value.detach()):.3f}, {found}", flush=True)
    return averaged.module.eval(), step


def rounded(values: dict[str, float]) -> dict[str, float]:
    """As a card says them."""
    return {name: round(value, 3) for name, value in values.items()}


def save_with_card(out: Path, network: nn.Module, card: dict[str, Any]) -> None:
    """The network in half precision, and its card, with size and precision added, beside it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in network.state_dict().items()}, out)
    size = {"parameters": sum(value.numel() for value in network.parameters()), "dtype": "float16"}
    out.with_suffix(".json").write_text(json.dumps({**card, **size}, indent=2) + "\n", encoding="utf-8")
