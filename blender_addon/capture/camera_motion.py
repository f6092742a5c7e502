# SPDX-License-Identifier: GPL-3.0-or-later
"""The poses of the scene's camera at the footage's frames, as a file for the engine.

A tracked clip has no metres of its own: only the camera that follows it in the scene has its place and scale.
"""

import json
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import RequestError
from inference_core.shared.whole_file import whole_file

from ..scene.axes import Floats, poses_from_camera_matrices, unscaled_pose
from ..scene.shot import rate, units_per_metre
from ..scene.unkeyed import frame_kept

# Poses beyond the last frame that Blender counts: the engine may find a few more.
_SPARE = 50


def write_camera_path(scene: bpy.types.Scene, start_frame: int, path: Path) -> None:
    """Write T_world_cam (N, 4, 4) of the chosen camera, metres, for the footage's frames from number 0 to its last.

    start_frame: the scene frame of the first captured one. RequestError if there is no such camera, or no room.
    """
    camera = _chosen_camera(scene)
    numbers = np.arange(scene.duohand.described_last + 1 + _SPARE)
    frames = _scene_frames(scene, start_frame, numbers)
    matrices = _matrices(scene, camera, frames)
    if np.abs(np.linalg.det(matrices[:, :3, :3])).min() < 1e-9:
        raise RequestError(f"The camera {camera.name} is scaled to nothing. Clear its scale.")
    poses = poses_from_camera_matrices(unscaled_pose(matrices), units_per_metre(scene))
    try:
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps({"T_world_cam": poses.round(9).tolist()}), encoding="utf-8")
    except OSError as error:
        raise RequestError(
            f"The camera's poses cannot be written to {path} ({error.strerror}). Choose another folder for takes."
        ) from error


def _chosen_camera(scene: bpy.types.Scene) -> bpy.types.Object:
    """The camera whose lens is taken, or the one that follows the tracked clip."""
    if scene.duohand.lens == "CAMERA":
        if scene.camera is None:
            raise RequestError("The scene has no camera whose motion could be taken. Make one active.")
        return scene.camera
    clip = scene.duohand.clip
    cameras = [scene.camera, *scene.objects]
    found = next((item for item in cameras if item is not None and _follows(scene, item, clip)), None)
    if found is None:
        raise RequestError(
            f"No camera of the scene follows the clip {clip.name}, and a clip alone has no scale. Set up the "
            "tracking scene (Clip Editor, Solve), or turn Camera Motion off."
        )
    return found


def _follows(scene: bpy.types.Scene, item: bpy.types.Object, clip: Any) -> bool:
    solvers: list[Any] = [one for one in item.constraints if one.type == "CAMERA_SOLVER" and not one.mute]
    return item.type == "CAMERA" and any(
        (scene.active_clip if one.use_active_clip else one.clip) == clip for one in solvers
    )


def _scene_frames(scene: bpy.types.Scene, start_frame: int, numbers: NDArray[np.int64]) -> Floats:
    """The scene frames (N,) at which the footage's frames are shown."""
    capture = scene.duohand
    first = capture.first if capture.use_range else capture.described_first
    keeps_time = capture.timing == "SECONDS" and capture.rate > 0
    return start_frame + (numbers - first) * (rate(scene) / capture.rate if keeps_time else 1.0)


def _matrices(scene: bpy.types.Scene, camera: bpy.types.Object, frames: Floats) -> Floats:
    """(N, 4, 4) where the camera is at scene frames (N,), whatever moves it."""
    out = np.empty((len(frames), 4, 4))
    with frame_kept(scene):
        for row, frame in enumerate(frames):
            whole = int(np.floor(frame))
            scene.frame_set(whole, subframe=float(frame - whole))
            out[row] = np.array(camera.matrix_world)
    return out
