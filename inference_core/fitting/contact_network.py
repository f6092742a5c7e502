# SPDX-License-Identifier: GPL-3.0-or-later
"""Which parts of two hands touch, read from both hands together.

Outlines that meet in a picture show where hands may touch, but not which finger meets which: landmark errors
exceed a finger's width. A small network learned the ways in which hands touch, from poses drawn by the generator
with errors like those of the fit.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from inference_core.fitting.arrays import Floats, Floats32
from inference_core.fitting.capsules import BONES, Capsules, nearest_points
from inference_core.geometry.rotations import turn_to_ray
from inference_core.runtime.array_file import read_arrays
from inference_core.shared.errors import WeightsError

WEIGHTS = Path(__file__).parent / "contact_network.safetensors"
CAPSULES = len(BONES) + 2
_JOINTS = 2 * 21 * 3
INPUTS = _JOINTS + 10
WIDTH, BLOCKS, EMBEDDING, PAIR_WIDTH = 160, 2, 12, 8
_MIRROR = np.array([-1.0, 1.0, 1.0])
# The unit of length of the inputs.
_UNIT_M = 0.05


@dataclass(frozen=True)
class FittedPairs:
    """P pairs of hands as fitted in each frame, left and right.

    joints_m (P, S, 21, 3) in the camera; score (P, S) of their landmarks, 0..1; offset_m (P, 3): right minus left
    wrist according to the two-hand network; confidence (P, S): that network's, 0 without an estimate.
    """

    joints_m: Floats
    score: Floats
    offset_m: Floats
    confidence: Floats

    def mirrored(self) -> "FittedPairs":
        """The same pairs in a mirror: what was the left hand is the right one."""
        return FittedPairs(
            self.joints_m[:, ::-1] * _MIRROR,
            self.score[:, ::-1],
            -self.offset_m * _MIRROR,
            self.confidence[:, ::-1],
        )


@dataclass(frozen=True)
class ContactNetwork:
    """Log odds that each capsule of the left hand touches each of the right.

    Both hands together give every capsule an embedding; two capsules touch where theirs agree and
    where they meet in the picture. weights: float32, by the names of training.contact_network.network.
    """

    weights: Mapping[str, Floats32]

    def log_odds(self, inputs: Floats32, meetings: Floats32) -> Floats32:
        """(P, C, C) for inputs (P, I) and meetings (P, C, C, 4) from network_inputs."""
        hidden = self._linear("first", inputs)
        for number in range(BLOCKS):
            wide = self._linear(f"blocks.{number}.1", self._normalised(f"blocks.{number}.0", hidden))
            hidden = hidden + self._linear(f"blocks.{number}.3", _gelu(wide))
        embedded = self._linear("embedding", self._normalised("norm", hidden))
        left, right = np.moveaxis(embedded.reshape(-1, 2, CAPSULES, EMBEDDING + 1), 1, 0)
        agree = left[..., :-1] @ np.swapaxes(right[..., :-1], 1, 2) / math.sqrt(EMBEDDING)
        agree += left[..., -1:] + right[..., None, :, -1]
        said = self._linear("pair.0", np.concatenate([meetings, agree[..., None]], -1).reshape(-1, 5))
        pair = self._linear("pair.2", np.maximum(said, 0))
        return agree + self.weights["prior"] + pair.reshape(agree.shape)

    def _linear(self, name: str, values: Floats32) -> Floats32:
        return values @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _normalised(self, name: str, values: Floats32) -> Floats32:
        values = values - values.mean(1, keepdims=True)
        values /= np.sqrt((values * values).mean(1, keepdims=True) + 1e-5)
        return values * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def _gelu(values: Floats32) -> Floats32:
    """x Phi(x), with the error function to 2e-7 (Abramowitz and Stegun 7.1.26): SciPy's takes 40 ms to import."""
    size = np.abs(values) * math.sqrt(0.5)
    t = 1 / (1 + 0.3275911 * size)
    series = np.zeros_like(t)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + factor) * t
    beyond = 0.5 * series * np.exp(-size * size)
    return values * np.where(values < 0, beyond, 1 - beyond)


