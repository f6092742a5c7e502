# SPDX-License-Identifier: GPL-3.0-or-later
"""A take's hands as MANO's parameters in an .npz file, to write and to read (docs/exchange.md)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.exchange.engine_hands import MANO_WRIST_M, EngineHands, Floats, empty_hands
from inference_core.exchange.result_file import as_array
from inference_core.geometry.mirror import mirror
from inference_core.hand_model.arrays import MANO_NAME, OPEN_HAND_NAME, HandArrays
from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError
from inference_core.shared.npz import write_npz
from inference_core.shared.presence import ABSENT, FILLED
from inference_core.shared.skeleton import SIDES
from inference_core.shared.take import Take
from inference_core.shared.whole_file import whole_file

MANO_FILE_KEY = "duohand_mano"
_VERSION = 1
_MOST = 1 << 53  # the largest number up to which doubles hold every whole one
_WANTED = (
    "global_orient",
    "hand_pose",
    "present",
    "frame",
    "time_s",
    "fps",
    "size_px",
    "K",
    "T_world_cam",
    "joints_cam_m",
)


def mano_arrays(take: Take) -> dict[str, NDArray[Any]]:
    """MANO's parameters of the take, as rotation vectors; absent hands are at rest at the origin (docs/exchange.md)."""
    is_mano = _model_name(take) == MANO_NAME
    resting = take.rest_joints_m[:, 0] if is_mano else np.stack([mirror(MANO_WRIST_M, "point"), MANO_WRIST_M])
    there = take.present != ABSENT
    zeros = np.zeros((2, 10), np.float32)
    return {
        MANO_FILE_KEY: np.array(_VERSION),
        "hand_model": np.array(_model_name(take)),
        "global_orient": _vectors(take.root_wxyz, there),
        "hand_pose": _vectors(take.pose_wxyz, there).reshape(take.frame_count, 2, 45),
        "transl": _where(there, take.wrist_cam_m - resting),
        "betas": take.betas if is_mano else zeros,
        "open_hand_betas": zeros if is_mano else take.betas,
        "present": there,
        "filled": take.present == FILLED,
        "confidence": take.confidence,
        "frame": take.frame,
        "time_s": take.time_s,
        "fps": np.array(take.fps),
        "size_px": take.size_px,
        "K": take.K,
        "T_world_cam": take.T_world_cam,
        "joints_cam_m": take.joints_cam_m,
    }


def smplx_arrays(take: Take, mano: tuple[HandArrays, HandArrays] | None) -> dict[str, NDArray[Any]]:
    """left_hand_pose and right_hand_pose (T, 45) as SMPL-X takes them with flat_hand_mean=True; with MANO's files also
    less the mean, as it takes them otherwise. The wrists' rotation vectors are in camera axes.
    """
    there = take.present != ABSENT
    arrays: dict[str, NDArray[Any]] = {"frame": take.frame, "time_s": take.time_s, "fps": np.array(take.fps)}
    fingers = _vectors(take.pose_wxyz, there).reshape(take.frame_count, 2, 45)
    wrists = _vectors(take.root_wxyz, there)
    for side, name in enumerate(SIDES):
        arrays[f"{name}_hand_pose"] = fingers[:, side]
        arrays[f"{name}_hand_present"] = there[:, side]
        arrays[f"{name}_wrist_cam"] = wrists[:, side]
        if mano is not None:
            mean = mano[side].hands_mean.astype(np.float32)
            arrays[f"{name}_hand_pose_less_mean"] = fingers[:, side] - mean
    return arrays


def write_arrays(arrays: Mapping[str, NDArray[Any]], out: Path) -> None:
    """Write the arrays to an .npz, completely or not at all. RequestError if it cannot be written."""
    try:
        with whole_file(out) as temporary, temporary.open("wb") as file:
            write_npz(file, arrays)
    except OSError as error:
        raise RequestError(
            f"{out} cannot be written: {error.strerror or error}. Choose another place."
        ) from error


def mano_file_hands(content: Mapping[str, Any]) -> EngineHands:
    """The hands in a file made by mano_arrays, which other programs may have changed."""
    missing = [name for name in _WANTED if name not in content]
    if missing:
        raise RequestError(f"The MANO file holds no {missing[0]}. Export the take again.")
    if int(content[MANO_FILE_KEY]) > _VERSION:
        raise RequestError("The MANO file was written by a newer Duohand. Update this one.")
    held = {name: np.asarray(content[name]) for name in _WANTED}
    name = str(content.get("hand_model", MANO_NAME))
    count = len(held["frame"])
    hands = empty_hands("a MANO file", _whole(held["frame"]))
    present = as_array(held["present"]).astype(bool)
    joints = held["joints_cam_m"].astype(np.float64)
    known = present & np.isfinite(joints).all((-1, -2))
    betas = as_array(content["open_hand_betas" if name == OPEN_HAND_NAME else "betas"]).reshape(2, 10)
    fingers = as_array(held["hand_pose"]).reshape(count, 2, 15, 3)
    turns = np.concatenate([as_array(held["global_orient"])[:, :, None], fingers], 2)
    matrices = quaternions.to_matrix(quaternions.exp(turns))
    width, height = _whole(held["size_px"]).tolist()
    return EngineHands(
        engine=hands.engine,
        frame=hands.frame,
        present=present,
        filled=present & np.asarray(content.get("filled", np.zeros((count, 2)))).astype(bool),
        root=matrices[:, :, 0],
        fingers=matrices[:, :, 1:],
        transl_m=as_array(content.get("transl", np.zeros((count, 2, 3)))),
        betas=np.broadcast_to(betas, (count, 2, 10)),
        joints_m=np.where(known[..., None, None], joints, np.nan),
        confidence=as_array(content.get("confidence", present)),
        K=as_array(held["K"]),
        size_px=(width, height),
        T_world_cam=as_array(held["T_world_cam"]),
        model=name,
        time_s=as_array(held["time_s"]),
        fps=float(held["fps"]),
    )


def _whole(values: NDArray[Any]) -> NDArray[np.int64]:
    """The values as whole numbers; ValueError for others."""
    is_number = values.dtype.kind in "iuf"
    if not is_number or (values.dtype.kind == "f" and not (np.abs(values) < _MOST).all()):
        raise ValueError("it holds numbers of frames or pixels that are impossible")
    return values.astype(np.int64)


def _model_name(take: Take) -> str:
    return str((take.meta.get("hand_model") or {}).get("name", OPEN_HAND_NAME))


def _vectors(wxyz: NDArray[np.float32], there: NDArray[np.bool_]) -> Floats:
    return _where(there, quaternions.log(wxyz.astype(np.float64)))


def _where(there: NDArray[np.bool_], values: NDArray[Any]) -> Floats:
    """The values, with zeros for absent hands."""
    return np.where(there.reshape(*there.shape, *[1] * (values.ndim - 2)), values, 0)
