# SPDX-License-Identifier: GPL-3.0-or-later
"""MANO's pose correctives as shape keys driven by the fingers. No bpy here.

The model adds pose_dirs @ (R - 1) to the resting skin, for every joint's rotation R. With R = B q B^T in the bone's
own frame B, each entry of R - 1 is a linear combination of the nine products of two components of the unit quaternion
q (w squared excepted). So nine shape keys per joint, each driven by one such product, reproduce the model's skin
exactly; those that never move a vertex by more than BARELY_VISIBLE_M are left out. Blender evaluates such a driver
without Python. Fewer keys would not suffice: within 0.02 mm over the joints' range takes 91 of the 135 (by singular
values), each with a longer driver, which is no faster.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .axes import ARMATURE_FROM_REST, Floats

BARELY_VISIBLE_M: Final = 2e-6
PRODUCTS: Final = ("xx", "yy", "zz", "xy", "xz", "yz", "wx", "wy", "wz")
# The largest absolute value of each product: 1 for a square, 1/2 for a product of two different components.
_LARGEST = np.array([1.0 if first == second else 0.5 for first, second in PRODUCTS])

# Entries of R - 1 per unit value of each product.
_ENTRIES: Floats = np.array(
    [
        [[0, 0, 0], [0, -2, 0], [0, 0, -2]],
        [[-2, 0, 0], [0, 0, 0], [0, 0, -2]],
        [[-2, 0, 0], [0, -2, 0], [0, 0, 0]],
        [[0, 2, 0], [2, 0, 0], [0, 0, 0]],
        [[0, 0, 2], [0, 0, 0], [2, 0, 0]],
        [[0, 0, 0], [0, 0, 2], [0, 2, 0]],
        [[0, 0, 0], [0, 0, -2], [0, 2, 0]],
        [[0, 0, 2], [0, 0, 0], [-2, 0, 0]],
        [[0, -2, 0], [2, 0, 0], [0, 0, 0]],
    ],
    np.float64,
)


@dataclass(frozen=True)
class Corrective:
    """One shape key: offsets (V, 3) in the armature's axes and Blender units for a value of 1.

    Its driver is `product`, two of w x y z, of the quaternion of MANO's joint `joint` (1..15) in its bone's frame.
    """

    joint: int
    product: str
    offsets: Floats


def correctives(pose_dirs: NDArray[np.floating], rest_frames: Floats, scale: float) -> list[Corrective]:
    """The shape keys of one hand, from pose_dirs (V, 3, 135) and the bones' rest
    frames in their armature (16, 3, 3).
    """
    vertex_count = len(pose_dirs)
    by_entry = np.asarray(pose_dirs, np.float64).reshape(vertex_count, 3, 15, 3, 3)
    found: list[Corrective] = []
    for joint in range(1, 16):
        frame = ARMATURE_FROM_REST.T @ rest_frames[joint]
        entries = frame @ _ENTRIES @ frame.T  # (9, 3, 3), in the axes of pose_dirs
        offsets_m = np.einsum("vcab,pab->pvc", by_entry[:, :, joint - 1], entries) @ ARMATURE_FROM_REST.T
        reach_m = np.linalg.norm(offsets_m, axis=-1).max(-1) * _LARGEST
        found += [
            Corrective(joint, product, offsets_m[index] * scale)
            for index, product in enumerate(PRODUCTS)
            if reach_m[index] > BARELY_VISIBLE_M
        ]
    return found
