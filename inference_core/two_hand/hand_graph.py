# SPDX-License-Identifier: GPL-3.0-or-later
"""The two-hand network with a hand model as one graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inference_core.hand_model.hand import HandModel
from inference_core.runtime.network_run import runs_in_openvino
from inference_core.two_hand.batch_norm_fusion import with_fused_norms
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.records import Conditioning


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


def prepared(network: DirNetwork, hand: HandModel, device: str, vertices: bool = False) -> HandGraph:
    """The graph optimised for the device's runtime. hand: of arrays."""
    fused = with_fused_norms(network, winograd=runs_in_openvino(device))
    return HandGraph(fused, hand.tensors(device=device), vertices).eval()
