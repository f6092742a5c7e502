# SPDX-License-Identifier: GPL-3.0-or-later
"""The training of the choice of both hands: right pairs, and a network that learns what tells them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference_core.shared.skeleton import LEFT
from inference_core.tracking.pair_choice import FEATURES, load_pair_chooser
from training.__main__ import main
from training.pair_choice.make import Searched, off_truth, write_searches
from training.pair_choice.stills import stills
from training.pair_choice.train import PairScores, Pictures, loss
from training.synthetic.touching.stills import Still


@pytest.fixture(scope="module")
def shown() -> list[Still]:
    return list(stills(5, 0, 8))


@pytest.fixture
def still(shown: list[Still]) -> Still:
    return next(one for one in shown if one.shown.all())


def test_a_pair_is_right_only_on_its_own_sides_and_where_both_hands_are_shown(still: Still) -> None:
    both = still.joints_px
    pairs_px = np.stack([both, both + 2.0, both[::-1], both[[LEFT, LEFT]], both + 500.0])
    off = off_truth(pairs_px, still)
    assert off[0] == 0 and 0 < off[1] < np.inf and np.isinf(off[2:]).all()
    alone = replace(still, shown=np.array([True, False]))
    assert np.isinf(off_truth(pairs_px, alone)).all()


def test_stills_are_the_same_in_every_run_and_show_hands(shown: list[Still]) -> None:
    assert len({one.shown.sum() for one in shown}) > 1
    again = next(stills(5, 3, 1))
    assert np.abs(again.image.astype(int) - shown[3].image).mean() < 1
    inside = [
        ((one.joints_px > 0) & (one.joints_px < [640, 480])).all(-1).mean(1)[one.shown] for one in shown
    ]
    assert np.concatenate(inside).mean() > 0.7


def test_loss_wants_right_pairs_or_none() -> None:
    """By features that are the odds themselves."""
    network = PairScores(torch.zeros(FEATURES), torch.ones(FEATURES)).eval()
    with torch.no_grad():
        network.out.zero_()
        network.direct[0] = 1.0

    def of(odds: list[float], right: int | None) -> float:
        told = torch.zeros(1, 3, FEATURES)
        told[0, : len(odds), 0] = torch.tensor(odds)
        off = torch.full((1, 3), torch.inf)
        if right is not None:
            off[0, right] = 0.1
        there = torch.arange(3)[None] < len(odds)
        return float(loss(network, Pictures(told, there, off)).detach())

    assert of([4.0, -4.0], 0) < 0.1 < 4 < of([4.0, -4.0], 1)
    assert of([-4.0, -4.0], None) < 0.1 < 3 < of([4.0, -4.0], None)


def test_command_learns_what_tells_a_right_pair(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    searches = []
    for _ in range(120):
        told = rng.normal(size=(rng.integers(3, 9), FEATURES))
        told[:, 4] -= 1.5
        off = np.full(len(told), np.inf)
        if rng.random() < 0.7:
            row = rng.integers(len(told))
            told[row, 4] += 5.0
            off[row] = 0.1
        searches.append(Searched(told, off))
    write_searches(tmp_path / "pairs-1-000000.safetensors", searches)
    out = tmp_path / "pair_choice.safetensors"
    assert main(["pair-choice", str(out), "--pairs", str(tmp_path), "--steps", "300"]) == 0
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["held_back"]["right, of possible"] > 0.8 and card["held_back"]["taken, of impossible"] < 0.3
    chooser = load_pair_chooser(out)
    assert (
        np.mean(
            [chooser.odds(one.told).argmax() == one.off.argmin() for one in searches if one.off.min() < 1]
        )
        > 0.8
    )


def test_the_choice_computes_what_was_trained() -> None:
    chooser = load_pair_chooser()
    network = PairScores(torch.zeros(FEATURES), torch.ones(FEATURES)).double().eval()
    network.load_state_dict(
        {name: torch.from_numpy(value) for name, value in vars(chooser).items()}, strict=False
    )
    hidden = len(chooser.hidden)
    assert network.hidden.shape == (hidden, FEATURES)
    told = np.random.default_rng(4).normal(size=(50, FEATURES)) * chooser.deviation * 2 + chooser.mean
    with torch.no_grad():
        trained = network(torch.from_numpy(told)).numpy()
    np.testing.assert_allclose(chooser.odds(told), trained, atol=1e-9)
