# SPDX-License-Identifier: GPL-3.0-or-later
"""The available hand models: the bundled open hand, or a user's own MANO files."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference_core.hand_model.arrays import MANO_NAME, OPEN_HAND_NAME, HandArrays, checked, mirrored
from inference_core.hand_model.hand import HandModel, build_hand_model
from inference_core.hand_model.mano_file import read_mano
from inference_core.shared.skeleton import PARENTS_16

OPEN_HAND_FILE = Path(__file__).parent / "assets" / "open_hand.npz"
OPEN_HAND_LICENCE = "CC0-1.0"
MANO_LICENCE = "MANO licence (non-commercial; the user's own copy)"


def load_hand_model(
    mano: Path | None = None,
    tip_vertices: Sequence[int] | Sequence[Sequence[int]] | None = None,
) -> HandModel:
    """The user's MANO hands if `mano` names their folder or zip, else the open hand.

    tip_vertices, for MANO: five vertex numbers, thumb to pinky, for both sides, or five for the left and
    five for the right; None takes smplx's. Raises HandModelError.
    """
    return hand_model_of(None if mano is None else read_mano(mano, tip_vertices))


def hand_model_of(mano: tuple[HandArrays, HandArrays] | None) -> HandModel:
    """The user's MANO hands as read_mano returns them; the open hand for None."""
    if mano is None:
        return load_open_hand()
    return build_hand_model(*mano, read_landmark_offsets(), MANO_NAME, MANO_LICENCE)


@cache
def load_open_hand() -> HandModel:
    """The open hand, both sides; the left one is the exact mirror image of the stored right one."""
    right = read_open_hand()
    return build_hand_model(
        mirrored(right), right, read_landmark_offsets(), OPEN_HAND_NAME, OPEN_HAND_LICENCE
    )


def read_open_hand() -> HandArrays:
    """The stored right hand, float64."""
    with np.load(OPEN_HAND_FILE, allow_pickle=False) as stored:
        regressor = np.zeros((16, len(stored["v_template"])))
        regressor[stored["J_rows"], stored["J_columns"]] = stored["J_values"]
        arrays = HandArrays(
            template_m=stored["v_template"].astype(np.float64),
            faces=stored["f"].astype(np.int64),
            shape_dirs=stored["shapedirs"].astype(np.float64),
            pose_dirs=stored["posedirs"].astype(np.float64),
            joint_regressor=regressor / regressor.sum(1, keepdims=True),
            skin_weights=stored["weights"] / stored["weights"].sum(1, keepdims=True, dtype=np.float64),
            parents=PARENTS_16,
            hands_mean=stored["hands_mean"].astype(np.float64),
            hands_components=stored["hands_components"].astype(np.float64),
            tip_vertices=stored["tips"].astype(np.int64),
            uvs=stored["uv"][stored["f_uv"]].astype(np.float64),
        )
    return checked(arrays, OPEN_HAND_FILE.name)


def read_landmark_offsets() -> NDArray[np.float64]:
    """(21, 3) from joint to MediaPipe landmark: sideways, dorsal, distal, fractions of the hand's size."""
    with np.load(OPEN_HAND_FILE, allow_pickle=False) as stored:
        return stored["landmark_offsets"].astype(np.float64)
