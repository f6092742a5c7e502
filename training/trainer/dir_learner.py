# SPDX-License-Identifier: GPL-3.0-or-later
"""The two-hand network under training."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from inference_core.hand_model.hand import HandModel
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.picture import normalised
from inference_core.two_hand.records import Conditioning, DirOutput
from training.config import Experiment, LossWeights, OptimiserSettings
from training.data.sample import Sample
from training.trainer.learner import Learner
from training.trainer.supervision import supervise


class DirLearner(Learner[DirNetwork, Sample]):
    """The network with the other inputs of its forward pass."""

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

    def inputs(self, batch: Sample) -> tuple[Tensor, Conditioning | None, tuple[Tensor, ...] | None]:
        """See Learner."""
        return batch.image, batch.conditioning, batch.levels

    def terms(self, output: DirOutput, batch: Sample) -> dict[str, Tensor]:
        """See Learner."""
        return supervise(output, batch, self.hand.faces, self.weights)

    def optimiser(self, settings: OptimiserSettings) -> torch.optim.AdamW:
        """See Learner."""
        return build_optimiser(self.network, settings)


def build_optimiser(network: DirNetwork, settings: OptimiserSettings) -> torch.optim.AdamW:
    """AdamW with three groups: the backbone, the rest, and parameters without weight decay
    (biases, norms, position embeddings).
    """
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
