# SPDX-License-Identifier: GPL-3.0-or-later
"""A deterministic state dict with the release's keys, its toy hand, and the release's results for both."""

import json
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.hand_model.arrays import HandArrays
from inference_core.hand_model.hand import HandModel, build_hand_model
from inference_core.shared.skeleton import PARENTS_16, SIDES
from inference_core.two_hand.release import TIP_VERTICES

FOLDER = Path(__file__).parents[1] / "data" / "dir_release"
_CAMERA_ROWS = slice(61, 64)


def filled_state() -> dict[str, Tensor]:
    """The release's state dict, filled by the rule that the golden values are made with."""
    return dict(_filled_state())


def golden() -> dict[str, NDArray[np.float32]]:
    """What the release computes of `golden_input` with the filled state and the toy hand."""
    with np.load(FOLDER / "golden.npz") as stored:
        return dict(stored)


def golden_input() -> Tensor:
    """(2, 3, 256, 256)."""
    return torch.from_numpy(np.random.default_rng(101).standard_normal((2, 3, 256, 256)).astype(np.float32))


def toy_hand() -> HandModel:
    """The made-up hand model of the golden values, with the release's fingertips."""
    with np.load(FOLDER / "toy_hand.npz") as stored:
        left, right = (_arrays(stored, side, tips) for side, tips in zip(SIDES, TIP_VERTICES, strict=True))
    return build_hand_model(left, right, np.zeros((21, 3)), "MANO", "none: random numbers")


@cache
def _filled_state() -> dict[str, Tensor]:
    shapes: dict[str, list[int]] = json.loads((FOLDER / "state_dict.json").read_text())
    names = [name for name in shapes if not _left_out(name)]
    return {name: torch.from_numpy(_filled(name, shapes[name])) for name in names}


def _arrays(stored: "np.lib.npyio.NpzFile", side: str, tips: tuple[int, ...]) -> HandArrays:
    def array(name: str) -> NDArray[np.float64]:
        return stored[f"{side}/{name}"].astype(np.float64)

    return HandArrays(
        template_m=array("v_template"),
        faces=stored[f"{side}/f"].astype(np.int64),
        shape_dirs=array("shapedirs"),
        pose_dirs=array("posedirs"),
        joint_regressor=array("J_regressor"),
        skin_weights=array("weights"),
        parents=PARENTS_16,
        hands_mean=array("hands_mean"),
        hands_components=array("hands_components"),
        tip_vertices=np.array(tips),
        uvs=None,
    )


def _left_out(name: str) -> bool:
    return (
        "mano_layer" in name
        or name.endswith(("img_gird", "num_batches_tracked"))
        or name == "seg_loss.weight"
    )


def _filled(name: str, shape: list[int]) -> NDArray[np.float32]:
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        values = 1 + 0.1 * np.abs(values)
    elif name.endswith("running_mean"):
        values = 0.1 * values
    elif len(shape) >= 2:
        fan = shape[2] if len(shape) == 4 and ".W" in name else int(np.prod(shape[1:]))
        values = values * np.sqrt(1 / fan)
    else:
        values = 1 + 0.1 * values if name.endswith("weight") else 0.1 * values
    if name.endswith(("mano_left.weight", "mano_right.weight")):
        values[_CAMERA_ROWS] *= 0.05
    for side, shift in (("left", -0.15), ("right", 0.15)):
        if name.endswith(f"mano_{side}.bias"):
            values[_CAMERA_ROWS] = (5.0, shift, 0.05)
    return values.astype(np.float32)
