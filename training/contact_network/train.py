# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the contact network: python -m training contact-network OUT.safetensors [--pairs 7000] [--steps 2000]

Needs no pictures: pairs are drawn by the generator (7 ms each) with four sets of errors, and a step of 128 takes 20
ms on one core. A card is written beside the weights.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference_core.fitting.contact_network import network_inputs
from inference_core.hand_model.load import load_open_hand
from inference_core.shared.errors import RequestError
from training.contact_network.fit_errors import fitted
from training.contact_network.network import ContactNetwork
from training.contact_network.pairs import Pairs, Skeletons, before_a_camera, draw_pairs
from training.trainer.small_network import Schedule, for_steps, save_with_card, trained_network

# Capsules nearer than about this touch.
_TOUCHING_M, _SOFT_M = 0.003, 0.0012
_SEED, _BATCH, _LOOKS, _HELD_BACK = 424_242, 128, 4, 256
_INPUT_NOISE = 0.05
_SCHEDULE = Schedule(rate=3e-3, weight_decay=0.05, warm_up=60, clip=5.0, averaged=0.0, report=250)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--pairs", type=int, default=7000)
    parser.add_argument("--steps", type=int, default=2000)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.pairs <= _HELD_BACK or options.steps < 1:
        raise RequestError(
            f"Give more than {_HELD_BACK} pairs, which are held back to judge by, and a step or more."
        )
    pairs = draw_pairs(_SEED, options.pairs)
    network, error = trained(pairs, options.steps)
    card = {
        "name": "contact network",
        "licence": "GPL-3.0-or-later",
        "made_by": f"python -m training contact-network OUT --pairs {options.pairs} --steps {options.steps}",
        "data": f"{len(pairs.root)} pairs drawn by the generator, seed {_SEED}, errors as in training/contact_network",
        "error": round(error, 3),
        "error_is": "cross entropy summed over a pair's capsules, validation pairs",
    }
    save_with_card(options.out, network, card)


def trained(pairs: Pairs, steps: int) -> tuple[ContactNetwork, float]:
    """A network, and its error on the validation pairs."""
    torch.manual_seed(_SEED)
    skeletons, generator = Skeletons.of(load_open_hand()), torch.Generator().manual_seed(_SEED)
    count = len(pairs.root) - _HELD_BACK
    looks = [_samples(pairs.take(torch.arange(count)), skeletons, generator) for _ in range(_LOOKS)]
    inputs, meetings, touch = (torch.cat(parts) for parts in zip(*looks, strict=True))
    held_back = _samples(pairs.take(torch.arange(count, len(pairs.root))), skeletons, generator)
    network = ContactNetwork()

    def loss_at(_: int) -> Tensor:
        rows = torch.randint(len(inputs), (_BATCH,), generator=generator)
        noisy = inputs[rows] + _INPUT_NOISE * torch.randn(_BATCH, inputs.shape[1], generator=generator)
        return _error(network, noisy, meetings[rows], touch[rows])

    trained_network(
        for_steps(steps),
        network,
        _SCHEDULE,
        loss_at,
        lambda network: {"validation": _held(network, held_back)},
    )
    return network.eval(), _held(network, held_back)


def _held(network: nn.Module, samples: tuple[Tensor, Tensor, Tensor]) -> float:
    network.eval()
    with torch.no_grad():
        error = float(_error(network, *samples))
    network.train()
    return error


def _error(network: nn.Module, inputs: Tensor, meetings: Tensor, touch: Tensor) -> Tensor:
    log_odds = network(inputs, meetings.float())
    return F.binary_cross_entropy_with_logits(log_odds, touch.float(), reduction="none").sum((1, 2)).mean()


def _samples(pairs: Pairs, skeletons: Skeletons, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, meetings and probability of contact for each pair once; half of them mirrored."""
    with torch.no_grad():
        parts = [_sample(part, skeletons, generator) for part in _split(pairs)]
    inputs, meetings, touch = (torch.cat(values) for values in zip(*parts, strict=True))
    return inputs, meetings, touch


def _split(pairs: Pairs) -> Iterator[Pairs]:
    for chosen in torch.arange(len(pairs.root)).split(256):
        yield pairs.take(chosen)


def _sample(pairs: Pairs, skeletons: Skeletons, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    held = before_a_camera(pairs, generator)
    touch = torch.sigmoid((_TOUCHING_M - skeletons.gaps_m(skeletons.joints_m(held))) / _SOFT_M)
    seen = fitted(held, skeletons, generator)
    plain, mirrored = (
        [torch.from_numpy(values) for values in network_inputs(fits, skeletons.capsules)]
        for fits in (seen, seen.mirrored())
    )
    turned = torch.rand(len(touch), generator=generator) < 0.5
    inputs = torch.where(turned[:, None], mirrored[0], plain[0])
    meetings = torch.where(turned[:, None, None, None], mirrored[1], plain[1])
    # Half precision: the samples of one run take half a gigabyte at most.
    return inputs, meetings.half(), torch.where(turned[:, None, None], touch.mT, touch).half()
