# SPDX-License-Identifier: GPL-3.0-or-later
"""Both hands at rest, as a take holds them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.hand_model.hand import ShapedHands


def resting_arrays(shaped: ShapedHands) -> dict[str, NDArray[Any]]:
    """The take's arrays, by name, that its motion applies to."""
    model = shaped.model
    parts = {
        "rest_vertices_m": (shaped.rest_vertices_m, np.float32),
        "rest_joints_m": (shaped.rest_joints_m, np.float32),
        "faces": (model.faces, np.int32),
        "skin_weights": (model.skin_weights, np.float32),
        "parents": (model.parents, np.int32),
        "tip_vertices": (model.tip_vertices, np.int32),
        "pose_dirs": (model.pose_dirs, np.float32),
        "joint_axes": (model.joint_axes, np.float32),
        "uvs": (model.uvs, np.float32),
    }
    return {name: value.astype(kind) for name, (value, kind) in parts.items() if value is not None}
