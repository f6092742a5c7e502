# SPDX-License-Identifier: GPL-3.0-or-later
"""Residuals along the line between a point of the left hand and one of the right, as normal equations."""

from dataclasses import dataclass

import numpy as np

from inference_core.fitting.arrays import Floats, Floats32, Indices
from inference_core.fitting.parameterisation import PosedPoints


@dataclass(frozen=True)
class Pulls:
    """K weighted residuals (m, K) of each of m pairs of hands (m,), with their derivatives (m, K, 2 D) by the unknowns
    of left and right; float32.
    """

    pair: Indices
    rows: Floats32
    residual: Floats32

    @staticmethod
    def of(
        posed: PosedPoints,
        pair: Indices,
        hands: tuple[Indices, Indices],
        blends: tuple[Floats, Floats],
        away: Floats,
        residual: Floats,
    ) -> "Pulls":
        """Residuals that change by `away` (m, K, 3) as the left points move, and by -away as the right ones do.

        hands: the pairs' left and right hand frames (m,). blends (m, K, 21): the points as blends of the joints.
        """
        count, size = away.shape[1], posed.parameterisation.size
        jacobian = posed.joints_jacobian.reshape(-1, 3 * 21, size)
        rows: Floats32 = np.empty((len(pair), count, 2 * size), np.float32)
        for place, (sign, blend, at) in enumerate(zip((1, -1), blends, hands, strict=True)):
            ways = (sign * away).astype(np.float32)[..., None] * blend.astype(np.float32)[:, :, None]
            own = rows[..., place * size : (place + 1) * size]
            np.matmul(ways.reshape(len(pair), count, 3 * 21), jacobian[at], out=own)
        return Pulls(pair, rows, residual.astype(np.float32))

    @property
    def normal(self) -> tuple[Floats32, Floats32]:
        """Hessian (m, 2, D, 2, D) and gradient (m, 2, D) of the squared residuals."""
        count, size = len(self.pair), self.rows.shape[2] // 2
        hessian = np.swapaxes(self.rows, 1, 2) @ self.rows
        gradient = self.residual[:, None] @ self.rows
        return hessian.reshape(count, 2, size, 2, size), gradient.reshape(count, 2, size)
