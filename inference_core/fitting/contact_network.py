# SPDX-License-Identifier: GPL-3.0-or-later
"""Which parts of two hands touch, read from both hands together.

Outlines that meet in a picture show where hands may touch, but not which finger meets which: landmark errors
exceed a finger's width. A small network learned the ways in which hands touch, from poses drawn by the generator
with errors like those of the fit.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from inference_core.fitting.capsules import BONES, Capsules, nearest_points
from inference_core.geometry.rotations import turn_to_ray
from inference_core.runtime.tensor_file import read_tensors
from inference_core.shared.errors import WeightsError

WEIGHTS = Path(__file__).parent / "contact_network.safetensors"
CAPSULES = len(BONES) + 2
_JOINTS = 2 * 21 * 3
_INPUTS = _JOINTS + 10
_WIDTH, _BLOCKS, _EMBEDDING, _PAIR_WIDTH = 160, 2, 12, 8
_MIRROR = (-1.0, 1.0, 1.0)
# The unit of length of the inputs.
_UNIT_M = 0.05


@dataclass(frozen=True)
class FittedPairs:
    """P pairs of hands as fitted in each frame, left and right.

    joints_m (P, S, 21, 3) in the camera; score (P, S) of their landmarks, 0..1; offset_m (P, 3): right minus left
    wrist according to the two-hand network; confidence (P, S): that network's, 0 without an estimate.
    """

    joints_m: Tensor
    score: Tensor
    offset_m: Tensor
    confidence: Tensor

    def mirrored(self) -> "FittedPairs":
        """The same pairs in a mirror: what was the left hand is the right one."""
        flip = self.joints_m.new_tensor(_MIRROR)
        return FittedPairs(
            self.joints_m.flip(1) * flip, self.score.flip(1), -self.offset_m * flip, self.confidence.flip(1)
        )


class ContactNetwork(nn.Module):
    """Log odds (P, C, C) that each capsule of the left hand touches each of the right.

    Both hands together give every capsule an embedding; two capsules touch where theirs agree and
    where they meet in the picture.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(_INPUTS, _WIDTH)
        self.blocks = nn.ModuleList(_block() for _ in range(_BLOCKS))
        self.norm = nn.LayerNorm(_WIDTH)
        self.dropout = nn.Dropout(0.1)
        self.embedding = nn.Linear(_WIDTH, 2 * CAPSULES * (_EMBEDDING + 1))
        self.pair = nn.Sequential(nn.Linear(5, _PAIR_WIDTH), nn.ReLU(), nn.Linear(_PAIR_WIDTH, 1))
        self.prior = nn.Parameter(torch.full((CAPSULES, CAPSULES), -4.0))

    def forward(self, inputs: Tensor, meetings: Tensor) -> Tensor:
        """Log odds for inputs (P, I) and meetings (P, C, C, 4) from network_inputs."""
        hidden = self.first(inputs)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        hidden = self.dropout(self.norm(hidden))
        left, right = self.embedding(hidden).view(-1, 2, CAPSULES, _EMBEDDING + 1).unbind(1)
        agree = left[..., :-1] @ right[..., :-1].mT / _EMBEDDING**0.5
        agree = agree + left[..., -1:] + right[..., -1:].mT
        return agree + self.prior + self.pair(torch.cat([meetings, agree[..., None]], -1))[..., 0]


def _block() -> nn.Module:
    return nn.Sequential(
        nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, 2 * _WIDTH), nn.GELU(), nn.Linear(2 * _WIDTH, _WIDTH)
    )


@lru_cache(maxsize=1)
def load_contact_network() -> ContactNetwork | None:
    """The bundled network, ready to run; None where its file is missing. Raises WeightsError for a damaged one."""
    if not WEIGHTS.is_file():
        return None
    network = ContactNetwork()
    try:
        network.load_state_dict({name: value.float() for name, value in read_tensors(WEIGHTS).items()})
    except RuntimeError as error:
        raise WeightsError(
            f"{WEIGHTS} is of another contact network ({error}). Install Duohand again."
        ) from error
    return network.eval()


def touching_log_odds(network: ContactNetwork, pairs: FittedPairs, capsules: Capsules) -> Tensor:
    """(P, C, C) float64, the average of the readings of the pairs and of their mirror images."""
    with torch.no_grad():
        plain = network(*network_inputs(pairs, capsules))
        mirrored = network(*network_inputs(pairs.mirrored(), capsules))
    return ((plain + mirrored.mT) / 2).double()


def network_inputs(pairs: FittedPairs, capsules: Capsules) -> tuple[Tensor, Tensor]:
    """Inputs (P, I) and meetings (P, C, C, 4) of the pairs, float32, independent of the camera
    and of the place in the picture.

    Both hands are moved along their rays to one distance and seen along the ray between them; their distance in depth
    is a separate input. meetings: the gap between the outlines, how much farther the left capsule then is, the
    magnitude of that, and the magnitude with the hands where they are.
    """
    joints_m = pairs.joints_m.float()
    turn = turn_to_ray((joints_m / joints_m[..., 2:].clamp(min=0.05)).mean((1, 2)))
    seen_m = joints_m @ turn[:, None]
    distance_m = seen_m[..., 2].mean(2).clamp(min=0.05)
    middle_m = distance_m.mean(1, keepdim=True)
    flat_m = seen_m * (middle_m / distance_m)[..., None, None]
    flat_m = flat_m - flat_m.mean((1, 2), keepdim=True)
    hands_m = torch.cat([flat_m[..., :2], seen_m[..., 2:] - distance_m[..., None, None]], -1)
    apart_m = distance_m[:, 1:] - distance_m[:, :1]
    wrists_m = seen_m[:, 1, 0] - seen_m[:, 0, 0]
    offset_m = (pairs.offset_m.float()[:, None] @ turn)[:, 0]
    says = (pairs.confidence.amin(1, keepdim=True) > 0).float()
    inputs = [
        hands_m.flatten(1) / _UNIT_M,
        (apart_m / _UNIT_M).clamp(-6, 6),
        (apart_m / 0.02).tanh(),
        says * ((offset_m - wrists_m) / _UNIT_M).clamp(-6, 6),
        pairs.score.float() * 4 - 2.4,
        pairs.confidence.float() * 4 - 2.4,
        (middle_m - 0.5) * 4,
    ]
    return torch.cat(inputs, 1), _meetings(hands_m, apart_m[:, :, None], capsules)


def _meetings(hands_m: Tensor, apart_m: Tensor, capsules: Capsules) -> Tensor:
    capsules = Capsules(capsules.ends.float(), capsules.radii_m.float())
    left, right = (capsules.ends_m(hands_m[:, side]) for side in (0, 1))
    flat = hands_m.new_tensor([1.0, 1.0, 0.0])
    nearest = nearest_points(left * flat, right * flat, capsules)
    behind_m = nearest.behind_m(left, right)
    return torch.stack(
        [
            (nearest.gap_m / 0.01).clamp(-3, 6),
            (behind_m / 0.02).clamp(-4, 4),
            (behind_m.abs() / 0.02).clamp(max=4),
            ((behind_m - apart_m).abs() / 0.03).clamp(max=4),
        ],
        -1,
    )
