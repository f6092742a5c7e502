# SPDX-License-Identifier: GPL-3.0-or-later
"""The take's format: the arrays, their shapes and types, and the checks of their values.

Standard library and numpy only: Blender's side shares this file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import TakeError
from inference_core.shared.presence import ABSENT
from inference_core.shared.skeleton import PARENTS_16

TAKE_FORMAT = "duohand-take"
TAKE_VERSION = 1

# A quaternion further from length 1 is damage, not rounding.
UNIT_TOLERANCE = 1e-3
_HALF_UNIT_TOLERANCE = 5e-3  # for those stored as half floats


@dataclass(frozen=True)
class ArraySpec:
    """The format of one array: letters in `shape` are sizes that must agree throughout the file; `low` and
    `high` bound its values.
    """

    shape: tuple[int | str, ...]
    dtype: str
    low: float
    high: float
    optional: bool = False
    alternative_shape: tuple[int | str, ...] | None = None


_LAST_FRAME = (1 << 63) - 1
_LAST_VERTEX = 1 << 24

# T frames, V vertices, F faces; the axis of 2 is always left, right.
ARRAYS: Mapping[str, ArraySpec] = {
    "time_s": ArraySpec(("T",), "f8", -1e7, 1e7),
    "frame": ArraySpec(("T",), "i8", 0, _LAST_FRAME),
    "fps": ArraySpec((), "f8", 1e-3, 1e6),
    "size_px": ArraySpec((2,), "i8", 1, 1e6),
    "K": ArraySpec((3, 3), "f8", -1e7, 1e7, alternative_shape=("T", 3, 3)),
    "T_world_cam": ArraySpec(("T", 4, 4), "f8", -1e6, 1e6),
    "present": ArraySpec(("T", 2), "u1", 0, 2),
    "confidence": ArraySpec(("T", 2), "f4", 0, 1),
    "root_wxyz": ArraySpec(("T", 2, 4), "f4", -1.01, 1.01),
    "pose_wxyz": ArraySpec(("T", 2, 15, 4), "f4", -1.01, 1.01),
    "wrist_cam_m": ArraySpec(("T", 2, 3), "f4", -1e6, 1e6),
    "joints_cam_m": ArraySpec(("T", 2, 21, 3), "f4", -1e6, 1e6),
    "raw_root_wxyz": ArraySpec(("T", 2, 4), "f4", -1.01, 1.01),
    "raw_pose_wxyz": ArraySpec(("T", 2, 15, 4), "f4", -1.01, 1.01),
    "raw_wrist_cam_m": ArraySpec(("T", 2, 3), "f4", -1e6, 1e6),
    "raw_joints_cam_m": ArraySpec(("T", 2, 21, 3), "f4", -1e6, 1e6),
    "landmarks_px": ArraySpec(("T", 2, 21, 3), "f4", -1e7, 1e7),
    "betas": ArraySpec((2, 10), "f4", -1e3, 1e3),
    "rest_vertices_m": ArraySpec((2, "V", 3), "f4", -100, 100),
    "rest_joints_m": ArraySpec((2, 16, 3), "f4", -100, 100),
    "faces": ArraySpec((2, "F", 3), "i4", 0, _LAST_VERTEX),
    "skin_weights": ArraySpec((2, "V", 16), "f4", -1e-6, 1.01),
    "parents": ArraySpec((16,), "i4", -1, 15),
    "tip_vertices": ArraySpec((2, 5), "i4", 0, _LAST_VERTEX),
    "pose_dirs": ArraySpec((2, "V", 3, 135), "f4", -100, 100, optional=True),
    "joint_axes": ArraySpec((2, 15, 3, 3), "f4", -1.01, 1.01, optional=True),
    "uvs": ArraySpec((2, "F", 3, 2), "f4", -1e6, 1e6, optional=True),
    "pose_confidence": ArraySpec(("T", 2), "f4", 0, 1, optional=True),
    "distance_confidence": ArraySpec(("T", 2), "f4", 0, 1, optional=True),
    "contact": ArraySpec(("T",), "f4", 0, 1, optional=True),
    "arms_cam_m": ArraySpec(("T", 2, 2, 3), "f4", -1e6, 1e6, optional=True),
    "arms_score": ArraySpec(("T", 2, 2), "f4", 0, 1, optional=True),
    "evidence_present": ArraySpec(("T", 2), "u1", 0, 2, optional=True),
    "evidence_world_m": ArraySpec(("T", 2, 21, 3), "f2", -100, 100, optional=True),
    "evidence_world_scale": ArraySpec((2,), "f8", 1e-3, 1e3, optional=True),
    "evidence_rotations_wxyz": ArraySpec(("T", 2, 16, 4), "f2", -1.01, 1.01, optional=True),
    "evidence_joints_rel_m": ArraySpec(("T", 2, 21, 3), "f2", -100, 100, optional=True),
    "evidence_wrist_cam_m": ArraySpec(("T", 2, 3), "f4", -1e6, 1e6, optional=True),
    "evidence_offset_m": ArraySpec(("T", 3), "f4", -1e6, 1e6, optional=True),
    "evidence_confidence": ArraySpec(("T", 2), "f4", 0, 1, optional=True),
    "evidence_presence": ArraySpec(("T", 2), "f4", 0, 1, optional=True),
}

# The solve's evidence, for solving a range again: from the tracks, and from the two-hand network.
EVIDENCE_OF_TRACKS = ("evidence_present", "evidence_world_m", "evidence_world_scale")
EVIDENCE_OF_NETWORK = (
    "evidence_rotations_wxyz",
    "evidence_joints_rel_m",
    "evidence_wrist_cam_m",
    "evidence_offset_m",
    "evidence_confidence",
    "evidence_presence",
)

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

# Fields of meta that readers use; all are optional.
_META: Mapping[str, Any] = {
    "footage": dict,
    "camera": dict,
    "scale": dict,
    "hand_model": dict,
    "network": str,
    "settings": dict,
    "versions": dict,
    "warnings": list,
    "corrections": list,
}
LENS_BY_HANDS = ("fov_deg", "low_deg", "high_deg")
_META_TEXTS = (("footage", "path"), ("camera", "source"), ("hand_model", "name"), ("hand_model", "licence"))


class Shaped(Protocol):
    """Anything with a shape and a dtype: an array, or its header."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...


