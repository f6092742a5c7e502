# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the partner network: python -m training partner-network OUT.safetensors --crops CROPS [--time-limit-s 1200]

CROPS come from `python -m training generate crops`; their first shards are reserved for validation, and shards that
appear during training are picked up. A card is written beside the weights.
"""

import argparse
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.landmarks.crop_readings import Partners
from inference_core.landmarks.partner_network import PartnerNetwork
from training.hand_crops.shards import CropSet, training_shards
from training.trainer.landmark_head import log_size, moved
from training.trainer.small_network import Schedule, for_seconds, rounded, save_with_card, trained_network

# Whose middle lies this near, in half sides of the crop, is another hand that the crop shows; farther ones may be.
_SHOWN = 1.2
_SEED, _BATCH = 31_337, 64
_SCHEDULE = Schedule(rate=3e-3, weight_decay=0.05, warm_up=100, clip=5.0, averaged=0.995, report=500)
_POINTS_WEIGHT, _SIGMA_WEIGHT = 1.5, 0.1
# Unsure points contract to the mean of plausible hands, so their size has its own loss.
_SIZE_WEIGHT = 0.2
_RENEWED = 500


class PartnerTruth(NamedTuple):
    """shown, absent (N,) bool: there is another hand, or none; both False if it is at the edge. points (N, 21, 2)."""

    shown: Tensor
    absent: Tensor
    points: Tensor


def truth_of(partner: Tensor) -> PartnerTruth:
    """The truth for the partner's landmarks (N, 21, 2) in a crop, which are NaN where there is none."""
    absent = partner.isnan().any(-1).any(-1)
    shown = ~absent & (partner.mean(1).abs().amax(-1) < _SHOWN)
    return PartnerTruth(shown, absent, partner.nan_to_num())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--held-back", type=int, default=4, help="shards reserved for validation")
    parser.add_argument("--time-limit-s", type=float, default=1200.0)


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    network, held_back, done = trained(options.crops, options.held_back, options.time_limit_s)
    card = {
        "name": "partner network",
        "licence": "GPL-3.0-or-later",
        "made_by": f"python -m training partner-network OUT --crops CROPS --time-limit-s {options.time_limit_s:g}",
        "data": done,
        "held_back": rounded(errors(network, held_back)),
    }
    save_with_card(options.out, network, card)


def trained(folder: Path, held_back: int, time_limit_s: float) -> tuple[PartnerNetwork, CropSet, str]:
    """A network averaged over its last steps, the validation crops, and what it was trained on."""
    judges = CropSet(training_shards(folder)[:held_back])
    torch.manual_seed(_SEED)
    generator = torch.Generator().manual_seed(_SEED)
    network = PartnerNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    crops: CropSet | None = None

    def loss_at(step: int) -> Tensor:
        nonlocal crops
        if crops is None or step % _RENEWED == 0:
            crops = CropSet(training_shards(folder)[held_back:], crops)
        rows = torch.randint(len(crops), (_BATCH,), generator=generator)
        features, points = moved(crops.features(rows), crops.partner[rows], generator)
        told = network(features.contiguous(memory_format=torch.channels_last))
        return loss(told, truth_of(points))

    averaged, steps = trained_network(
        for_seconds(time_limit_s),
        network,
        _SCHEDULE,
        loss_at,
        lambda averaged: errors(cast(PartnerNetwork, averaged), judges),
    )
    return (
        cast(PartnerNetwork, averaged),
        judges,
        f"{len(crops or ())} hand crops, {steps} steps of {_BATCH}",
    )


def loss(told: Partners, truth: PartnerTruth) -> Tensor:
    """Cross entropy of another hand's presence and, where there is one, its points' mean distance, its likelihood and
    how far the logarithm of their size is off.
    """
    asked = truth.shown | truth.absent
    of_there = F.binary_cross_entropy_with_logits(told.there, truth.shown.float(), reduction="none")
    off = (told.points - truth.points).norm(dim=-1).mean(-1)
    likelihood = off.detach() / told.log_sigma.exp() + told.log_sigma
    grown = (log_size(told.points) - log_size(truth.points)).abs()
    of_points = _POINTS_WEIGHT * off + _SIGMA_WEIGHT * likelihood + _SIZE_WEIGHT * grown
    there = (of_there * asked).sum() / asked.sum().clamp(min=1)
    return there + (of_points * truth.shown).sum() / truth.shown.sum().clamp(min=1)


def errors(network: PartnerNetwork, crops: CropSet) -> dict[str, float]:
    """Over all crops: how often it is right about another hand, the recall at 1 % false positives, and the median
    distance of points as a share of half the crop's side; the latter two also for hands that touch.
    """
    network.eval()
    with torch.no_grad():
        parts = [network(crops.features(rows)) for rows in torch.arange(len(crops)).split(256)]
    network.train()
    there, points = (torch.cat([getattr(part, name) for part in parts]) for name in ("there", "points"))
    truth = truth_of(crops.partner)
    bound = there[truth.absent].quantile(0.99)
    touching = truth.shown & (crops.gap_m < 0.003)
    off = (points - truth.points).norm(dim=-1).mean(-1)
    asked = truth.shown | truth.absent
    return {
        "right": float(((there > 0) == truth.shown)[asked].float().mean()),
        "log odds at 1 % false": float(bound),
        "sure": float((there[truth.shown] > bound).float().mean()),
        "touching sure": float((there[touching] > bound).float().mean()),
        "off": float(off[truth.shown].median()),
        "touching off": float(off[touching].median()),
        "touching within 0.25": float((off[touching] < 0.25).float().mean()),
    }
