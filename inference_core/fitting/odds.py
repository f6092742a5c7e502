# SPDX-License-Identifier: GPL-3.0-or-later
"""Probabilities from log odds."""

import numpy as np

from inference_core.fitting.arrays import Floats


def probability(log_odds: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow; scipy.special's takes 30 ms to import."""
    return 0.5 + 0.5 * np.tanh(0.5 * log_odds)
