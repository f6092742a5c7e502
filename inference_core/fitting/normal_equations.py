# SPDX-License-Identifier: GPL-3.0-or-later
"""Normal equations of hand frames, and what the terms that add to them share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.arrays import Floats, Floats32


@dataclass(frozen=True)
class NormalEquations:
    """Normal equations of N hand frames: hessian (N, D, D), gradient (N, D), cost (N,)."""

    hessian: Floats
    gradient: Floats
    cost: Floats


def pseudo_huber(error: Floats, delta: float) -> tuple[Floats, Floats]:
    """Weight and cost of errors (in standard deviations); an error beyond its delta pulls no harder than one at it."""
    root = np.sqrt(1 + (error / delta) ** 2)
    return 1 / root, delta**2 * (root - 1)


def on_unknowns(pulls: list[Floats], jacobian: Floats32) -> Floats:
    """(R, N, K) pulls (N, P, 3) on points as pulls on the unknowns by which these have derivatives (N, 3, P, K)."""
    flat = flat_rows(jacobian)
    rows = np.swapaxes(np.stack(pulls, 1), -1, -2).astype(np.float32, order="C")
    return np.swapaxes(rows.reshape(len(flat), len(pulls), flat.shape[1]) @ flat, 0, 1).astype(np.float64)


def flat_rows(rows: Floats32) -> Floats32:
    """(N, C P, K) of rows (N, C, P, K)."""
    return rows.reshape(len(rows), rows.shape[1] * rows.shape[2], rows.shape[3])


def diagonal(matrices: NDArray[np.floating]) -> NDArray[np.floating]:
    """(..., D) the diagonals of matrices (..., D, D), to be changed in place."""
    return np.einsum("...ii->...i", matrices)
