# SPDX-License-Identifier: GPL-3.0-or-later
"""What the take's format demands: the arrays, their shapes and kinds, and the checks of their values.

Standard library and numpy only: Blender's side shares this file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import TakeError
from inference_core.shared.presence import ABSENT, FILLED, SEEN
from inference_core.shared.skeleton import PARENTS_16

TAKE_FORMAT = "duohand-take"
TAKE_VERSION = 1

# A quaternion this far from length 1 is damage, not rounding.
UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ArraySpec:
    """What the format says of one array. Letters in `shape` are sizes that must agree through the file."""

    shape: tuple[int | str, ...]
    dtype: str
    optional: bool = False
    alternative_shape: tuple[int | str, ...] | None = None


# T frames, V vertices, F faces; the axis of 2 is always left, right.
ARRAYS: Mapping[str, ArraySpec] = {
    "time_s": ArraySpec(("T",), "f8"),
    "frame": ArraySpec(("T",), "i8"),
    "fps": ArraySpec((), "f8"),
    "size_px": ArraySpec((2,), "i8"),
    "K": ArraySpec((3, 3), "f8", alternative_shape=("T", 3, 3)),
    "T_world_cam": ArraySpec(("T", 4, 4), "f8"),
    "present": ArraySpec(("T", 2), "u1"),
    "confidence": ArraySpec(("T", 2), "f4"),
    "root_wxyz": ArraySpec(("T", 2, 4), "f4"),
    "pose_wxyz": ArraySpec(("T", 2, 15, 4), "f4"),
    "wrist_cam_m": ArraySpec(("T", 2, 3), "f4"),
    "joints_cam_m": ArraySpec(("T", 2, 21, 3), "f4"),
    "raw_root_wxyz": ArraySpec(("T", 2, 4), "f4"),
    "raw_pose_wxyz": ArraySpec(("T", 2, 15, 4), "f4"),
    "raw_wrist_cam_m": ArraySpec(("T", 2, 3), "f4"),
    "raw_joints_cam_m": ArraySpec(("T", 2, 21, 3), "f4"),
    "landmarks_px": ArraySpec(("T", 2, 21, 3), "f4"),
    "betas": ArraySpec((2, 10), "f4"),
    "rest_vertices_m": ArraySpec((2, "V", 3), "f4"),
    "rest_joints_m": ArraySpec((2, 16, 3), "f4"),
    "faces": ArraySpec((2, "F", 3), "i4"),
    "skin_weights": ArraySpec((2, "V", 16), "f4"),
    "parents": ArraySpec((16,), "i4"),
    "tip_vertices": ArraySpec((2, 5), "i4"),
    "pose_dirs": ArraySpec((2, "V", 3, 135), "f4", optional=True),
    "joint_axes": ArraySpec((2, 15, 3, 3), "f4", optional=True),
    "uvs": ArraySpec((2, "F", 3, 2), "f4", optional=True),
}

_QUATERNIONS = ("root_wxyz", "pose_wxyz", "raw_root_wxyz", "raw_pose_wxyz")
_SOLVED = ("root_wxyz", "pose_wxyz", "wrist_cam_m", "joints_cam_m")
_NAN_WHERE_ABSENT = (*_SOLVED, *(f"raw_{name}" for name in _SOLVED))
_MAY_HOLD_NAN = (*_NAN_WHERE_ABSENT, "landmarks_px")


def check_arrays(values: Mapping[str, NDArray[Any] | None], where: str) -> None:
    """Raise a TakeError that names the array unless all is sound. Optional arrays may be None."""
    present_arrays = {name: value for name, value in values.items() if value is not None}
    _check_shapes(present_arrays, where)
    for name, value in present_arrays.items():
        if name not in _MAY_HOLD_NAN and not np.isfinite(value).all():
            raise TakeError(f"{where}: {name} holds values that are not finite{_first(~np.isfinite(value))}.")
    _check_timing(present_arrays, where)
    _check_camera(present_arrays, where)
    _check_hands(present_arrays, where)
    _check_mesh(present_arrays, where)


def _check_shapes(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    sizes: dict[str, int] = {}
    for name, value in arrays.items():
        spec = ARRAYS[name]
        if value.dtype.kind not in ("iu" if spec.dtype[0] in "iu" else "fiu"):
            raise TakeError(f"{where}: {name} holds {value.dtype}, where {np.dtype(spec.dtype)} is wanted.")
        shapes = [shape for shape in (spec.shape, spec.alternative_shape) if shape is not None]
        if not any(_fits(value.shape, shape, sizes) for shape in shapes):
            wanted = " or ".join(_shape_text(shape, sizes) for shape in shapes)
            raise TakeError(f"{where}: {name} has the shape {value.shape}, where {wanted} is wanted.")
    if sizes["T"] == 0:
        raise TakeError(f"{where}: time_s is empty; a take has at least one frame.")


def _fits(shape: tuple[int, ...], wanted: tuple[int | str, ...], sizes: dict[str, int]) -> bool:
    if len(shape) != len(wanted):
        return False
    found = {want: have for have, want in zip(shape, wanted, strict=True) if isinstance(want, str)}
    agreed = {**found, **sizes}
    if any(
        have != (agreed[want] if isinstance(want, str) else want)
        for have, want in zip(shape, wanted, strict=True)
    ):
        return False
    sizes.update(found)
    return True


def _shape_text(shape: tuple[int | str, ...], sizes: Mapping[str, int]) -> str:
    parts = [
        f"{size}={sizes[size]}" if isinstance(size, str) and size in sizes else str(size) for size in shape
    ]
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _check_timing(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    for name in ("time_s", "frame"):
        steps = np.diff(arrays[name])
        if (steps <= 0).any():
            raise TakeError(
                f"{where}: {name} does not increase from row {int(np.argmax(steps <= 0))} to the next."
            )
    if float(arrays["fps"]) <= 0:
        raise TakeError(f"{where}: fps is {float(arrays['fps'])}; it must be above 0.")
    if (arrays["size_px"] < 1).any():
        raise TakeError(
            f"{where}: size_px is {arrays['size_px'].tolist()}; width and height must be 1 or more."
        )


def _check_camera(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    K, pose = arrays["K"], arrays["T_world_cam"]
    if (K[..., 0, 0] <= 0).any() or (K[..., 1, 1] <= 0).any() or not np.allclose(K[..., 2, :], [0, 0, 1]):
        raise TakeError(f"{where}: K is not a pinhole camera (focal lengths above 0, last row 0 0 1).")
    R = pose[:, :3, :3]
    rigid = (
        np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max() < UNIT_TOLERANCE and (np.linalg.det(R) > 0).all()
    )
    if not rigid or not np.allclose(pose[:, 3], [0, 0, 0, 1]):
        raise TakeError(f"{where}: T_world_cam holds a matrix that is not a rotation and a position.")


def _check_hands(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    present = arrays["present"]
    if not np.isin(present, (ABSENT, SEEN, FILLED)).all():
        raise TakeError(f"{where}: present holds other values than 0 (absent), 1 (seen), 2 (filled).")
    confidence = arrays["confidence"]
    if (confidence < 0).any() or (confidence > 1).any():
        raise TakeError(f"{where}: confidence leaves 0..1{_first((confidence < 0) | (confidence > 1))}.")
    for name in _MAY_HOLD_NAN:
        value = arrays[name]
        if np.isinf(value).any():
            raise TakeError(f"{where}: {name} holds infinite values{_first(np.isinf(value))}.")
    for name in _NAN_WHERE_ABSENT:
        known = ~np.isnan(arrays[name]).reshape(*present.shape, -1)
        if (known.any(-1) & (present == ABSENT)).any():
            raise TakeError(f"{where}: {name} holds values for an absent hand, where NaN is wanted.")
        if (known.any(-1) & ~known.all(-1)).any():
            raise TakeError(
                f"{where}: {name} holds NaN for part of a hand{_first(known.any(-1) & ~known.all(-1))}."
            )
        if name in _SOLVED and (~known.all(-1) & (present != ABSENT)).any():
            missing = ~known.all(-1) & (present != ABSENT)
            raise TakeError(f"{where}: {name} holds NaN for a hand that is present{_first(missing)}.")
    for name in _QUATERNIONS:
        length = np.linalg.norm(arrays[name].astype(np.float64), axis=-1)
        off = np.abs(length - 1) > UNIT_TOLERANCE
        if off.any():
            raise TakeError(f"{where}: {name} holds a quaternion that is not of unit length{_first(off)}.")


def _check_mesh(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    if not np.array_equal(arrays["parents"], PARENTS_16):
        raise TakeError(f"{where}: parents is not the tree of MANO's 16 joints.")
    vertex_count = arrays["rest_vertices_m"].shape[1]
    for name in ("faces", "tip_vertices"):
        if (arrays[name] < 0).any() or (arrays[name] >= vertex_count).any():
            raise TakeError(f"{where}: {name} names vertices beyond the {vertex_count} there are.")
    sums = arrays["skin_weights"].sum(-1)
    if (arrays["skin_weights"] < -1e-6).any() or (np.abs(sums - 1) > 1e-2).any():
        raise TakeError(f"{where}: skin_weights are below 0 or do not add up to 1.")


def _first(mask: NDArray[np.bool_]) -> str:
    """Where the mask first holds, in words."""
    if mask.ndim == 0 or not mask.any():
        return ""
    index = tuple(int(i) for i in np.argwhere(mask)[0])
    return f", first at {list(index)}"
