# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads a take into the scene: `apply_take` is behind Load Take and finished captures, and for scripts."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import bpy
import numpy as np

from inference_core.shared.errors import RequestError
from inference_core.shared.presence import ABSENT
from inference_core.shared.skeleton import SIDES
from inference_core.shared.take import Take

from ..scene import camera as cameras
from ..scene import fcurves, hand_curves, hand_keys, hand_mesh, hand_rig, motion, paths, plate, shot
from ..scene.axes import Floats, place_under_camera
from ..scene.rest_bones import bone_names, rest_bones, side_name
from . import markers
from .identity import check_editable, find_shot, footage_file, shot_name, stated_footage
from .rate import set_rate
from .scene_range import fit_range
from .settings import ApplySettings, Layout, layout_of

USUAL_SMOOTHING: Final = 0.5


@dataclass(frozen=True)
class Applied:
    """The result: the shot's collection, its armatures by side, and notes for the user."""

    shot: bpy.types.Collection
    armatures: dict[int, bpy.types.Object]
    warnings: tuple[str, ...]


def apply_take(scene: bpy.types.Scene, take: Take, take_path: str, settings: ApplySettings) -> Applied:
    """Load the take into the scene; RequestError if the settings need something that does not exist."""
    steps = apply_steps(scene, take, take_path, settings)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def apply_steps(
    scene: bpy.types.Scene, take: Take, take_path: str, settings: ApplySettings
) -> Generator[None, None, Applied]:
    """apply_take in steps of a few hundredths of a second, so that Blender stays responsive.

    If its data is deleted between steps, it ends with a ReferenceError.
    """
    collection = find_shot(scene, take, take_path, settings)
    is_new = collection is None
    if collection is not None:
        check_editable(collection)
        shot.bring_back(collection)
    layout = layout_of(settings, scene, collection)
    scene_camera = _scene_camera(scene, collection) if layout.camera == "SCENE" else None
    warnings = set_rate(scene, take.fps, collection) if layout.set_rate else []
    if collection is None:
        collection = shot.new_shot(scene, settings.name or shot_name(take, take_path, settings.footage))
    _remember(scene, collection, take, take_path, settings.footage, layout)
    frames = shot.shot_timing(collection).scene_frames(take.time_s, take.frame)
    warnings += _set_camera(scene, collection, take, frames, layout, scene_camera)
    if is_new and scene_camera is None:
        shot.set_place(collection, settings.place, None)
    wanted = [side for side in settings.sides if (take.present[:, side] != ABSENT).any()]
    warnings += _remove_others(collection, wanted)
    yield
    rigs: dict[int, bpy.types.Object] = {}
    for side in wanted:
        rigs[side] = yield from _set_hand(collection, take, side, frames, layout)
    if layout.rotation_mode != hand_keys.QUATERNION:
        warnings += _order_advice(take, rigs, layout)
    if not rigs:
        warnings.append("No hand was found in this take: there is a camera and nothing to move.")
    yield
    warnings += fit_range(scene, collection, frames, settings.set_range, is_new)
    if settings.set_markers:
        markers.set_markers(scene, collection.name, take, frames)
    return Applied(collection, rigs, tuple(warnings))


def _scene_camera(scene: bpy.types.Scene, collection: bpy.types.Collection | None) -> bpy.types.Object:
    """The camera that carries the shot, else the scene's."""
    if collection is not None and collection.duohand.own_camera and collection.duohand.camera is not None:
        return collection.duohand.camera
    if scene.camera is None:
        raise RequestError(
            "The scene has no camera to parent the hands to. Make one active, or choose a new one."
        )
    return scene.camera