def check_shapes(arrays: Mapping[str, Shaped], where: str) -> None:
    """Raise a TakeError that names the array unless all required ones exist with the right type and shape.

    Only shapes and dtypes are used, so headers are sufficient.
    """
    missing = [name for name, spec in ARRAYS.items() if not (spec.optional or name in arrays)]
    if missing:
        raise TakeError(f"{where} is not a complete take: the array {missing[0]} is missing.")
    if _check_known_shapes(arrays, where)["T"] == 0:
        raise TakeError(f"{where}: time_s is empty; a take has at least one frame.")


def _check_known_shapes(arrays: Mapping[str, Shaped], where: str) -> Mapping[str, int]:
    """The sizes that the arrays agree on; those of the format alone are looked at."""
    sizes: dict[str, int] = {}
    for name, spec in ARRAYS.items():
        if name not in arrays:
            continue
        value = arrays[name]
        if value.dtype.kind not in ("iu" if spec.dtype[0] in "iu" else "fiu"):
            raise TakeError(f"{where}: {name} holds {value.dtype}, where {np.dtype(spec.dtype)} is required.")
        shapes = [shape for shape in (spec.shape, spec.alternative_shape) if shape is not None]
        if not any(_fits(value.shape, shape, sizes) for shape in shapes):
            wanted = " or ".join(_shape_text(shape, sizes) for shape in shapes)
            raise TakeError(f"{where}: {name} has the shape {value.shape}, where {wanted} is required.")
    return sizes


def check_part(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    """A TakeError that names the array unless a take may hold these of its arrays: frames, times, camera.

    For what is given before there is a take: it would otherwise be refused when all the work is done.
    """
    _check_known_shapes(arrays, where)
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


def check_meta(meta: Mapping[str, Any]) -> None:
    """ValueError if a field of `meta` that readers use has the wrong type."""
    for name, kinds in _META.items():
        if not isinstance(meta.get(name), kinds | None):
            raise ValueError(f"{name} has the wrong type")
    if not all(isinstance(text, str) for text in meta.get("warnings") or []):
        raise ValueError("warnings holds values that are not text")
    for section, name in _META_TEXTS:
        if not isinstance((meta.get(section) or {}).get(name), str | None):
            raise ValueError(f"{section}.{name} is not text")
    lens = (meta.get("camera") or {}).get("by_hands")
    if lens is not None and not (
        isinstance(lens, dict) and all(_is_angle(lens.get(name)) for name in LENS_BY_HANDS)
    ):
        raise ValueError("camera.by_hands is not a field of view with its limits")


def _is_angle(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value < 180


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
        np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max() < UNIT_TOLERANCE and (np.linalg.det(R) > 0).all()
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
        off = np.abs(length - 1) > UNIT_TOLERANCE
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
