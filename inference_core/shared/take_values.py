# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of a take's values, array by array and against each other.

Standard library and numpy only: Blender's side shares this file.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import TakeError
from inference_core.shared.presence import ABSENT
from inference_core.shared.skeleton import PARENTS_16
from inference_core.shared.take_format import (
    ARRAYS,
    EVIDENCE_OF_NETWORK,
    EVIDENCE_OF_TRACKS,
    check_known_shapes,
)

# A quaternion further from length 1 is damage, not rounding.
_UNIT_TOLERANCE = 1e-3
_HALF_UNIT_TOLERANCE = 5e-3  # for those stored as half floats

_QUATERNIONS = ("root_wxyz", "pose_wxyz", "raw_root_wxyz", "raw_pose_wxyz")
_SOLVED = ("root_wxyz", "pose_wxyz", "wrist_cam_m", "joints_cam_m")
_NAN_WHERE_ABSENT = (*_SOLVED, *(f"raw_{name}" for name in _SOLVED))
_MAY_HOLD_NAN = (
    *_NAN_WHERE_ABSENT,
    "landmarks_px",
    "arms_cam_m",
    "evidence_world_m",
    "evidence_rotations_wxyz",
    "evidence_joints_rel_m",
    "evidence_wrist_cam_m",
    "evidence_offset_m",
)


