# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads a take into the scene: `apply_take` is behind Load Take and finished captures, and for scripts."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import bpy

from inference_core.shared.errors import RequestError
from inference_core.shared.presence import ABSENT
from inference_core.shared.skeleton import SIDES
from inference_core.shared.take import Take

from ..scene import (
    hand_curves,
    hand_keys,
    loaded_motion,
    loaded_skin,
    orphans,
    own_work,
    paths,
    shot,
)
from ..scene.hand_channels import check_plays, leave_other_strips
from ..scene.unkeyed import unkeyed_kept
from . import hands, locked_curves, markers, shot_camera
from .identity import check_editable, check_not_edited, find_shot, footage_file, shot_name, stated_footage
from .rate import set_rate
from .scene_before import SceneBefore
from .scene_range import fit_range
from .settings import ApplySettings, Layout, layout_of, usual_timing


@dataclass(frozen=True)
class Applied:
    """The result: the shot's collection, its armatures by side, and notes for the user."""

    shot: bpy.types.Collection
    armatures: dict[int, bpy.types.Object]
    warnings: tuple[str, ...]


def apply_take(scene: bpy.types.Scene, take: Take, take_path: str, settings: ApplySettings) -> Applied:
    """Load the take into the scene; RequestError if the settings need something that does not exist."""
    steps = apply_steps(scene, take, take_path, settings)
    next(steps)
    with unkeyed_kept(scene):
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value


def apply_steps(
    scene: bpy.types.Scene, take: Take, take_path: str, settings: ApplySettings
) -> Generator[None, None, Applied]:
    """apply_take in steps of a few hundredths of a second, so that Blender stays responsive.

    The first sets the scene's rate, and leaves what is not keyed yet; who takes the others takes them in unkeyed_kept.
    If its data is deleted between steps, it ends with a ReferenceError.
    """
    collection = find_shot(scene, take, take_path, settings)
    is_new = collection is None
    if collection is not None:
        check_editable(collection)
        check_not_edited(collection)
        _check_motion(collection)
        shot.bring_back(collection)
    was = SceneBefore.of(scene) if usual_timing(scene) == "SECONDS" else None
    layout = layout_of(settings, scene, collection)
    scene_camera = shot_camera.carrying_camera(scene, collection) if layout.camera == "SCENE" else None
    warnings = set_rate(scene, take.fps, collection) if layout.set_rate else []
    yield
    if collection is None:
        collection = shot.new_shot(scene, settings.name or shot_name(take, take_path, settings.footage))
    _remember(scene, collection, take, take_path, settings.footage, layout)
    frames = shot.shot_timing(collection).scene_frames(take.time_s, take.frame)
    shot.set_cut_frames(collection, (frames[take.cuts - 1] + frames[take.cuts]) / 2)
    for armature in shot.armatures(collection).values():
        leave_other_strips(armature)
    warnings += loaded_motion.keep_edited(collection)
    warnings += shot_camera.set_camera(scene, collection, take, frames, layout, scene_camera)
    loaded_motion.remember_camera(collection)
    if is_new and scene_camera is None:
        shot.set_place(collection, settings.place, None)
    wanted = [side for side in settings.sides if (take.present[:, side] != ABSENT).any()]
    warnings += loaded_skin.keep_edited(collection, take)
    warnings += _remove_others(collection, wanted)
    yield
    rigs: dict[int, bpy.types.Object] = {}
    for side in wanted:
        rigs[side] = yield from hands.set_hand(collection, take, side, frames, layout)
    if layout.rotation_mode != hand_keys.QUATERNION:
        warnings += hands.order_advice(take, rigs, layout)
    warnings += locked_curves.kept(collection) + loaded_skin.locked_groups(collection)
    if not rigs:
        warnings.append("No hand was found in this take: there is a camera and nothing to move.")
    yield
    warnings += fit_range(scene, collection, frames, settings.set_range, is_new)
    if was is not None and is_new:
        warnings += was.changes(scene)
    if settings.set_markers:
        markers.set_markers(scene, collection, take, frames)
    if collection not in shot.shots(scene):  # unlinked meanwhile
        scene.collection.children.link(collection)
    orphans.remember(collection)
    return Applied(collection, rigs, tuple(warnings))


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


def _check_motion(collection: bpy.types.Collection) -> None:
    """Raise a RequestError, before anything changes, if motion that must be kept cannot be found or read."""
    for side, armature in shot.armatures(collection).items():
        check_plays(armature)
        if not armature.duohand.locked:
            continue
        try:
            rig = hand_curves.HandRig(armature, collection, side)
            hand_curves.check_bones(armature, rig.names)
            hand_curves.locked_motion(rig)
        except RequestError as error:
            raise RequestError(
                f"The locked ranges of {armature.name} cannot be kept, since bones or keys are gone. Bring them back "
                "(Undo), or remove the locks with Unlock before the take is loaded."
            ) from error


def _remove_others(collection: bpy.types.Collection, wanted: Sequence[int]) -> list[str]:
    """Remove hands that the take does not have, except those with locked ranges or built upon; a line for each."""
    said: list[str] = []
    for side, armature in shot.armatures(collection).items():
        if side in wanted:
            continue
        if armature.duohand.locked:
            said.append(f"The take has no {SIDES[side]} hand. {armature.name} stays: it has locked ranges.")
            continue
        if own_work.on_hand(armature):
            said.append(f"The take has no {SIDES[side]} hand. {armature.name} stays: you have built on it.")
            continue
        said.append(f"The take has no {SIDES[side]} hand: {armature.name} was removed.")
        if armature.duohand.skin is not None:
            shot.remove_object(armature.duohand.skin)
        shot.remove_object(armature)
    return said
