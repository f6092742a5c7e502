# SPDX-License-Identifier: GPL-3.0-or-later
"""The take: the result of a shot, stored as one versioned .npz without pickle (docs/take_format.md).

Standard library and numpy only: Blender's side shares this file.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import TakeError
from inference_core.shared.json_record import json_object
from inference_core.shared.npz import NpzError, NpzFile, open_npz, write_npz
from inference_core.shared.take_format import (
    ARRAYS,
    EVIDENCE_OF_NETWORK,
    EVIDENCE_OF_TRACKS,
    LENS_BY_HANDS,
    TAKE_FORMAT,
    TAKE_VERSION,
    check_meta,
    check_shapes,
)
from inference_core.shared.take_values import typed_arrays
from inference_core.shared.whole_file import whole_file

_FORMAT_KEY, _VERSION_KEY, _META_KEY = "format", "version", "meta"
_LARGEST_META = 4 << 20  # bytes, at four per character
# Bytes of all arrays together: an hour at 30 frames a second. Longer takes need DUOHAND_LARGEST_TAKE_MB.
_LARGEST_TAKE_MB = 420
_LARGEST_SETTING = "DUOHAND_LARGEST_TAKE_MB"


@dataclass(frozen=True)
class Take:
    """A solved shot: T frames of two hands (axis of 2: left, right), the camera, and the hands at rest.

    time_s (T,): seconds from the footage's start. frame (T,): frame numbers in the footage. Both increase.
    fps: the footage's nominal rate. size_px (2,): width, height. K (3, 3) or (T, 3, 3): pixels.
    T_world_cam (T, 4, 4): takes points from camera axes (x right, y down, z forward) to the world.
    present (T, 2): 0 absent, 1 seen, 2 filled. confidence (T, 2): 0..1, 0 where absent.
    root_wxyz (T, 2, 4): wrist rotation in camera axes. pose_wxyz (T, 2, 15, 4): finger rotations relative to
    the rest pose, MANO's order (joints 1..15 of `skeleton.JOINTS_16`). wrist_cam_m (T, 2, 3): the joint.
    joints_cam_m (T, 2, 21, 3): order of `skeleton.JOINTS_21`. The raw_ ones are these before the solve.
    landmarks_px (T, 2, 21, 3): x, y, score; score 0 where not seen. Absent hands hold NaN in all of these.
    betas (2, 10), and the shaped hands at rest: rest_vertices_m (2, V, 3), rest_joints_m (2, 16, 3),
    faces (2, F, 3), skin_weights (2, V, 16), parents (16,), tip_vertices (2, 5) thumb to pinky,
    pose_dirs (2, V, 3, 135) pose correctives or None, joint_axes (2, 15, 3, 3) columns flexion, spread, twist
    in the rest frame or None, uvs (2, F, 3, 2) per face corner or None.
    pose_confidence, distance_confidence (T, 2), contact (T,): calibrated probabilities, or None (docs/take_format.md).
    arms_cam_m (T, 2, 2, 3): shoulder and elbow, NaN where unknown; arms_score (T, 2, 2): 0..1, 0 there. Or both None.
    evidence_...: the solve's evidence, or None (docs/take_format.md), for solving a range again.
    meta: JSON values (footage, hand model and its licence, network, settings, versions).
    """

    time_s: NDArray[np.float64]
    frame: NDArray[np.int64]
    fps: float
    size_px: NDArray[np.int64]
    K: NDArray[np.float64]
    T_world_cam: NDArray[np.float64]
    present: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    root_wxyz: NDArray[np.float32]
    pose_wxyz: NDArray[np.float32]
    wrist_cam_m: NDArray[np.float32]
    joints_cam_m: NDArray[np.float32]
    raw_root_wxyz: NDArray[np.float32]
    raw_pose_wxyz: NDArray[np.float32]
    raw_wrist_cam_m: NDArray[np.float32]
    raw_joints_cam_m: NDArray[np.float32]
    landmarks_px: NDArray[np.float32]
    betas: NDArray[np.float32]
    rest_vertices_m: NDArray[np.float32]
    rest_joints_m: NDArray[np.float32]
    faces: NDArray[np.int32]
    skin_weights: NDArray[np.float32]
    parents: NDArray[np.int32]
    tip_vertices: NDArray[np.int32]
    meta: Mapping[str, Any]
    pose_dirs: NDArray[np.float32] | None = None
    joint_axes: NDArray[np.float32] | None = None
    uvs: NDArray[np.float32] | None = None
    pose_confidence: NDArray[np.float32] | None = None
    distance_confidence: NDArray[np.float32] | None = None
    contact: NDArray[np.float32] | None = None
    arms_cam_m: NDArray[np.float32] | None = None
    arms_score: NDArray[np.float32] | None = None
    evidence_present: NDArray[np.uint8] | None = None
    evidence_world_m: NDArray[np.float16] | None = None
    evidence_world_scale: NDArray[np.float64] | None = None
    evidence_rotations_wxyz: NDArray[np.float16] | None = None
    evidence_joints_rel_m: NDArray[np.float16] | None = None
    evidence_wrist_cam_m: NDArray[np.float32] | None = None
    evidence_offset_m: NDArray[np.float32] | None = None
    evidence_confidence: NDArray[np.float32] | None = None
    evidence_presence: NDArray[np.float32] | None = None

    @property
    def evidence_bytes(self) -> int:
        """Size of the evidence for solving a range again."""
        names = (*EVIDENCE_OF_TRACKS, *EVIDENCE_OF_NETWORK)
        return sum(value.nbytes for value in (getattr(self, name) for name in names) if value is not None)

    @property
    def lens_by_hands_deg(self) -> tuple[float, float, float] | None:
        """The field of view by the hands themselves and its limits, if the lens was not known and they tell it."""
        found = (self.meta.get("camera") or {}).get("by_hands")
        if not found:
            return None
        fov_deg, low_deg, high_deg = (float(found[name]) for name in LENS_BY_HANDS)
        return fov_deg, low_deg, high_deg

    @property
    def cuts(self) -> NDArray[np.int64]:
        """(C,) the rows before which the footage is cut."""
        return 1 + np.flatnonzero(np.isin(self.frame[1:], self.meta.get("cuts") or []))

    @property
    def piece(self) -> NDArray[np.int64]:
        """(T,) the number of the piece of footage that each row is in."""
        return np.searchsorted(self.cuts, np.arange(self.frame_count), side="right")

    def pieces_around(self, first: int, last: int) -> tuple[int, int]:
        """First row of the piece of footage that row `first` is in, and end of that of row `last`."""
        ends = np.array([0, *self.cuts, self.frame_count])
        begin, end = ends.searchsorted([first, last], side="right")
        return int(ends[begin - 1]), int(ends[end])

    @property
    def frame_count(self) -> int:
        """Number of frames, T."""
        return len(self.time_s)


def part_of_take(take: Take, start: int, stop: int) -> Take:
    """Rows from start up to stop of the take."""
    return replace(take, **{name: values[start:stop] for name, values in timed_arrays(take).items()})


def timed_arrays(take: Take) -> dict[str, NDArray[Any]]:
    """The take's arrays with a row for each frame (T, ...)."""
    there = {name: getattr(take, name) for name in ARRAYS if getattr(take, name) is not None}
    return {
        name: values
        for name, values in there.items()
        if ARRAYS[name].shape[:1] == ("T",) or (name == "K" and values.ndim == 3)
    }


