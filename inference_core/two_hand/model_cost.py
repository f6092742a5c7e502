# SPDX-License-Identifier: GPL-3.0-or-later
"""The cost of each configuration: parameters, and operations per crop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from inference_core.hand_model.hand import HandModel
from inference_core.two_hand.configuration import CONFIGURATIONS, CROP_PX, NetworkConfiguration
from inference_core.two_hand.dir import DirNetwork

# Stored in the published checkpoints but never run: ResNet's classifier and, in the release, one transformer
# block per stage and the self weights of its graph convolutions, each a softmax over a single entry.
_CLASSIFIER = 2048 * 1000 + 1000
_BLOCK = 2 * 2 * 128 + 128 * 384 + 384 + 128 * 128 + 128 + 128 * 256 + 256 + 256 * 128 + 128
_SELF_WEIGHTS = 2 * 4 * 21


@dataclass(frozen=True)
class Cost:
    """Parameters and operations of a network.

    parameters: those that run. published: including stored ones that never run, as the paper counts.
    flops: operations per crop, a multiply-add being two. flops_published: with the bone projection's map
    built as the paper describes it.
    """

    name: str
    stages: int
    parameters: int
    published: int
    flops: int
    flops_published: int


def cost(configuration: NetworkConfiguration, hand: HandModel) -> Cost:
    """The cost, counted on fake tensors for one crop. Convolutions and matrix products count, as is usual."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        networks = [DirNetwork(configuration, published) for published in (False, True)]
        counts = [_flops(network, hand.tensors()) for network in networks]
    parameters = sum(p.numel() for p in networks[0].parameters())
    unused = _CLASSIFIER if configuration.backbone == "resnet50" else 0
    if configuration.name == "dir-release":
        unused += configuration.stages * (_BLOCK + _SELF_WEIGHTS)
    return Cost(
        configuration.name, configuration.stages, parameters, parameters + unused, counts[0], counts[1]
    )


def all_costs(hand: HandModel) -> list[Cost]:
    """The costs of every configuration with 0, 1 and 2 refinement stages."""
    return [
        cost(configuration.with_stages(stages), hand)
        for configuration in CONFIGURATIONS.values()
        for stages in (0, 1, 2)
    ]


def _flops(network: DirNetwork, hand: HandModel) -> int:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.eval()(torch.zeros(1, 3, CROP_PX, CROP_PX), hand)
    return counter.get_total_flops()
