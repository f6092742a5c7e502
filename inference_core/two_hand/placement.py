# SPDX-License-Identifier: GPL-3.0-or-later
"""The hands' positions in the crop's camera, from the network's estimates in the crop.

Each hand alone: the translation that makes its joints in metres project onto its joints in the crop, by linear least
squares (depth then follows from the hand's size in the picture). Both together: the network's offset gives the
difference in depth better than two sizes do, so both depths are adjusted towards it, each hand along its own line of
sight, which leaves its image unchanged.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Expected errors: of depth from size, as a share of it; of the offset's depth, in metres.
_DEPTH_SHARE, _OFFSET_DEPTH_M = 0.04, 0.02
_NEAREST_M, _FURTHEST_M = 0.08, 5.0
# Keeps the normal equations solvable for a hand shrunk to a point, by a pull to the weak-perspective depth.
_PULL = 1e-6


def placed_alone(joints_m: Floats, joints_uv: Floats, focal_uv: Floats) -> Floats:
    """Wrists (B, S, 3), metres in the crop's camera, from joints (B, S, J, 3) about the wrist, seen at (B, S, J, 2).

    focal_uv (B,): focal length over half the crop's side. Solves f (X + tx) = u (Z + tz), and the same in y.
    """
    focal = focal_uv[:, None, None]
    u, v = joints_uv[..., 0], joints_uv[..., 1]
    x, y, z = (joints_m[..., axis] for axis in range(3))
    zero, one = np.zeros_like(u), np.ones_like(u) * focal
    rows = np.stack([np.stack([one, zero, -u], -1), np.stack([zero, one, -v], -1)], -2)
    rows = rows.reshape(*u.shape[:-1], -1, 3)
    sides = np.stack([u * z - focal * x, v * z - focal * y], -1).reshape(*rows.shape[:-1], 1)
    across = np.swapaxes(rows, -1, -2)
    wrist: Floats = np.linalg.solve(across @ rows + _PULL * np.eye(3), across @ sides)[..., 0]
    depth = wrist[..., 2:].clip(_NEAREST_M, _FURTHEST_M)
    return np.where(wrist[..., 2:] == depth, wrist, on_sight(joints_uv, depth, focal_uv))


def placed_together(wrists_m: Floats, offset_m: Floats, both: Floats) -> Floats:
    """Wrists (B, S, 3), with depths adjusted towards the network's offset (B, 3) where `both` (B,) hands are present.

    The adjustment is weighted by the expected errors of depth from size and of the offset.
    """
    depths = wrists_m[..., 2]
    variance = np.square(_DEPTH_SHARE * depths)
    gain = variance / (variance.sum(1, keepdims=True) + _OFFSET_DEPTH_M**2)
    wanting = offset_m[:, 2] - (depths[:, 1] - depths[:, 0])
    change = gain * np.stack([-wanting, wanting], 1) * both[:, None]
    return wrists_m * ((depths + change).clip(_NEAREST_M) / depths)[..., None]


def on_sight(joints_uv: Floats, depth_m: Floats, focal_uv: Floats) -> Floats:
    """Points (B, S, 3) on the wrists' lines of sight at depths (B, S, 1)."""
    wrist = joints_uv[..., 0, :] / focal_uv[:, None, None]
    return np.concatenate([wrist * depth_m, depth_m], -1)