def _remember(
    scene: bpy.types.Scene,
    collection: bpy.types.Collection,
    take: Take,
    take_path: str,
    footage: str,
    layout: Layout,
) -> None:
    kept = collection.duohand
    kept.take_path = paths.stored(take_path)
    kept.beside = paths.folder_of(bpy.data.filepath)
    kept.footage_key = paths.footage_key(footage or stated_footage(take))
    there = footage_file(take, take_path, footage)
    kept.footage = paths.stored(str(there)) if there is not None else footage or stated_footage(take)
    kept.start_frame, kept.timing, kept.scale = layout.start_frame, layout.timing, layout.scale
    kept.rotation_mode, kept.correctives = layout.rotation_mode, layout.correctives
    kept.fps, kept.fps_base = scene.render.fps, scene.render.fps_base


def _remove_others(collection: bpy.types.Collection, wanted: Sequence[int]) -> list[str]:
    """Remove hands that the take does not have, except those with locked ranges; a line for each."""
    said: list[str] = []
    for side, armature in shot.armatures(collection).items():
        if side in wanted:
            continue
        if armature.duohand.locked:
            said.append(f"The take has no {SIDES[side]} hand. {armature.name} stays: it has locked ranges.")
            continue
        said.append(f"The take has no {SIDES[side]} hand: {armature.name} was removed.")
        if armature.duohand.skin is not None:
            shot.remove_object(armature.duohand.skin)
        shot.remove_object(armature)
    return said


def _set_camera(
    scene: bpy.types.Scene,
    collection: bpy.types.Collection,
    take: Take,
    frames: Floats,
    layout: Layout,
    scene_camera: bpy.types.Object | None,
) -> list[str]:
    if scene_camera is not None:
        if scene_camera != collection.duohand.camera or not collection.duohand.own_camera:
            _hang_from(collection, scene_camera)
        return []
    camera = shot.shot_camera(collection)
    cameras.set_camera(camera, take, frames, layout.scale)
    if layout.sets_camera:
        scene.camera = camera
    said: list[str] = []
    if layout.set_resolution:
        before = scene.render.resolution_x, scene.render.resolution_y
        shot.set_resolution(scene, take, cameras.lens_from_K(take.K, take.size_px).pixel_aspect)
        now = scene.render.resolution_x, scene.render.resolution_y
        if now != before and len(shot.shots(scene)) > 1:
            said.append(
                f"The scene's resolution became {now[0]} x {now[1]}; it was {before[0]} x {before[1]}."
            )
    return [*said, *(_show_footage(collection, camera, take, frames) if layout.show_footage else [])]


def _hang_from(collection: bpy.types.Collection, camera: bpy.types.Object) -> None:
    kept = collection.duohand
    if kept.camera == camera and not kept.own_camera:
        raise RequestError("The scene's active camera belongs to this shot. Make the intended camera active.")
    if kept.camera is not None and not kept.own_camera:
        shot.remove_object(kept.camera)
    kept.camera, kept.own_camera = camera, True
    shot.set_place(collection, place_under_camera(), camera)


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
        plate.show_plate(camera, file, numbers, frames)
        plate.mark_plate(camera, made_plate is not None)
    except (RuntimeError, OverflowError) as error:
        return [f"Blender cannot show the footage {file}: {error}."]
    if made_plate is None and differences:
        return [
            f"The plate is not what the hands were found on: {differences}. Capture again to have one made."
        ]
    return []


def _set_hand(
    collection: bpy.types.Collection, take: Take, side: int, frames: Floats, layout: Layout
) -> Generator[None, None, bpy.types.Object]:
    bones = rest_bones(take, side, layout.scale)
    armature: Any = shot.hand_armature(collection, side)
    armature.duohand.smoothing.clear()
    armature.duohand.solved_smoothing = solved_smoothing(take)
    rig = hand_curves.HandRig(armature, collection, side)
    kept = hand_curves.locked_motion(rig)
    if not hand_rig.fits(armature.data, bones):
        old = armature.data
        armature.data = hand_rig.armature_from_bones(armature.name, bones, side)
        fcurves.remove_if_unused(old)
        armature.data.name = armature.name
        yield
    rest_frames = hand_rig.rest_frames(armature.data, bones.names)
    for name in bones.names:
        armature.pose.bones[name].rotation_mode = layout.rotation_mode
    yield
    yield from _set_keys(armature, take, side, frames, layout, bones.names, rest_frames)
    skin = yield from _set_skin(collection, armature, take, side, layout, bones.names, rest_frames)
    hand_keys.write_visibility(skin, take.present[:, side], frames)
    if kept is not None:
        hand_curves.put_back(rig, kept)
    return armature


