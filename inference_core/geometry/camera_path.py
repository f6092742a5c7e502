# SPDX-License-Identifier: GPL-3.0-or-later
"""The poses of a moving camera in every frame, read from a file."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.geometry.camera import Camera
from inference_core.shared.errors import RequestError, TakeError, reason_of
from inference_core.shared.npz import NpzError, open_npz
from inference_core.shared.take_values import check_part

KEY = "T_world_cam"
_LARGEST_FILE = 1 << 28  # over a million poses as JSON


def with_camera_path(camera: Camera, path: Path, numbers: Sequence[int]) -> Camera:
    """The camera with the poses of a .json or .npz file, for frames of the given numbers.

    The file holds T_world_cam (F, 4, 4), metres, from camera axes (x right, y down, z forward) to the world: one pose
    for each of the frames, or one for each frame of the footage from number 0 on. A JSON file may hold the list itself.
    Raises RequestError if it cannot be read, holds what is no pose, or does not fit the frames.
    """
    poses = _checked(_read(path), path)
    if len(poses) == len(numbers):
        return replace(camera, T_world_cam=poses)
    if len(poses) > max(numbers):
        return replace(camera, T_world_cam=poses[np.asarray(numbers)])
    raise RequestError(
        f"{path} holds {len(poses)} camera poses, the footage {len(numbers)} frames up to number {max(numbers)}; "
        "give one pose a frame."
    )


def _read(path: Path) -> Any:
    try:
        if path.suffix.lower() == ".npz":
            with open_npz(path) as archive:
                _check_size(archive.headers[KEY].nbytes)
                return archive.read(KEY)
        if path.exists() and not path.is_file():
            raise ValueError("it is not a file")
        _check_size(path.stat().st_size)
        values = json.loads(path.read_text(encoding="utf-8-sig"))
        return values[KEY] if isinstance(values, dict) else values
    except KeyError as error:
        raise RequestError(f"{path} holds no {KEY}; write the poses under that name.") from error
    except (OSError, ValueError, RecursionError, NpzError) as error:
        raise RequestError(
            f"The camera path {path} cannot be read: {reason_of(error)}. "
            f"Give a .json or .npz file with {KEY} (frames, 4, 4)."
        ) from error


def _check_size(count: int) -> None:
    if count > _LARGEST_FILE:
        raise ValueError(f"it holds more than {_LARGEST_FILE >> 20} MB")


def _checked(values: Any, path: Path) -> NDArray[np.float64]:
    try:
        given = np.asarray(values)
        if given.dtype.kind not in "iuf":
            raise ValueError("not numbers")
        poses = given.astype(np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise RequestError(f"{path}: {KEY} holds other values than numbers.") from error
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or not len(poses):
        raise RequestError(f"{path}: {KEY} has the shape {poses.shape}, where (frames, 4, 4) is required.")
    try:
        check_part({KEY: poses}, str(path))
    except TakeError as error:
        raise RequestError(str(error)) from error
    return poses
