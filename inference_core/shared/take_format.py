# SPDX-License-Identifier: GPL-3.0-or-later
"""The take's format: the arrays, their shapes and types, and the fields of `meta`.

Standard library and numpy only: Blender's side shares this file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from inference_core.shared.errors import TakeError

TAKE_FORMAT = "duohand-take"
TAKE_VERSION = 1


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
    "cuts": list,
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
    if check_known_shapes(arrays, where)["T"] == 0:
        raise TakeError(f"{where}: time_s is empty; a take has at least one frame.")


def check_known_shapes(arrays: Mapping[str, Shaped], where: str) -> Mapping[str, int]:
    """The sizes that those of the arrays that the format knows agree on; a TakeError names one of another shape."""
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


def check_meta(meta: Mapping[str, Any]) -> None:
    """ValueError if a field of `meta` that readers use has the wrong type."""
    for name, kinds in _META.items():
        if not isinstance(meta.get(name), kinds | None):
            raise ValueError(f"{name} has the wrong type")
    if not all(isinstance(text, str) for text in meta.get("warnings") or []):
        raise ValueError("warnings holds values that are not text")
    if not all(isinstance(number, int) for number in meta.get("cuts") or []):
        raise ValueError("cuts holds values that are not numbers of frames")
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
