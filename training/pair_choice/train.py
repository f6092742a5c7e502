# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the choice of both hands: python -m training pair-choice OUT.safetensors --pairs PAIRS [--steps 600]

PAIRS come from `python -m training generate pair-choices`; every fifth picture is reserved for validation. A card is
written beside the weights.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from inference_core.tracking.pair_choice import FEATURES, MOST_DEVIATIONS
from training.pair_choice.make import COUNT, OFF, TOLD
from training.trainer.small_network import rounded, save_with_card

_SEED, _BATCH, _HELD_BACK = 7, 64, 5
_RATE, _DECAY, _CLIP = 6e-3, 0.3, 3.0
_HIDDEN, _DROPOUT = 32, 0.2
# Of several right pairs, the nearest counts most: errors of both hands, shares of their boxes, divided by this.
_NEAREST = 0.1


class PairScores(nn.Module):
    """(..., F) features of pairs to their log odds, as `PairChooser` computes them."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.direct = nn.Parameter(torch.zeros(FEATURES))
        self.hidden = nn.Parameter(torch.randn(_HIDDEN, FEATURES) / FEATURES**0.5)
        self.hidden_bias = nn.Parameter(torch.zeros(_HIDDEN))
        self.out = nn.Parameter(torch.randn(_HIDDEN) / _HIDDEN**0.5)
        self.bias = nn.Parameter(torch.zeros(1))
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, told: Tensor) -> Tensor:
        x = ((told - self.mean) / self.deviation).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        hidden = self.dropout(torch.relu(x @ self.hidden.T + self.hidden_bias))
        return x @ self.direct + hidden @ self.out + self.bias


@dataclass(frozen=True)
class Pictures:
    """N searched pictures, of at most P pairs: told (N, P, F); there (N, P) bool; off (N, P): how far a right pair is
    from both hands, shares of their boxes, infinite for a wrong one.
    """

    told: Tensor
    there: Tensor
    off: Tensor

    def rows(self, rows: Tensor) -> "Pictures":
        """Some of them."""
        return Pictures(self.told[rows], self.there[rows], self.off[rows])

    @property
    def possible(self) -> Tensor:
        """(N,) whether any pair is right."""
        return self.off.isfinite().any(1)


def load_pictures(folder: Path) -> Pictures:
    """All pictures of a folder's shards, in order."""
    shards = [load_file(path) for path in sorted(folder.glob("pairs-*.safetensors"))]
    told, off = (
        nn.utils.rnn.pad_sequence(
            [part for shard in shards for part in shard[name].float().split(shard[COUNT].tolist())],
            batch_first=True,
            padding_value=torch.nan,
        )
        for name in (TOLD, OFF)
    )
    there = ~off.isnan()
    return Pictures(told.nan_to_num(), there, off.where(there, torch.inf))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600, help="many more overfit a few hundred pictures")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    pictures = load_pictures(options.pairs)
    held_back = torch.arange(len(pictures.off)) % _HELD_BACK == 0
    learnt, judges = pictures.rows(~held_back), pictures.rows(held_back)
    network = trained(learnt, options.steps)
    card = {
        "name": "choice of both hands",
        "licence": "GPL-3.0-or-later",
        "made_by": f"python -m training pair-choice OUT --pairs PAIRS --steps {options.steps}",
        "data": f"{len(learnt.off)} searches of rendered stills, {options.steps} steps of {_BATCH}",
        "held_back": rounded(errors(network, judges)),
    }
    save_with_card(options.out, network, card)


def trained(learnt: Pictures, steps: int) -> PairScores:
    """A network in evaluation mode."""
    torch.manual_seed(_SEED)
    told = learnt.told[learnt.there]
    network = PairScores(told.mean(0), told.std(0).clamp(min=1e-3)).train()
    optimiser = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
    for _ in range(steps):
        value = loss(network, learnt.rows(torch.randint(len(learnt.off), (_BATCH,))))
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
        optimiser.step()
        schedule.step()
    return network.eval()


def with_none(network: nn.Module, pictures: Pictures) -> Tensor:
    """(N, P + 1) log probabilities of each pair and, last, of none."""
    odds = network(pictures.told).masked_fill(~pictures.there, -torch.inf)
    return torch.cat([odds, odds.new_zeros(len(odds), 1)], 1).log_softmax(1)


def loss(network: nn.Module, pictures: Pictures) -> Tensor:
    """Cross entropy of the right pairs, or of none where no pair is right."""
    wanted = torch.cat([-pictures.off / _NEAREST, torch.zeros(len(pictures.off), 1)], 1)
    wanted[pictures.possible, -1] = -torch.inf
    likely = with_none(network, pictures).clamp(min=-100)
    return -(wanted.softmax(1) * likely).sum(1).mean()


def errors(network: nn.Module, pictures: Pictures) -> dict[str, float]:
    """How often the likeliest pair is right where any is; of pairs that are likelier than none, how many are right; and
    how often a picture without a right pair has one all the same.
    """
    with torch.no_grad():
        likely = with_none(network, pictures)
    best, possible = likely[:, :-1].argmax(1), pictures.possible
    right = pictures.off.gather(1, best[:, None])[:, 0].isfinite()
    taken = likely[:, :-1].logsumexp(1) > likely[:, -1]
    return {
        "right, of possible": float(right[possible].float().mean()),
        "right, of taken": float(right[taken].float().mean()),
        "taken, of impossible": float(taken[~possible].float().mean()),
    }
