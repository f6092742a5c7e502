# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the pair detector: python -m training pair-detector OUT.safetensors --views VIEWS [--time-limit-s 1200]

VIEWS come from `python -m training generate pair-views`; their first shards are reserved for validation, and shards
that appear during training are picked up. Training starts from the palm detector's weights. A card is written beside
the weights.
"""

import argparse
import math
from pathlib import Path
from typing import cast

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from inference_core.landmarks.blocks import SameConv
from inference_core.landmarks.formats import PAIR_VALUES, PALM_PX
from inference_core.landmarks.pair_detector import CELLS, USUAL_SIZE
from inference_core.landmarks.pair_network import PairNetwork
from inference_core.landmarks.weights import load_palm_network
from training.feature_cache.store import from_bytes, read_columns
from training.pair_detector.make import CROPS, FEATURES, GAP, HANDS
from training.pair_detector.views import HARDLY, THERE
from training.trainer.small_network import Schedule, for_seconds, rounded, save_with_card, trained_network

_SEED, _BATCH = 1, 32
_SCHEDULE = Schedule(rate=7e-4, weight_decay=0.01, warm_up=100, clip=3.0, averaged=0.998, report=300)
_RENEWED = 300
_CELL_PX = PALM_PX / CELLS
# The log odds of a hand in a cell before training.
_RARELY = -4.0
# Cells near a hand's middle count as partly right (deviation: share of its crop, at least and at most so many cells).
_SPREAD, _LEAST_SPREAD, _MOST_SPREAD = 0.12, 0.5, 1.6
# Cells that much right are taught where the hand is; weights of the place, the size and the quality.
_TAUGHT, _PLACE_WEIGHT, _SIZE_WEIGHT, _QUALITY_WEIGHT = 0.3, 4.0, 2.0, 0.5
# A proposal is right within these: of its side, of its size (logarithm), in radians.
RIGHT = (0.2, 0.35, 0.8)
_TOUCHING_M = 0.003


class ViewSet:
    """N views of some shards: their truth in memory, their features read from the files on demand."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        truths = [read_columns(path, [CROPS, HANDS, GAP]) for path in paths]
        self.crops, self.hands, self.gap_m = (
            torch.cat([truth[name] for truth in truths]) for name in (CROPS, HANDS, GAP)
        )
        self._ends = torch.tensor([len(truth[HANDS]) for truth in truths]).cumsum(0)

    def __len__(self) -> int:
        return len(self.hands)

    def features(self, rows: Tensor) -> Tensor:
        """(N, 128, 24, 24) of some rows."""
        parts = []
        for row in rows.tolist():
            shard = int(torch.bucketize(row, self._ends, right=True))
            start = int(self._ends[shard - 1]) if shard else 0
            with safe_open(self._paths[shard], "pt") as file:
                parts.append(file.get_slice(FEATURES)[row - start : row - start + 1])
        return from_bytes(torch.cat(parts)).contiguous(memory_format=torch.channels_last)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--views", type=Path, required=True)
    parser.add_argument("--held-back", type=int, default=4, help="shards reserved for validation")
    parser.add_argument("--time-limit-s", type=float, default=1200.0)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    network, held_back, done = trained(options.views, options.held_back, options.time_limit_s)
    card = {
        "name": "pair detector",
        "licence": "Apache-2.0",
        "made_by": f"python -m training pair-detector OUT --views VIEWS --time-limit-s {options.time_limit_s:g}",
        "data": done,
        "held_back": rounded(errors(network, held_back)),
    }
    save_with_card(options.out, network, card)


def trained(folder: Path, held_back: int, time_limit_s: float) -> tuple[PairNetwork, ViewSet, str]:
    """A network averaged over its last steps, the validation views, and what it was trained on."""
    judges = ViewSet(_shards(folder)[:held_back])
    generator = torch.Generator().manual_seed(_SEED)
    torch.manual_seed(_SEED)
    network = new_pair_network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    views: ViewSet | None = None

    def loss_at(step: int) -> Tensor:
        nonlocal views
        if views is None or step % _RENEWED == 0:
            views = ViewSet(_shards(folder)[held_back:])
        rows = torch.randint(len(views), (_BATCH,), generator=generator)
        return loss(network(views.features(rows)), views.crops[rows], views.hands[rows])

    averaged, steps = trained_network(
        for_seconds(time_limit_s), network, _SCHEDULE, loss_at, lambda averaged: errors(averaged, judges)
    )
    return cast(PairNetwork, averaged), judges, f"{len(views or ())} views, {steps} steps of {_BATCH}"


def new_pair_network() -> PairNetwork:
    """An untrained one, which starts from the palm detector."""
    network = PairNetwork()
    network.load_state_dict(load_palm_network().state_dict(), strict=False)
    last = cast(SameConv, network.head[-1]).conv
    assert last.bias is not None
    with torch.no_grad():
        last.weight.mul_(0.3)
        last.bias.zero_()
        last.bias[::PAIR_VALUES] = _RARELY
    return network


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("views-*.safetensors"))


