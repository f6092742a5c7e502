# SPDX-License-Identifier: GPL-3.0-or-later
"""A take into the scene: `apply_take` is what Load Take and a finished capture do, and what a script may call."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import bpy
import numpy as np

from inference_core.shared.errors import RequestError
from inference_core.shared.presence import ABSENT
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.shared.take import Take

from ..scene import camera as cameras
from ..scene import fcurves, hand_curves, hand_keys, hand_mesh, hand_rig, motion, shot
from ..scene.axes import Floats, place_under_camera
from ..scene.rest_bones import rest_bones, side_name
from ..scene.timing import TimingMode
from . import markers, plate


@dataclass(frozen=True)
class ApplySettings:
    """How a take is laid into the scene.

    existing: UPDATE the shot of the same name in place, or make a NEW one beside it. camera: a NEW one of the shot's
    own, standing at `place` (4, 4) in Blender's world (None: the origin, looking along +Y), or the SCENE's, from
    which the hands then hang. scale: Blender units to a metre. rotation_mode: QUATERNION or an Euler order.
    """

    name: str = ""
    existing: Literal["UPDATE", "NEW"] = "UPDATE"
    start_frame: int = 1
    timing: TimingMode = "SECONDS"
    set_rate: bool = False
    set_range: bool = True
    set_resolution: bool = True
    camera: Literal["NEW", "SCENE"] = "NEW"
    place: Floats | None = None
    scale: float = 1.0
    rotation_mode: str = hand_keys.QUATERNION
    sides: Sequence[int] = (LEFT, RIGHT)
    correctives: bool = True
    show_footage: bool = True
    set_markers: bool = True


@dataclass(frozen=True)
class Applied:
    """What came of it: the shot's collection, its armatures by side, and what the user should know."""

    shot: bpy.types.Collection
    armatures: dict[int, bpy.types.Object]
    warnings: tuple[str, ...]


def apply_take(scene: bpy.types.Scene, take: Take, take_path: str, settings: ApplySettings) -> Applied:
    """Lay the take into the scene; a RequestError where the settings ask for what is not there."""
    steps = apply_steps(scene, take, take_path, settings)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def apply_steps(
    scene: bpy.types.Scene, take: Take, take_path: str, settings: ApplySettings
) -> Generator[None, None, Applied]:
    """apply_take in steps of some hundredths of a second, for whoever must not hold Blender up.

    What is changed in between may take data away from under it: then it ends in a ReferenceError.
    """
    scene_camera = _scene_camera(scene) if settings.camera == "SCENE" else None
    if settings.set_rate:
        shot.set_rate(scene, take.fps)
    collection = _shot_for(scene, take, take_path, settings)
    _remember(scene, collection, take_path, settings)
    frames = shot.shot_timing(collection).scene_frames(take.time_s, take.frame)
    warnings = _set_camera(scene, collection, take, frames, settings, scene_camera)
    wanted = [side for side in settings.sides if (take.present[:, side] != ABSENT).any()]
    for side, armature in shot.armatures(collection).items():
        if side not in wanted:
            shot.remove_object(armature.duohand.skin)
            shot.remove_object(armature)
    yield
    rigs: dict[int, bpy.types.Object] = {}
    for side in wanted:
        rigs[side] = yield from _set_hand(collection, take, side, frames, settings)
    if not rigs:
        warnings.append("No hand was found in this take: there is a camera and nothing to move.")
    yield
    if settings.set_range:
        shot.set_range(scene, frames)
    if settings.set_markers:
        markers.set_markers(scene, collection.name, take, frames)
    return Applied(collection, rigs, tuple(warnings))


def _scene_camera(scene: bpy.types.Scene) -> bpy.types.Object:
    if scene.camera is None:
        raise RequestError(
            "The scene has no camera for the hands to hang from. Make one active, or choose a new one."
        )
    return scene.camera


def _shot_for(
    scene: bpy.types.Scene, take: Take, take_path: str, settings: ApplySettings
) -> bpy.types.Collection:
    name = settings.name or shot.shot_name(take, take_path)
    if settings.existing == "UPDATE":
        for found in shot.shots(scene):
            if found.name == name or (take_path and found.duohand.take_path == take_path):
                return found
    return shot.new_shot(scene, name)


def _remember(
    scene: bpy.types.Scene, collection: bpy.types.Collection, take_path: str, settings: ApplySettings
) -> None:
    kept = collection.duohand
    kept.take_path = take_path
    kept.start_frame, kept.timing, kept.scale = settings.start_frame, settings.timing, settings.scale
    kept.fps, kept.fps_base = scene.render.fps, scene.render.fps_base


def _set_camera(
    scene: bpy.types.Scene,
    collection: bpy.types.Collection,
    take: Take,
    frames: Floats,
    settings: ApplySettings,
    scene_camera: bpy.types.Object | None,
) -> list[str]:
    if scene_camera is not None and scene_camera != collection.duohand.place:
        _hang_from(collection, scene_camera)
        return []
    camera = shot.shot_camera(collection)
    shot.set_place(collection, settings.place, None)
    cameras.set_camera(camera, take, frames, settings.scale)
    scene.camera = camera
    if settings.set_resolution:
        shot.set_resolution(scene, take, cameras.lens_from_K(take.K, take.size_px).pixel_aspect)
    return _show_footage(camera, take, frames) if settings.show_footage else []