@lru_cache(maxsize=1)
def load_contact_network() -> ContactNetwork | None:
    """The bundled network, ready to run; None where its file is missing. Raises WeightsError for a damaged one."""
    if not WEIGHTS.is_file():
        return None
    weights = {name: values.astype(np.float32) for name, values in read_arrays(WEIGHTS).items()}
    if {name: values.shape for name, values in weights.items()} != dict(_shapes()):
        raise WeightsError(f"{WEIGHTS} is of another contact network. Install Duohand again.")
    return ContactNetwork(weights)


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """The names and shapes of the weights."""
    linear = [("first", INPUTS, WIDTH), ("embedding", WIDTH, 2 * CAPSULES * (EMBEDDING + 1))]
    linear += [("pair.0", 5, PAIR_WIDTH), ("pair.2", PAIR_WIDTH, 1)]
    norms = ["norm"]
    for number in range(BLOCKS):
        norms.append(f"blocks.{number}.0")
        linear += [(f"blocks.{number}.1", WIDTH, 2 * WIDTH), (f"blocks.{number}.3", 2 * WIDTH, WIDTH)]
    yield "prior", (CAPSULES, CAPSULES)
    for name, inputs, outputs in linear:
        yield from ((f"{name}.weight", (outputs, inputs)), (f"{name}.bias", (outputs,)))
    for name in norms:
        yield from ((f"{name}.weight", (WIDTH,)), (f"{name}.bias", (WIDTH,)))


def touching_log_odds(network: ContactNetwork, pairs: FittedPairs, capsules: Capsules) -> Floats:
    """(P, C, C) float64, the average of the readings of the pairs and of their mirror images."""
    plain = network.log_odds(*network_inputs(pairs, capsules))
    mirrored = network.log_odds(*network_inputs(pairs.mirrored(), capsules))
    return ((plain + np.swapaxes(mirrored, 1, 2)) / 2).astype(np.float64)


def network_inputs(pairs: FittedPairs, capsules: Capsules) -> tuple[Floats32, Floats32]:
    """Inputs (P, I) and meetings (P, C, C, 4) of the pairs, float32, independent of the camera
    and of the place in the picture.

    Both hands are moved along their rays to one distance and seen along the ray between them; their distance in depth
    is a separate input. meetings: the gap between the outlines, how much farther the left capsule then is, the
    magnitude of that, and the magnitude with the hands where they are.
    """
    turn = turn_to_ray((pairs.joints_m / np.maximum(pairs.joints_m[..., 2:], 0.05)).mean((1, 2)))
    seen_m = pairs.joints_m @ turn[:, None]
    distance_m = np.maximum(seen_m[..., 2].mean(2), 0.05)
    middle_m = distance_m.mean(1, keepdims=True)
    flat_m = seen_m * (middle_m / distance_m)[..., None, None]
    flat_m -= flat_m.mean((1, 2), keepdims=True)
    hands_m = np.concatenate([flat_m[..., :2], seen_m[..., 2:] - distance_m[..., None, None]], -1)
    apart_m = distance_m[:, 1:] - distance_m[:, :1]
    wrists_m = seen_m[:, 1, 0] - seen_m[:, 0, 0]
    offset_m = (pairs.offset_m[:, None] @ turn)[:, 0]
    says = pairs.confidence.min(1, keepdims=True) > 0
    inputs = [
        hands_m.reshape(len(hands_m), -1) / _UNIT_M,
        np.clip(apart_m / _UNIT_M, -6, 6),
        np.tanh(apart_m / 0.02),
        says * np.clip((offset_m - wrists_m) / _UNIT_M, -6, 6),
        pairs.score * 4 - 2.4,
        pairs.confidence * 4 - 2.4,
        (middle_m - 0.5) * 4,
    ]
    meetings = _meetings(hands_m, apart_m[:, :, None], capsules)
    return np.concatenate(inputs, 1).astype(np.float32), meetings.astype(np.float32)


def _meetings(hands_m: Floats, apart_m: Floats, capsules: Capsules) -> Floats:
    left, right = (capsules.ends_m(hands_m[:, side]) for side in (0, 1))
    flat = np.array([1.0, 1.0, 0.0])
    nearest = nearest_points(left * flat, right * flat, capsules)
    behind_m = nearest.behind_m(left, right)
    return np.stack(
        [
            np.clip(nearest.gap_m / 0.01, -3, 6),
            np.clip(behind_m / 0.02, -4, 4),
            np.minimum(np.abs(behind_m) / 0.02, 4),
            np.minimum(np.abs(behind_m - apart_m) / 0.03, 4),
        ],
        -1,
    )
