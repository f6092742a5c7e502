# SPDX-License-Identifier: GPL-3.0-or-later
"""Which two readings of a picture are its left and its right hand, or whether it shows no such pair.

A small network gives each pair of readings the log odds that these are both hands, against no pair in the picture. It
is trained on rendered stills (`training.pair_choice`), whose pairs compete with each other and with none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.runtime.array_file import read_arrays
from inference_core.shared.errors import WeightsError
from inference_core.shared.skeleton import LEFT, RIGHT

WEIGHTS_FILE = Path(__file__).parent / "pair_choice.safetensors"
# What is told of a pair, see `told_by_pairs`: of either hand, of both, of one as seen from the other, of the picture.
_OF_HAND, _OF_BOTH, _OF_OTHER, _OF_PICTURE = 6, 8, 3, 4
FEATURES = 2 * _OF_HAND + _OF_BOTH + 2 * _OF_OTHER + _OF_PICTURE
# Features are told in deviations from their mean, at most so many.
MOST_DEVIATIONS = 5.0
# How likely a reading is a hand by itself, in nats: weights of its error, its side's odds and its presence.
_ERROR, _ODDS, _PRESENCE = 3.0, 0.35, 0.8
_MOST_ODDS, _LEAST_ERROR, _LEAST_PRESENCE = 3.0, 0.02, 0.01
# Readings nearer than this, in sides of their crops, are of one place; whoever has no rival has one that costs so much.
_ONE_PLACE, _NO_RIVAL = 0.2, 4.0
# A reading that costs this counts half of a sure one; the temperature of a picture's readings, in nats.
_HALF_SURE, _SOFT = -4.0, 1.5
# Two hands nearer than this are one; a reading farther than that from both hands is not explained by them.
_ON_ONE, _UNEXPLAINED = 0.12, 0.5
# Part of a crop's side by which an expected hand may be off in any case; in expected errors, at most.
_ROUGHLY, _MOST_OFF = 0.1, 4.0

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """N readings of the landmark head, as hands of `sides` (N,).

    points_px (N, 21, 2), world_m (N, 21, 3). error: expected, of half the crop's side. odds: log odds of its side.
    presence: the landmark network's, 0..1. there: log odds of another hand, whose landmarks are expected at told_px
    (N, 21, 2), give or take told_off_px. All (N,).
    """

    points_px: Floats
    world_m: Floats
    sides: Indices
    error: Floats
    odds: Floats
    presence: Floats
    there: Floats
    told_px: Floats
    told_off_px: Floats

    def rows(self, rows: Indices) -> Candidates:
        """Some of them."""
        return Candidates(*(values[rows] for values in vars(self).values()))

    @property
    def crops(self) -> Floats:
        """(N, 4) in which to read them again."""
        return crops_from_landmarks(self.points_px)

    @property
    def own_costs(self) -> Floats:
        """(N,) nats: how unlikely each is a hand of its side."""
        odds = self.odds.clip(-_MOST_ODDS, _MOST_ODDS)
        return _ERROR * np.log(self._error) - _ODDS * odds - _PRESENCE * np.log(self._presence)

    @property
    def _error(self) -> Floats:
        return self.error.clip(_LEAST_ERROR)

    @property
    def _presence(self) -> Floats:
        return self.presence.clip(_LEAST_PRESENCE)

    def told(self, contrary: NDArray[np.bool_], apart: Floats) -> Floats:
        """(N, _OF_HAND): expected error, odds of its side, presence, odds of another hand, how much dearer its place is
        as the other side's, and whether that is known there. apart (N, N): of readings, in sides of their crops.
        """
        costs = self.own_costs
        rival = (self.sides[:, None] != self.sides) & (apart < _ONE_PLACE)
        dearer = np.where(rival, costs - costs[:, None], np.inf).min(1)
        dearer = np.where(rival.any(1), dearer.clip(-6, 6), _NO_RIVAL)
        odds, there = self.odds.clip(-5, 5), _bounded(self.there)
        known = contrary.astype(np.float64)
        return np.stack([np.log(self._error), odds, np.log(self._presence), there, dearer, known], -1)


def pairs_of(read: Candidates) -> Indices:
    """(P, 2) rows of each left and right reading."""
    left, right = (np.flatnonzero(read.sides == side) for side in (LEFT, RIGHT))
    return np.stack(np.meshgrid(left, right, indexing="ij"), -1).reshape(-1, 2)


def told_by_pairs(read: Candidates, pairs: Indices, contrary: NDArray[np.bool_]) -> Floats:
    """(P, FEATURES) what pairs (P, 2) of readings tell, the surer hand first. contrary (N,): which of them lie where a
    hand of the other side is known.
    """
    size_px = read.crops[:, 2]
    both_px = np.sqrt(size_px[:, None] * size_px)
    apart = _apart(read.points_px, read.points_px) / both_px
    costs = read.own_costs
    first, second = np.take_along_axis(pairs, costs[pairs].argsort(1, kind="stable"), 1).T
    of_hand = read.told(contrary, apart)
    of_both = _of_both(read, both_px, apart)
    of_other = _of_other(read, size_px, both_px)
    of_picture = np.tile(_of_picture(read, costs, size_px), (len(pairs), 1))
    told = [of_hand[first], of_hand[second], of_both[first, second]]
    return np.concatenate([*told, of_other[first, second], of_other[second, first], of_picture], -1)


def _of_both(read: Candidates, both_px: Floats, apart: Floats) -> Floats:
    """(N, N, _OF_BOTH): distances of landmarks, of the nearest landmarks, of wrists and of middles, in sides of crops;
    whether they are one; how different in size; which likely readings neither explains; angle between their directions.
    """
    points_px, size_px = read.points_px, np.diagonal(both_px)
    between_px = np.linalg.norm(points_px[:, None, :, None] - points_px[None, :, None], axis=-1)
    middles_px = points_px.mean(1)
    likely = 1 / (1 + np.exp(read.own_costs - _HALF_SURE))
    left_over = np.minimum(apart[:, None], apart).clip(0, _UNEXPLAINED) @ likely / (likely.sum() + 0.5)
    along_px = points_px[:, 9] - points_px[:, 0]
    along = along_px / np.linalg.norm(along_px, axis=-1, keepdims=True).clip(1e-9)
    return np.stack(
        [
            apart,
            (_ON_ONE - apart).clip(0),
            (between_px.min(-1).mean(-1) + between_px.min(-2).mean(-1)) / 2 / both_px,
            between_px[..., 0, 0] / both_px,
            np.linalg.norm(middles_px[:, None] - middles_px, axis=-1) / both_px,
            np.abs(np.log(size_px[:, None] / size_px)),
            left_over,
            along @ along.T,
        ],
        -1,
    )


def _of_other(read: Candidates, size_px: Floats, both_px: Floats) -> Floats:
    """(N, N, _OF_OTHER): how far each reading is from where another expects its other hand, in expected errors, in
    sides of crops, and as a logarithm.
    """
    off_px = _apart(read.told_px, read.points_px)
    off = off_px / (read.told_off_px + _ROUGHLY * size_px)[:, None]
    return np.stack([off.clip(0, _MOST_OFF), (off_px / both_px).clip(0, 1.5), np.log(off + 0.1)], -1)


def _of_picture(read: Candidates, costs: Floats, size_px: Floats) -> Floats:
    """(_OF_PICTURE,): odds of another hand, of the likely readings and the least; how far likely readings spread; how
    likely the best left and right ones are.
    """
    likely = np.exp((costs.min() - costs) / _SOFT)
    likely /= likely.sum()
    middles_px = read.points_px.mean(1)
    spread_px = np.sqrt(likely @ ((middles_px - likely @ middles_px) ** 2).sum(-1))
    best = sum(costs[read.sides == side].min(initial=0) for side in (LEFT, RIGHT))
    there = _bounded(read.there)
    return np.array([likely @ there, there.min(), spread_px / (likely @ size_px), best])


def _bounded(there: Floats) -> Floats:
    return there.clip(-8, 12)


def _apart(one_px: Floats, other_px: Floats) -> Floats:
    """(N, M) mean distance of landmarks (N, 21, 2) and (M, 21, 2)."""
    return np.linalg.norm(one_px[:, None] - other_px, axis=-1).mean(-1)


@dataclass(frozen=True)
class PairChooser:
    """Two layers beside a linear one on F features, of mean and deviation (F,): direct (F,), hidden (H, F), hidden_bias
    (H,), out (H,), bias (1,).
    """

    mean: Floats
    deviation: Floats
    direct: Floats
    hidden: Floats
    hidden_bias: Floats
    out: Floats
    bias: Floats

    def odds(self, told: Floats) -> Floats:
        """(P,) log odds of each pair, from its features (P, F), against no pair."""
        x = ((told - self.mean) / self.deviation).clip(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        hidden = (x @ self.hidden.T + self.hidden_bias).clip(0)
        odds: Floats = x @ self.direct + hidden @ self.out + self.bias
        return odds


@lru_cache(maxsize=2)
def load_pair_chooser(path: Path = WEIGHTS_FILE) -> PairChooser:
    """Raises WeightsError if the file is damaged or another network's."""
    arrays = read_arrays(path)
    names, hidden = PairChooser.__dataclass_fields__, arrays.get("hidden")
    if arrays.keys() != names.keys() or hidden is None or hidden.ndim != 2 or hidden.shape[1] != FEATURES:
        raise WeightsError(f"{path} holds another network's weights. Install Duohand again.")
    return PairChooser(*(arrays[name].astype(np.float64) for name in names))