def check_part(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    """A TakeError that names the array unless a take may hold these of its arrays: frames, times, camera.

    For what is given before there is a take: it would otherwise be refused when all the work is done.
    """
    check_known_shapes(arrays, where)
    typed = {name: _typed(name, value, where) for name, value in arrays.items()}
    _check_timing(typed, where)
    _check_camera(typed, where)


def typed_arrays(values: Mapping[str, NDArray[Any] | None], where: str) -> dict[str, Any]:
    """The arrays in the format's types, fps as a number, after checking their values.

    values: of valid shapes (check_shapes); optional ones may be None. Raises a TakeError that names the array.
    """
    typed = {name: None if value is None else _typed(name, value, where) for name, value in values.items()}
    arrays = {name: value for name, value in typed.items() if value is not None}
    _check_timing(arrays, where)
    _check_camera(arrays, where)
    _check_hands(arrays, where)
    _check_arms(arrays, where)
    _check_evidence(arrays, where)
    _check_mesh(arrays, where)
    return {**typed, "fps": float(arrays["fps"])}


def _typed(name: str, value: NDArray[Any], where: str) -> NDArray[Any]:
    """The array in the format's type, its values checked against the format's bounds; NaN is outside."""
    spec = ARRAYS[name]
    if value.dtype.kind == "f" and name not in _MAY_HOLD_NAN and not np.isfinite(value).all():
        raise TakeError(f"{where}: {name} holds values that are not finite{_first(~np.isfinite(value))}.")
    beyond = (value < spec.low) | (value > spec.high)
    if beyond.any():
        raise TakeError(
            f"{where}: {name} holds values outside {spec.low:g} to {spec.high:g}{_first(beyond)}."
        )
    return value.astype(spec.dtype, copy=False)


def _check_timing(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    for name in {"time_s", "frame"} & arrays.keys():
        steps = np.diff(arrays[name])
        if (steps <= 0).any():
            raise TakeError(
                f"{where}: {name} does not increase from row {int(np.argmax(steps <= 0))} to the next."
            )


def _check_camera(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    K, pose = arrays.get("K", np.eye(3)), arrays.get("T_world_cam", np.eye(4)[None])
    if (K[..., 0, 0] <= 0).any() or (K[..., 1, 1] <= 0).any() or not np.allclose(K[..., 2, :], [0, 0, 1]):
        raise TakeError(f"{where}: K is not a pinhole camera (focal lengths above 0, last row 0 0 1).")
    R = pose[:, :3, :3]
    rigid = (
        np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max() < _UNIT_TOLERANCE and (np.linalg.det(R) > 0).all()
    )
    if not rigid or not np.allclose(pose[:, 3], [0, 0, 0, 1]):
        raise TakeError(
            f"{where}: T_world_cam holds a matrix that is not a rotation and a position, last row 0 0 0 1."
        )


def _check_hands(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    present = arrays["present"]
    score = arrays["landmarks_px"][..., 2]
    possible = ((score >= 0) & (score <= 1)) | (np.isnan(score) & (present == ABSENT)[..., None])
    if not possible.all():
        raise TakeError(f"{where}: landmarks_px holds scores outside 0..1{_first(~possible)}.")
    for name in _NAN_WHERE_ABSENT:
        known = ~np.isnan(arrays[name]).reshape(*present.shape, -1)
        if (known.any(-1) & (present == ABSENT)).any():
            raise TakeError(f"{where}: {name} holds values for an absent hand, where NaN is required.")
        if (known.any(-1) & ~known.all(-1)).any():
            raise TakeError(
                f"{where}: {name} holds NaN for part of a hand{_first(known.any(-1) & ~known.all(-1))}."
            )
        if name in _SOLVED and (~known.all(-1) & (present != ABSENT)).any():
            missing = ~known.all(-1) & (present != ABSENT)
            raise TakeError(f"{where}: {name} holds NaN for a hand that is present{_first(missing)}.")
    for name in _QUATERNIONS:
        length = np.linalg.norm(arrays[name].astype(np.float64), axis=-1)
        off = np.abs(length - 1) > _UNIT_TOLERANCE
        if off.any():
            raise TakeError(f"{where}: {name} holds a quaternion that is not of unit length{_first(off)}.")


def _check_arms(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    arms, score = arrays.get("arms_cam_m"), arrays.get("arms_score")
    if (arms is None) != (score is None):
        raise TakeError(f"{where}: arms_cam_m and arms_score belong together; one of them is missing.")
    if arms is None or score is None:
        return
    unknown = ~np.isfinite(arms).all(-1)
    if (unknown & (score > 0)).any():
        raise TakeError(
            f"{where}: arms_cam_m holds no place for a joint with a score{_first(unknown & (score > 0))}."
        )


def _check_evidence(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    for group in (EVIDENCE_OF_TRACKS, EVIDENCE_OF_NETWORK):
        there = [name for name in group if name in arrays]
        if there and len(there) < len(group):
            missing = next(name for name in group if name not in arrays)
            raise TakeError(f"{where}: {there[0]} and {missing} belong together; one of them is missing.")
    turns = arrays.get("evidence_rotations_wxyz")
    if turns is None:
        return
    if "evidence_present" not in arrays:
        raise TakeError(
            f"{where}: evidence_rotations_wxyz and evidence_present belong together; one is missing."
        )
    off = np.abs(np.linalg.norm(turns.astype(np.float64), axis=-1) - 1) > _HALF_UNIT_TOLERANCE
    if off.any():
        raise TakeError(
            f"{where}: evidence_rotations_wxyz holds a quaternion that is not of unit length{_first(off)}."
        )


def _check_mesh(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    if not np.array_equal(arrays["parents"], PARENTS_16):
        raise TakeError(f"{where}: parents is not the tree of MANO's 16 joints.")
    vertex_count = arrays["rest_vertices_m"].shape[1]
    for name in ("faces", "tip_vertices"):
        if (arrays[name] >= vertex_count).any():
            raise TakeError(f"{where}: {name} names vertices beyond the {vertex_count} there are.")
    sums = arrays["skin_weights"].sum(-1)
    if (np.abs(sums - 1) > 1e-2).any():
        raise TakeError(f"{where}: skin_weights do not add up to 1.")


def _first(mask: NDArray[np.bool_]) -> str:
    """A description of the first place where the mask is True."""
    if mask.ndim == 0 or not mask.any():
        return ""
    index = tuple(int(i) for i in np.argwhere(mask)[0])
    return f", first at {list(index)}"
