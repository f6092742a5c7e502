# SPDX-License-Identifier: GPL-3.0-or-later
"""Probabilities from log odds."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LEAST = -700.0  # exp overflows below -709


def probability(log_odds: ArrayLike) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)) of each x, in double precision; scipy.special's takes 30 ms to import."""
    return 1 / (1 + np.exp(-np.maximum(np.asarray(log_odds, np.float64), _LEAST)))