def save_take(take: Take, path: Path | str) -> None:
    """Write the take to `path`. If that fails, a TakeError is raised and nothing is written.

    The take is checked, written to a temporary file beside `path`, flushed to disk and then renamed.
    """
    path = Path(path)
    arrays = _arrays_of(take)
    check_take(take, str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary, temporary.open("wb") as file:
            write_npz(file, arrays)
    except OSError as error:
        raise TakeError(_unwritable(path, error)) from error


def load_take(path: Path | str) -> Take:
    """The take at `path`, checked. A TakeError names the problem and the array."""
    path = Path(path)
    if not path.exists():
        raise TakeError(f"There is no take at {path}. Check the path.")
    if path.is_dir():
        raise TakeError(f"{path} is a folder, not a take. Choose the .npz file in it.")
    try:
        with open_npz(path) as file:
            _check_version(file, path)
            _check_size(file, path)
            meta = _read_meta(file, path)
            check_shapes({name: header for name, header in file.headers.items() if name in ARRAYS}, str(path))
            values = {name: file.read(name) if name in file.headers else None for name in ARRAYS}
    except NpzError as error:
        raise TakeError(f"{path} is not a complete take: {error}. Make or copy it again.") from error
    return Take(**typed_arrays(values, str(path)), meta=meta)


def check_take(take: Take, where: str = "the take") -> None:
    """Raise a TakeError that names the array unless shapes, values and rotations are valid."""
    values = {name: _as_array(name, getattr(take, name), where) for name in ARRAYS}
    check_shapes({name: value for name, value in values.items() if value is not None}, where)
    typed_arrays(values, where)
    try:
        json.dumps(take.meta, allow_nan=False)
        check_meta(take.meta)
    except (TypeError, ValueError) as error:
        raise TakeError(f"{where}: meta holds what a take's cannot: {error}.") from error


def _arrays_of(take: Take) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {
        _FORMAT_KEY: np.array(TAKE_FORMAT),
        _VERSION_KEY: np.array(TAKE_VERSION, np.int64),
    }
    for field in fields(take):
        value = getattr(take, field.name)
        if field.name == _META_KEY:
            arrays[_META_KEY] = np.array(_meta_text(value))
        elif value is not None:
            arrays[field.name] = np.asarray(value).astype(ARRAYS[field.name].dtype)
    return arrays


def _meta_text(meta: Mapping[str, Any]) -> str:
    try:
        return json.dumps(meta, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise TakeError(f"The take's meta holds what JSON cannot: {error}.") from error


def _check_version(file: NpzFile, path: Path) -> None:
    if _FORMAT_KEY not in file.headers or _VERSION_KEY not in file.headers:
        raise TakeError(f"{path} is an archive but not a take: it holds no {_FORMAT_KEY} and {_VERSION_KEY}.")
    name, version = _text(file, _FORMAT_KEY, path), file.headers[_VERSION_KEY]
    if name != TAKE_FORMAT or version.shape != () or version.dtype.kind not in "iu":
        raise TakeError(f"{path} is not a take: its format reads {name[:40]!r}, not {TAKE_FORMAT!r}.")
    number = int(file.read(_VERSION_KEY))
    if number > TAKE_VERSION:
        raise TakeError(
            f"{path} is a take of version {number}; this Duohand reads up to version {TAKE_VERSION}. "
            "Update Duohand, or make the take again with this one."
        )
    if number < 1:
        raise TakeError(f"{path}: there is no take version {number}; the file is damaged.")


def _check_size(file: NpzFile, path: Path) -> None:
    most_mb = os.environ.get(_LARGEST_SETTING, "")
    largest_mb = int(most_mb) if most_mb.isascii() and most_mb.isdecimal() else _LARGEST_TAKE_MB
    size_mb = sum(header.nbytes for name, header in file.headers.items() if name in ARRAYS) / 1e6
    if size_mb > largest_mb:
        raise TakeError(
            f"{path} would take {size_mb:.0f} MB of memory, over the limit of {largest_mb} MB. If you trust it, set "
            f"{_LARGEST_SETTING} to more in the environment."
        )


def _read_meta(file: NpzFile, path: Path) -> Mapping[str, Any]:
    try:
        meta = json_object(_text(file, _META_KEY, path))
        check_meta(meta)
    except ValueError as error:
        raise TakeError(f"{path}: meta is damaged: {error}.") from error
    return meta


def _text(file: NpzFile, name: str, path: Path) -> str:
    header = file.headers.get(name)
    if header is None or header.shape != () or header.dtype.kind != "U" or header.nbytes > _LARGEST_META:
        raise TakeError(f"{path}: {name} is not one string.")
    try:
        return str(file.read(name))
    except ValueError as error:
        raise TakeError(f"{path}: {name} holds something that is not text.") from error


def _as_array(name: str, value: Any, where: str) -> NDArray[Any] | None:
    if value is None and ARRAYS[name].optional:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TakeError(f"{where}: {name} holds {array.dtype}, not numbers.")
    return array


def _unwritable(path: Path, error: OSError) -> str:
    return (
        f"The take could not be written to {path}: {error.strerror or error}. "
        "Nothing was left behind; choose a folder that you may write to and that has room."
    )
