# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures as a camera turned elsewhere would see them."""

import numpy as np
from numpy.typing import NDArray


def turn_to_z(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shortest rotation (3, 3) that takes a unit direction with positive z onto the z axis."""
    x, y, z = direction
    cross = np.array([[0, 0, -x], [0, 0, -y], [x, y, 0.0]])
    return np.eye(3) + cross + cross @ cross / (1 + z)


def mapped(points: NDArray[np.floating], homography: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (..., P, 2) mapped by one homography (3, 3), or by one each (..., 3, 3)."""
    flat = np.concatenate([points, np.ones_like(points[..., :1])], -1) @ np.swapaxes(homography, -1, -2)
    return flat[..., :2] / flat[..., 2:]
