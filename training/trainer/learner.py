# SPDX-License-Identifier: GPL-3.0-or-later
"""The network under training: its forward pass with loss, its optimiser and schedule, and the average of its
weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Generator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from inference_core.hand_model.hand import HandModel
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.picture import normalised
from inference_core.two_hand.records import Conditioning, DirOutput
from training.config import Experiment, OptimiserSettings
from training.data.sample import Sample
from training.trainer.supervision import LossWeights, supervise


class Learner(nn.Module):
    """The network with what it needs to be called on samples."""

    def __init__(self, network: DirNetwork, hand: HandModel, experiment: Experiment) -> None:
        super().__init__()
        self.network = network
        self.hand = hand
        self.weights: LossWeights = experiment.losses
        self.bf16 = experiment.run.precision == "bf16"
        self.channels_last = experiment.run.channels_last

    def forward(
        self, image: Tensor, conditioning: Conditioning | None, levels: tuple[Tensor, ...] | None = None
    ) -> DirOutput:
        """Both hands of images (B, 3, N, N), RGB in 0..1, or of the backbone's features of them."""
        memory = torch.channels_last if self.channels_last else torch.contiguous_format
        vertices = not self.training or self.weights.need_vertices
        with torch.autocast(image.device.type, torch.bfloat16) if self.bf16 else nullcontext():
            if levels is None:
                picture = normalised(image).contiguous(memory_format=memory)
                return self.network(picture, self.hand, conditioning, vertices)
            fine, coarse, last = (
                level.contiguous(memory_format=memory) if level.ndim == 4 else level for level in levels
            )
            return self.network.from_levels((fine, fine, coarse, last), self.hand, conditioning, vertices)

    def terms(self, output: DirOutput, sample: Sample) -> dict[str, Tensor]:
        """Weighted loss terms and their total, float32 whatever the network ran in."""
        return supervise(output, sample, self.hand.faces, self.weights)


def lay_out_channels_last(network: nn.Module) -> None:
    """Puts the convolutions' weights into the layout of fast kernels; other weights have no channels."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def compile_or_stay_eager(network: nn.Module) -> None:
    """Has torch.compile take over the network's forward pass; whatever it cannot compile runs as written."""
    torch._dynamo.config.suppress_errors = True  # pyright: ignore[reportPrivateUsage]
    network.compile(dynamic=False)


def build_optimiser(network: DirNetwork, settings: OptimiserSettings) -> torch.optim.AdamW:
    """AdamW over the backbone, the rest, and what must not decay (biases, norms, position tables), in that order."""
    names = ("backbone", "rest", "undecayed", "backbone_undecayed")
    groups: dict[str, list[nn.Parameter]] = {name: [] for name in names}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        backbone = name.startswith("backbone.")
        if parameter.ndim < 2:
            groups["backbone_undecayed" if backbone else "undecayed"].append(parameter)
        else:
            groups["backbone" if backbone else "rest"].append(parameter)
    shares = {"backbone": settings.backbone_share, "backbone_undecayed": settings.backbone_share}
    chosen = [
        {
            "params": parameters,
            "share": shares.get(name, 1.0),
            "weight_decay": 0.0 if "undecayed" in name else settings.weight_decay,
        }
        for name, parameters in groups.items()
        if parameters
    ]
    return torch.optim.AdamW(chosen, lr=settings.learning_rate, fused=True)


def learning_rate(settings: OptimiserSettings, step: int, progress: float) -> float:
    """Warm-up by steps times a cosine by progress, 0..1, through the run."""
    warm = min(1.0, (step + 1) / max(settings.warmup_steps, 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return settings.learning_rate * warm * (settings.final_share + (1 - settings.final_share) * cosine)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Gives every group its share of the rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["share"]


class AveragedNetwork:
    """Exponential moving average of all weights and statistics, warmed up so that early steps are soon forgotten."""

    def __init__(self, network: DirNetwork, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._own, self._live = _floating(self.network), _floating(network)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Moves the average towards the network after optimiser step number `step`."""
        keep = min(self.decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(self._own, self._live, 1 - keep)  # pyright: ignore[reportPrivateUsage]


@contextmanager
def evaluating(module: nn.Module) -> Generator[None]:
    """Eval mode and no gradients inside; the mode before is put back."""
    before = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(before)


def _floating(network: nn.Module) -> list[Tensor]:
    return [value for value in network.state_dict().values() if value.is_floating_point()]
