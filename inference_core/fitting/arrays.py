# SPDX-License-Identifier: GPL-3.0-or-later
"""Names for the kinds of arrays that the solve computes with; sums over their short axes.

NumPy's own sums over an axis of length 3, or over any axis before one, are several times slower than these.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
# Derivatives: they determine the direction of a step, not the result.
Floats32: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]


def lengths(vectors: Floats) -> Floats:
    """(...) of vectors (..., K)."""
    return np.sqrt(sum(vectors[..., k] ** 2 for k in range(vectors.shape[-1])))


def means(points: Floats) -> Floats:
    """(N, 1, K) the means of points (N, P, K)."""
    count = points.shape[1]
    return np.full((1, count), 1 / count) @ points
