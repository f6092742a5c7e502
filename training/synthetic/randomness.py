# SPDX-License-Identifier: GPL-3.0-or-later
"""Random numbers that depend only on the seed, the picture's number and the name of the quantity.

There is no state: picture 1,000,000 of a stream is the same whatever was drawn before it, in any batch and on any
device (integers are hashed on the CPU; a further quantity leaves all others unchanged).
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF
_BELOW_ONE = 1 - 2**-24
_STEP = 0x9E3779B9  # 2**32 divided by the golden ratio: spreads consecutive counters over the whole range


@dataclass(frozen=True)
class Randomness:
    """The draws of B pictures: `seed` of the stream and `index` (B,) int64, the pictures' numbers in it."""

    seed: int
    index: Tensor

    @property
    def batch(self) -> int:
        """The number of pictures B."""
        return self.index.shape[0]

    def uniform(self, name: str, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(B, *shape) float32 in low..high, ends excluded."""
        return low + (high - low) * self._unit(name, shape)

    def normal(self, name: str, *shape: int, std: float = 1.0) -> Tensor:
        """(B, *shape) float32 with mean 0."""
        return std * torch.special.ndtri(self._unit(name, shape))

    def chance(self, name: str, probability: float, *shape: int) -> Tensor:
        """(B, *shape) bool, True with the given probability."""
        return self._unit(name, shape) < probability

    def choice(self, name: str, weights: Sequence[float], *shape: int) -> Tensor:
        """(B, *shape) int64 indices of the items, drawn in proportion to their weights."""
        edges = torch.tensor(weights, dtype=torch.float64).cumsum(0)
        edges = (edges / edges[-1])[:-1].float()
        return torch.bucketize(self._unit(name, shape), edges, right=True)

    def integers(self, name: str, below: int, *shape: int) -> Tensor:
        """(B, *shape) int64 in 0..below-1."""
        return (self._unit(name, shape) * below).long().clamp(max=below - 1)

    def _unit(self, name: str, shape: tuple[int, ...]) -> Tensor:
        stream = _mix(torch.tensor((self.seed ^ (zlib.crc32(name.encode()) * _STEP)) & _WORD))
        high, low = self.index >> 32, self.index & _WORD
        picture = _mix(_mix(low ^ stream) + high * _STEP & _WORD)
        counter = torch.arange(math.prod(shape)) * _STEP & _WORD
        words = _mix(_mix(picture[:, None] + counter & _WORD) ^ stream)
        # A float32 holds 24 bits; the half excludes 0, and is rounded away at the other end.
        return (((words >> 8).float() + 0.5) / (1 << 24)).clamp(max=_BELOW_ONE).view(-1, *shape)


def _mix(words: Tensor) -> Tensor:
    """Murmur3's finaliser: a bijection of 32-bit words in which each input bit flips half the output bits."""
    words = words & _WORD
    words = (words ^ (words >> 16)) * 0x85EBCA6B & _WORD
    words = (words ^ (words >> 13)) * 0xC2B2AE35 & _WORD
    return words ^ (words >> 16)