def loss(told: Tensor, crops: Tensor, hands: Tensor) -> Tensor:
    """Of maps (N, S, PAIR_VALUES, CELLS, CELLS) where views have crops (N, S, 4): whether a hand is in a cell (cross
    entropy, weighed by how wrong it is), where it is in the cells near its middle, and whether that is right.
    """
    at_px = (torch.arange(CELLS) + 0.5) * _CELL_PX
    across, down = torch.broadcast_tensors(
        (crops[..., 0, None, None] - at_px) / _CELL_PX,
        (crops[..., 1, None, None] - at_px[:, None]) / _CELL_PX,
    )
    size_px = crops[..., 2, None, None].clamp(min=_CELL_PX / 2)
    spread = (size_px / _CELL_PX * _SPREAD).clamp(_LEAST_SPREAD, _MOST_SPREAD)
    there = (hands == THERE)[..., None, None]
    near = torch.exp(-(across**2 + down**2) / (2 * spread**2)) * there
    peak = F.one_hot(near.flatten(2).argmax(-1), CELLS**2).view_as(near) * there
    presence = told[:, :, 0]
    wrong = presence.sigmoid()
    of_presence = -F.logsigmoid(presence) * (1 - wrong) ** 2 * peak - F.logsigmoid(-presence) * wrong**2 * (
        1 - near
    ) ** 3 * (1 - peak)
    asked = (hands != HARDLY)[..., None, None]
    in_all = (of_presence * asked).sum() / there.sum().clamp(min=1)
    weight = (near > _TAUGHT) * near
    off = ((told[:, :, 1] - across).abs() + (told[:, :, 2] - down).abs()) * _CELL_PX / size_px
    grown = (told[:, :, 3] - (size_px / (USUAL_SIZE * PALM_PX)).log()).abs()
    turned = (told[:, :, 4] - crops[..., 3, None, None].cos()) ** 2 + (
        told[:, :, 5] - crops[..., 3, None, None].sin()
    ) ** 2
    good = is_right(crops_of(told.detach()), crops[..., None, None, :]).float()
    sure = F.binary_cross_entropy_with_logits(told[:, :, 6], good, reduction="none")
    of_place = _PLACE_WEIGHT * off + _SIZE_WEIGHT * grown + turned + _QUALITY_WEIGHT * sure
    return in_all + (of_place * weight).sum() / weight.sum().clamp(min=1)


def crops_of(told: Tensor) -> Tensor:
    """(N, S, CELLS, CELLS, 4) the crops that maps tell, in pixels of the view."""
    at = torch.arange(CELLS) + 0.5
    x, y = (at + told[:, :, 1]) * _CELL_PX, (at[:, None] + told[:, :, 2]) * _CELL_PX
    size = USUAL_SIZE * PALM_PX * told[:, :, 3].exp()
    return torch.stack([x, y, size, torch.atan2(told[:, :, 5], told[:, :, 4])], -1)


def is_right(crops: Tensor, truth: Tensor) -> Tensor:
    """Whether crops (..., 4) are near enough to true ones to be read in."""
    place, size, rotation = RIGHT
    off = (crops[..., :2] - truth[..., :2]).norm(dim=-1) / truth[..., 2]
    grown = (crops[..., 2] / truth[..., 2].clamp(min=1e-6)).log().abs()
    turned = torch.remainder(crops[..., 3] - truth[..., 3] + math.pi, 2 * math.pi) - math.pi
    return (off < place) & (grown < size) & (turned.abs() < rotation)


def errors(network: torch.nn.Module, views: ViewSet, proposals: int = 8) -> dict[str, float]:
    """How many of all views' hands are proposed by the likeliest cells, as whichever side; of hands that touch as
    well, and of these as their own side.
    """
    hits, owns = [], []
    with torch.no_grad():
        for rows in torch.arange(len(views)).split(64):
            told = network(views.features(rows))
            likely = F.logsigmoid(told[:, :, 0]) + F.logsigmoid(told[:, :, 6]) / 2
            peaks = likely.where(likely == F.max_pool2d(likely, 3, 1, 1), torch.tensor(-torch.inf))
            best = peaks.flatten(1).topk(proposals, 1).indices
            crops = crops_of(told).flatten(1, 3).gather(1, best[..., None].expand(-1, -1, 4))
            right = is_right(crops[:, :, None], views.crops[rows][:, None])
            own = best[..., None] // CELLS**2 == torch.arange(2)
            hits.append(right.any(1))
            owns.append((right & own).any(1))
    there = views.hands == THERE
    touching = there.all(1) & (views.gap_m < _TOUCHING_M)
    hit, own = torch.cat(hits), torch.cat(owns)
    return {
        "proposed": float(hit[there].float().mean()),
        "touching proposed": float(hit[touching].float().mean()),
        "touching on their sides": float(own[touching].float().mean()),
    }
