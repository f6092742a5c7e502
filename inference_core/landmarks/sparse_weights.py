# SPDX-License-Identifier: GPL-3.0-or-later
"""Sparse storage for weights with many zeros: MediaPipe's person detector is three quarters zeros, its landmark network
a third.

NAME is replaced by NAME:values (K,), the non-zero entries in order; NAME:places, one bit per entry, packed; NAME:shape.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

_VALUES, _PLACES, _SHAPE = ":values", ":places", ":shape"
# Weights with a smaller share of zeros are stored as they are.
_LEAST_ZEROS = 0.2


def without_zeros(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as they are stored: those with many zeros as values and places."""
    stored: dict[str, Tensor] = {}
    for name, weight in weights.items():
        there = (weight != 0).flatten()
        if float(there.float().mean()) > 1 - _LEAST_ZEROS:
            stored[name] = weight
            continue
        stored[name + _VALUES] = weight.flatten()[there].contiguous()
        stored[name + _PLACES] = torch.from_numpy(np.packbits(there.numpy()))
        stored[name + _SHAPE] = torch.tensor(weight.shape)
    return stored


def with_zeros(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The whole weights; undoes `without_zeros`. ValueError names a weight whose parts do not fit each other."""
    weights = {name: weight for name, weight in stored.items() if ":" not in name}
    for name in [name.removesuffix(_VALUES) for name in stored if name.endswith(_VALUES)]:
        try:
            values, places, shape = (stored[name + part] for part in (_VALUES, _PLACES, _SHAPE))
            sides = [int(side) for side in shape]
            if min(sides, default=0) < 0 or not 0 <= math.prod(sides) <= 8 * len(places):
                raise ValueError("more entries than places")
            whole = torch.zeros(int(np.prod(sides)), dtype=values.dtype)
            there = torch.from_numpy(np.unpackbits(places.numpy(), count=len(whole)).astype(bool))
            whole[there] = values
        except (KeyError, ValueError, RuntimeError) as error:
            raise ValueError(f"the parts of {name} do not fit each other") from error
        weights[name] = whole.reshape(sides)
    return weights
