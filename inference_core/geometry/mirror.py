# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where a left hand is turned into a right one and back.

The mirror plane is x = 0, in the hand model's rest frame and in camera axes alike; the picture is flipped
left to right.
"""

from typing import Literal, TypeVar

from inference_core.geometry.array_api import Array, constant

Kind = Literal["point", "uv", "rotation_vector", "quaternion", "matrix", "axes"]
Values = TypeVar("Values", bound=Array)

_SIGNS: dict[Kind, list[float] | list[list[float]]] = {
    "point": [-1, 1, 1],
    "uv": [-1, 1],
    "rotation_vector": [1, -1, -1],
    "quaternion": [1, 1, -1, -1],
    "matrix": [[1, -1, -1], [-1, 1, 1], [-1, 1, 1]],
    "axes": [[1, 1, 1], [-1, -1, -1], [-1, -1, -1]],
}


def mirror(values: Values, kind: Kind) -> Values:
    """The mirror image of `values`; its own inverse.

    kind: point (..., 3) or any other vector with a place or a direction; uv (..., 2) with 0 at the centre of the
    picture; rotation_vector (..., 3) axis-angle; quaternion (..., 4) w x y z; matrix (..., 3, 3) a rotation; axes
    (..., 3, 3) rotation axes as columns, mirrored so that the same angle about them is the mirrored motion.
    """
    return values * constant(_SIGNS[kind], values)
