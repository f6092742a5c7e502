# SPDX-License-Identifier: GPL-3.0-or-later
"""The choice among pairs of readings: what tells of a pair, whatever its side, size and place, and what it prefers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from inference_core.shared.errors import WeightsError
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.pair_choice import (
    FEATURES,
    Candidates,
    load_pair_chooser,
    pairs_of,
    told_by_pairs,
)

Floats = NDArray[np.float64]


def some_readings(rng: np.random.Generator, count: int = 7) -> Candidates:
    """Readings of either side, of hands some 80 pixels large, in a picture of 400 pixels."""
    points_px, told_px = (
        rng.uniform(80, 320, (count, 1, 2)) + rng.normal(0, 25, (count, 21, 2)) for _ in range(2)
    )
    return Candidates(
        points_px=points_px,
        world_m=np.zeros((count, 21, 3)),
        sides=np.arange(count) % 2,
        error=rng.uniform(0.03, 0.3, count),
        odds=rng.normal(0, 2, count),
        presence=rng.uniform(0, 1, count),
        there=rng.normal(4, 3, count),
        told_px=told_px,
        told_off_px=rng.uniform(5, 20, count),
    )


def moved(read: Candidates, turn: Floats, scale: float, shift_px: Floats) -> Candidates:
    """The readings of a picture turned by a matrix (2, 2), scaled and shifted."""
    points_px, told_px = (scale * px @ turn.T + shift_px for px in (read.points_px, read.told_px))
    return replace(read, points_px=points_px, told_px=told_px, told_off_px=scale * read.told_off_px)


def test_a_pair_tells_the_same_wherever_it_is_and_however_large_and_turned() -> None:
    rng = np.random.default_rng(1)
    read, contrary = some_readings(rng), rng.random(7) < 0.3
    pairs = pairs_of(read)
    turn = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    elsewhere = moved(read, turn, 2.5, np.array([40.0, -90.0]))
    told = told_by_pairs(read, pairs, contrary)
    assert told.shape == (len(pairs), FEATURES) and np.isfinite(told).all() and told.std(0).min() >= 0
    # Distances are told in sides of crops, which lie on a grid with steps of a thousandth.
    np.testing.assert_allclose(told_by_pairs(elsewhere, pairs, contrary), told, rtol=1e-3, atol=2e-3)


def test_a_mirrored_picture_has_the_same_pairs_with_sides_exchanged() -> None:
    rng = np.random.default_rng(2)
    read, none = some_readings(rng), np.zeros(7, bool)
    mirror = np.diag([-1.0, 1.0])
    mirrored = replace(moved(read, mirror, 1.0, np.array([400.0, 0.0])), sides=1 - read.sides)
    chooser, pairs = load_pair_chooser(), pairs_of(read)
    odds = chooser.odds(told_by_pairs(read, pairs, none))
    exchanged = chooser.odds(told_by_pairs(mirrored, pairs[:, ::-1], none))
    np.testing.assert_allclose(exchanged, odds, atol=1e-3)


def test_hands_that_are_sure_and_expect_each_other_are_likelier_than_one_read_twice(
    two_hands: Candidates,
) -> None:
    def odds(read: Candidates) -> float:
        return float(load_pair_chooser().odds(told_by_pairs(read, pairs_of(read), np.zeros(2, bool)))[0])

    twice = replace(two_hands, points_px=two_hands.points_px[[LEFT, LEFT]] + 1.0)
    alone = replace(two_hands, there=np.array([-6.0, -6.0]))
    unsure = replace(two_hands, error=np.full(2, 0.4), presence=np.full(2, 0.05))
    assert odds(two_hands) > 1.0
    assert max(odds(twice), odds(alone)) < 0.0
    assert odds(unsure) < odds(two_hands) - 2.0


@pytest.fixture
def two_hands() -> Candidates:
    """Sure readings of two hands side by side, each of which expects the other one where it is."""
    fingers = np.linspace(-0.6, 0.6, 5)[:, None]
    along = np.linspace(0.5, 1.0, 4)
    tips = np.stack([np.sin(fingers) * along, -np.cos(fingers) * along], -1).reshape(20, 2)
    hand_px = 60 * np.concatenate([np.zeros((1, 2)), tips])
    mirrored_px = hand_px * [-1, 1]
    points_px = np.stack([hand_px, mirrored_px]) + np.array([[[150.0, 200.0]], [[205.0, 200.0]]])
    sides, ones = np.array([LEFT, RIGHT]), np.ones(2)
    told = points_px[::-1].copy()
    return Candidates(
        points_px, np.zeros((2, 21, 3)), sides, 0.05 * ones, 3 * ones, ones, 9 * ones, told, 5 * ones
    )


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    chooser = vars(load_pair_chooser())
    path = tmp_path / "pair_choice.safetensors"
    save_file({**chooser, "hidden": np.ascontiguousarray(chooser["hidden"][:, 1:])}, path)
    with pytest.raises(WeightsError):
        load_pair_chooser(path)
