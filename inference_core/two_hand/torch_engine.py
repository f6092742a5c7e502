# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine of a two-hand network in memory, run by torch."""

from inference_core.hand_model.hand import HandModel
from inference_core.runtime.torch_run import TorchRun
from inference_core.two_hand.batch_norm_fusion import with_fused_norms
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.engine import Engine, GraphEngine, output_names
from inference_core.two_hand.hand_graph import HandGraph


def torch_engine(network: DirNetwork, hand: HandModel, device: str = "cpu", vertices: bool = False) -> Engine:
    """The engine of a network. hand: of arrays."""
    run = TorchRun(HandGraph(with_fused_norms(network), hand.tensors(device=device), vertices), device)
    return GraphEngine(run, output_names(network.configuration, vertices), network.configuration.conditioning)