def _hang_from(collection: bpy.types.Collection, camera: bpy.types.Object) -> None:
    kept = collection.duohand
    if kept.camera == camera and not kept.own_camera:
        raise RequestError(
            "The scene's camera is this shot's own. Make the camera that is meant the active one."
        )
    if kept.camera is not None and not kept.own_camera:
        shot.remove_object(kept.camera)
    kept.camera, kept.own_camera = camera, True
    shot.set_place(collection, place_under_camera(), camera)


def _show_footage(camera: bpy.types.Object, take: Take, frames: Floats) -> list[str]:
    named = shot.footage_path(take)
    if named is None:
        return []
    file = plate.first_file(named)
    if file is None:
        return [f"The footage {named} is not there any more: the camera shows no plate."]
    try:
        plate.show_plate(camera, file, take.frame, frames)
    except RuntimeError as error:
        return [f"Blender cannot show the footage {file}: {error}."]
    return []


def _set_hand(
    collection: bpy.types.Collection, take: Take, side: int, frames: Floats, settings: ApplySettings
) -> Generator[None, None, bpy.types.Object]:
    bones = rest_bones(take, side, settings.scale)
    armature: Any = shot.hand_armature(collection, side)
    rig = hand_curves.HandRig(armature, collection, side)
    kept = hand_curves.locked_motion(rig)
    armature.parent = collection.duohand.place
    if not hand_rig.fits(armature.data, bones):
        old = armature.data
        armature.data = hand_rig.armature_from_bones(armature.name, bones, side)
        fcurves.remove_if_unused(old)
        armature.data.name = armature.name
        yield
    rest_frames = hand_rig.rest_frames(armature.data, bones.names)
    for name in bones.names:
        armature.pose.bones[name].rotation_mode = settings.rotation_mode
    yield
    yield from _set_keys(armature, take, side, frames, settings, bones.names, rest_frames)
    skin = yield from _set_skin(collection, armature, take, side, settings, bones.names, rest_frames)
    hand_keys.write_visibility(skin, take.present[:, side], frames)
    if kept is not None:
        hand_curves.put_back(rig, kept)
    return armature


def _set_keys(
    armature: bpy.types.Object,
    take: Take,
    side: int,
    frames: Floats,
    settings: ApplySettings,
    names: tuple[str, ...],
    rest_frames: Floats,
) -> Generator[None]:
    old = armature.animation_data.action if armature.animation_data else None
    channels = fcurves.assign_new_action(armature, armature.name)
    solved = motion.solved_motion(take, side, rest_frames, settings.scale)
    yield
    yield from hand_keys.motion_steps(channels, names, solved, frames, settings.rotation_mode)
    present = take.present[:, side]
    hand_keys.write_confidence(channels, armature, take.confidence[:, side], present, frames)
    fcurves.remove_if_unused(old)
    channels.action.name = armature.name
    yield from _set_raw_keys(armature, take, side, frames, settings, names, rest_frames)


def _set_raw_keys(
    armature: bpy.types.Object,
    take: Take,
    side: int,
    frames: Floats,
    settings: ApplySettings,
    names: tuple[str, ...],
    rest_frames: Floats,
) -> Generator[None]:
    old = armature.duohand.raw_action
    raw = motion.raw_motion(take, side, rest_frames, settings.scale)
    if len(raw.rows) == 0:
        return
    channels = fcurves.new_action(armature, f"{armature.name} raw")
    yield
    yield from hand_keys.motion_steps(channels, names, raw, frames, settings.rotation_mode)
    fcurves.muted_strip(armature, channels, hand_keys.RAW_TRACK)
    armature.duohand.raw_action = channels.action
    fcurves.remove_if_unused(old)
    channels.action.name = f"{armature.name} raw"


def _set_skin(
    collection: bpy.types.Collection,
    armature: bpy.types.Object,
    take: Take,
    side: int,
    settings: ApplySettings,
    names: tuple[str, ...],
    rest_frames: Floats,
) -> Generator[None, None, bpy.types.Object]:
    name = f"{collection.name} {side_name(side)} skin"
    mesh = hand_mesh.mesh_from_take(name, take, side, settings.scale)
    skin = armature.duohand.skin
    if skin is None:
        skin = bpy.data.objects.new(name, mesh)
        collection.objects.link(skin)
        armature.duohand.skin = skin
    else:
        old = skin.data
        mesh.materials.clear()
        for material in old.materials:
            mesh.materials.append(material)
        skin.data = mesh
        fcurves.remove_if_unused(old)
        mesh.name = name
    yield
    hand_mesh.bind(skin, armature, names, np.asarray(take.skin_weights[side]))
    if settings.correctives:
        yield
        keys = hand_mesh.take_correctives(take, side, rest_frames, settings.scale)
        yield
        if keys:
            hand_mesh.add_correctives(skin, armature, names, keys)
            yield
    return skin
