# SPDX-License-Identifier: GPL-3.0-or-later
"""The take's camera in Blender: lens, shift and pixel aspect from K, and its motion."""

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError
from inference_core.shared.take import Take

from . import fcurves, values_by_hand
from .axes import Floats, camera_matrices

SENSOR_MM = 36.0
_STILL = 1e-9


@dataclass(frozen=True)
class Lens:
    """Pinhole cameras K in Blender's terms; each of the first three one number per frame (T,) or (1,)."""

    focal_mm: Floats
    shift_x: Floats
    shift_y: Floats
    pixel_aspect: tuple[float, float]


def lens_from_K(K: NDArray[np.floating], size_px: NDArray[np.integer]) -> Lens:
    """The lens of cameras K (3, 3) or (T, 3, 3) for images of size_px (2,), on a horizontal sensor of SENSOR_MM."""
    per_frame = np.asarray(K, np.float64).reshape(-1, 3, 3)
    width, height = (float(size) for size in size_px)
    fx, fy, cx, cy = (per_frame[:, i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    tall = float((fx / fy)[0])  # height of a pixel over its width
    return Lens(
        fx * SENSOR_MM / width,
        (width / 2 - cx) / width,
        (cy - height / 2) * tall / width,
        (1.0, tall) if tall >= 1 else (1 / tall, 1.0),
    )


def set_camera(camera: bpy.types.Object, take: Take, frames: Floats, scale: float) -> list[str]:
    """Give the camera object the take's lens and pose, keyed at the scene frames (T,) where they change; a line for
    each of the two that an animator had set by hand.
    """
    data: Any = camera.data
    lens = lens_from_K(take.K, take.size_px)
    optics = {"lens": lens.focal_mm, "shift_x": lens.shift_x, "shift_y": lens.shift_y}
    zooms = {path for path, value in optics.items() if np.ptp(value) > _STILL}
    first = {path: float(value[0]) for path, value in optics.items()}
    given = {"sensor_fit": "HORIZONTAL", "sensor_width": SENSOR_MM, **first}
    said = values_by_hand.give(camera, "lens", data, given, is_moving=bool(zooms))
    _key(data, f"{camera.name} lens", "Lens", frames, optics, zooms)
    matrices = camera_matrices(take.T_world_cam, scale)
    turns = quaternions.continuous(quaternions.from_matrix(matrices[:, :3, :3]))
    values = {"location": matrices[:, :3, 3], "rotation_quaternion": turns}
    given = {"rotation_mode": "QUATERNION", **{path: value[0].tolist() for path, value in values.items()}}
    said += values_by_hand.give(camera, "path", camera, given, is_moving=moves(take))
    _key(camera, f"{camera.name} path", "Camera", frames, values, set(values) if moves(take) else set())
    return said


def written_paths(owner: bpy.types.ID) -> tuple[str, ...]:
    """Paths of the camera object, or of its data, that `set_camera` keys."""
    return (
        ("location", "rotation_quaternion") if owner.id_type == "OBJECT" else ("lens", "shift_x", "shift_y")
    )


def moves(take: Take) -> bool:
    """Whether the take's camera moves."""
    return float(np.abs(take.T_world_cam - take.T_world_cam[0]).max()) > _STILL


def camera_places(shot: bpy.types.Collection, frames: Floats) -> Floats:
    """(K, 3) positions of the shot's camera at the scene frames (K,), with the shot at its current place."""
    camera, place = shot.duohand.camera, shot.duohand.place
    if camera is None:
        raise RequestError("The shot has no camera whose line of sight could be followed.")
    channels = None if shot.duohand.own_camera else fcurves.active_channels(camera)
    curves = [channels.fcurves.find("location", index=index) for index in range(3)] if channels else [None]
    if None in curves or place is None:
        return np.tile(np.array(camera.matrix_world, np.float64)[:3, 3], (len(frames), 1))
    world = np.array(place.matrix_world, np.float64)
    return fcurves.sample(curves, frames) @ world[:3, :3].T + world[:3, 3]


def _key(
    owner: bpy.types.ID, action: str, group: str, frames: Floats, values: dict[str, Floats], moving: set[str]
) -> None:
    """Key the values (T, C) or (T,) of the moving paths, and remove the other paths' keys; all else keyed stays."""
    if not moving and fcurves.active_channels(owner) is None:
        return
    channels = fcurves.writable(owner, action)
    for path, value in values.items():
        rows = slice(None) if path in moving else slice(0)
        fcurves.write_keys(channels, path, group, fcurves.dense_keys(frames[rows], value[rows]))