def _order_advice(take: Take, rigs: dict[int, bpy.types.Object], layout: Layout) -> list[str]:
    """A line for each hand that another rotation order could represent with far fewer keys."""
    said: list[str] = []
    for side, armature in rigs.items():
        names = bone_names(side)
        data: Any = armature.data
        turns = motion.solved_motion(
            take, side, hand_rig.rest_frames(data, names), layout.scale
        ).rotations_wxyz
        better = motion.better_order(turns, layout.rotation_mode)
        if better is not None:
            order, fewest, strays = better
            said.append(
                f"{armature.name}: {strays} spans between frames need keys of their own in {layout.rotation_mode}; in "
                f"{order} only {fewest}. Load the take with Rotation {order} Euler."
            )
    return said


def _set_keys(
    armature: bpy.types.Object,
    take: Take,
    side: int,
    frames: Floats,
    layout: Layout,
    names: tuple[str, ...],
    rest_frames: Floats,
) -> Generator[None]:
    channels = hand_curves.channels_to_write(armature, names)
    solved = motion.solved_motion(take, side, rest_frames, layout.scale)
    yield
    yield from hand_keys.motion_steps(channels, names, solved, frames, layout.rotation_mode)
    present = take.present[:, side]
    hand_keys.write_confidence(channels, armature, take.confidence[:, side], present, frames)
    yield from _set_raw_keys(armature, take, side, frames, layout, names, rest_frames)


def _set_raw_keys(
    armature: bpy.types.Object,
    take: Take,
    side: int,
    frames: Floats,
    layout: Layout,
    names: tuple[str, ...],
    rest_frames: Floats,
) -> Generator[None]:
    old = armature.duohand.raw_action
    raw = motion.raw_motion(take, side, rest_frames, layout.scale)
    if len(raw.rows) == 0:
        return
    channels = fcurves.new_action(armature, f"{armature.name} raw")
    yield
    yield from hand_keys.motion_steps(channels, names, raw, frames, layout.rotation_mode)
    fcurves.muted_strip(armature, channels, hand_keys.RAW_TRACK)
    armature.duohand.raw_action = channels.action
    fcurves.remove_if_unused(old)
    channels.action.name = f"{armature.name} raw"


def _set_skin(
    collection: bpy.types.Collection,
    armature: bpy.types.Object,
    take: Take,
    side: int,
    layout: Layout,
    names: tuple[str, ...],
    rest_frames: Floats,
) -> Generator[None, None, bpy.types.Object]:
    name = f"{collection.name} {side_name(side)} skin"
    mesh = hand_mesh.mesh_from_take(name, take, side, layout.scale)
    skin = armature.duohand.skin or _left_skin(collection, names)
    armature.duohand.skin = skin
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
    if layout.correctives:
        yield
        keys = hand_mesh.take_correctives(take, side, rest_frames, layout.scale)
        yield
        if keys:
            hand_mesh.add_correctives(skin, armature, names, keys)
            yield
    return skin


def _left_skin(collection: bpy.types.Collection, names: tuple[str, ...]) -> Any:
    """The skin that a deleted armature with those bones left in the shot; None if there is none."""
    for thing in collection.objects:
        deformers = [item.object for item in thing.modifiers if item.type == "ARMATURE"]
        if thing.type == "MESH" and deformers == [None] and names[0] in thing.vertex_groups:
            return thing
    return None


def solved_smoothing(take: Take) -> float:
    """The smoothing that the take was solved with, 0..1; the default if it does not say."""
    settings = take.meta.get("settings")
    strength = settings.get("smooth") if isinstance(settings, dict) else None
    return float(strength) if isinstance(strength, (int, float)) else USUAL_SMOOTHING
