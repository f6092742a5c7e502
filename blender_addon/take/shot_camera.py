# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera of a take's shot, with the footage as its plate."""

from pathlib import Path

import bpy
import numpy as np

from inference_core.shared.errors import RequestError
from inference_core.shared.take import Take

from ..scene import camera as cameras
from ..scene import own_work, paths, plate, shot
from ..scene.axes import Floats, camera_matrices, place_under_camera, unscaled_pose
from ..scene.unkeyed import frame_kept
from .settings import Layout


def carrying_camera(scene: bpy.types.Scene, collection: bpy.types.Collection | None) -> bpy.types.Object:
    """The camera of the user's that carries the shot, else the scene's; RequestError if there is none."""
    if collection is not None and collection.duohand.own_camera and collection.duohand.camera is not None:
        return collection.duohand.camera
    if scene.camera is None:
        raise RequestError(
            "The scene has no camera to parent the hands to. Make one active, or choose a new one."
        )
    if collection is not None and scene.camera == collection.duohand.camera:
        raise RequestError("The scene's active camera belongs to this shot. Make the intended camera active.")
    return scene.camera


def set_camera(
    scene: bpy.types.Scene,
    collection: bpy.types.Collection,
    take: Take,
    frames: Floats,
    layout: Layout,
    scene_camera: bpy.types.Object | None,
) -> list[str]:
    """Give the shot its camera, lens and plate, or hang it from `scene_camera`; notes for the user.

    frames (T,): the scene frame of each of the take's.
    """
    if scene_camera is not None:
        said: list[str] = []
        moves = cameras.moves(take)
        if (
            scene_camera != collection.duohand.camera
            or not collection.duohand.own_camera
            or moves == (collection.duohand.place.parent is not None)
        ):
            said = _use_scene_camera(collection, scene_camera)
            place = place_at_camera(scene, scene_camera, take, frames, layout.scale) if moves else None
            shot.set_place(
                collection, place_under_camera() if place is None else place, None if moves else scene_camera
            )
        return said
    camera = shot.shot_camera(collection)
    said = cameras.set_camera(camera, take, frames, layout.scale)
    if layout.sets_camera:
        scene.camera = camera
    if layout.set_resolution:
        shot.set_resolution(scene, take, cameras.lens_from_K(take.K, take.size_px).pixel_aspect)
    return [*said, *(_show_footage(collection, camera, take, frames) if layout.show_footage else [])]


def place_at_camera(
    scene: bpy.types.Scene, camera: bpy.types.Object, take: Take, frames: Floats, scale: float
) -> Floats:
    """Matrix (4, 4) of the place at which a take with a moving camera has it where the scene's is in its first frame.

    From there on the two move alike if they are the same camera; hands parented to it would move twice.
    """
    whole = int(np.floor(frames[0]))
    with frame_kept(scene):
        scene.frame_set(whole, subframe=float(frames[0] - whole))
        there = unscaled_pose(np.array(camera.matrix_world, np.float64))
    return there @ np.linalg.inv(camera_matrices(take.T_world_cam[0], scale))


def _use_scene_camera(collection: bpy.types.Collection, camera: bpy.types.Object) -> list[str]:
    kept = collection.duohand
    before = None if kept.own_camera else kept.camera
    kept.camera, kept.own_camera = camera, True
    if before is None:
        return []
    if own_work.on_camera(before):
        return [
            f"{before.name} is not the shot's camera any more. It stays: it is used, or has keys of yours."
        ]
    shot.remove_object(before)
    return []


def _show_footage(
    collection: bpy.types.Collection, camera: bpy.types.Object, take: Take, frames: Floats
) -> list[str]:
    named = collection.duohand.footage
    if not named:
        return []
    made_plate, differences = plate.plate_movie(take, paths.take_file(collection))
    file = made_plate or plate.first_file(Path(paths.absolute(named)))
    if file is None:
        return [
            f"The footage {named} is not there any more: the camera shows no plate. "
            "Choose where it lies now in the Take panel."
        ]
    numbers = take.frame if made_plate is None else np.arange(take.frame_count)
    try:
        said = plate.show_plate(camera, file, numbers, frames, is_made=made_plate is not None)
    except (RuntimeError, OverflowError) as error:
        return [f"Blender cannot show the footage {file}: {error}."]
    if made_plate is None and differences:
        said.append(
            f"The plate is not what the hands were found on: {differences}. Capture again to have one made."
        )
    return said
