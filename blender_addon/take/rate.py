# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of the scene's frame rate: the keys of shots loaded at another rate move along."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import bpy
import numpy as np

from inference_core.shared.errors import RequestError
from inference_core.shared.picture_sequences import LAST_FRAME
from inference_core.shared.take import TakeError, load_take

from ..scene import fcurves, hand_keys, loaded_motion, orphans, plate, shot
from ..scene.paths import take_file
from ..scene.unkeyed import unkeyed_kept
from . import markers
from .identity import check_editable

_SAME = 1e-4  # of the rate


def is_left_behind(scene: bpy.types.Scene, collection: bpy.types.Collection) -> bool:
    """Whether the shot keeps the footage's time and was loaded at another rate than the scene's current one."""
    then = shot.shot_timing(collection)
    return then.mode == "SECONDS" and abs(then.scene_fps / shot.rate(scene) - 1) > _SAME


def set_rate(scene: bpy.types.Scene, fps: float, updated: bpy.types.Collection | None) -> list[str]:
    """Give the scene the rate; every shot except the one being updated moves along. A line for each."""
    shot.set_rate(scene, fps)
    said: list[str] = []
    for other in shot.shots(scene):
        if other != updated and is_left_behind(scene, other):
            said += [f"The scene's frame rate became {shot.rate(scene):.6g}.", *follow_rate(scene, other)]
    return said


def follow_rate(scene: bpy.types.Scene, collection: bpy.types.Collection) -> list[str]:
    """Move the shot's keys, ranges and plate to their times at the scene's rate; a line for the user.

    What is not keyed yet stays on its frame. RequestError if the shot is linked.
    """
    check_editable(collection)
    with unkeyed_kept(scene, shot.animated(collection), through_retiming=True):
        return _moved_along(scene, collection)


def _moved_along(scene: bpy.types.Scene, collection: bpy.types.Collection) -> list[str]:
    kept = collection.duohand
    before = shot.shot_timing(collection)
    start, factor = float(before.start_frame), shot.rate(scene) / before.scene_fps
    hands = shot.armatures(collection)
    camera_as_loaded = loaded_motion.camera_is_as_loaded(collection)
    as_loaded = [side for side, hand in hands.items() if loaded_motion.is_as_loaded(hand, side)]
    skins = [hand.duohand.skin for hand in hands.values() if hand.duohand.skin is not None]
    shown_as_written = [skin for skin in skins if hand_keys.is_shown_as_written(skin)]
    raw_as_loaded = [hand for hand in hands.values() if loaded_motion.raw_is_as_loaded(hand)]
    locked = 0
    channels_of = _own_channels(collection)
    for channels in channels_of:
        for curve in channels.fcurves:
            fcurves.stretch(curve, start, factor)
            locked += fcurves.is_locked(curve)
    for action in {channels.action for channels in channels_of}:
        shot.set_later(action, shot.later(action) * factor)
    ranges = [(*hand.duohand.locked, *hand.duohand.smoothing) for hand in hands.values()]
    for item in chain(kept.touches, *ranges):
        item.first, item.last = (
            round(min(max(start + (edge - start) * factor, -LAST_FRAME), LAST_FRAME))
            for edge in (item.first, item.last)
        )
    shot.set_cut_frames(collection, start + (shot.cut_frames(collection) - start) * factor)
    for hand in hands.values():
        _stretch_strips(hand, start, factor)
    for side in as_loaded:
        loaded_motion.remember(hands[side], side)
    for skin in shown_as_written:
        hand_keys.remember_visibility(skin)
    for hand in raw_as_loaded:
        loaded_motion.remember_raw(hand)
    _move_scene(scene, collection, start, factor)
    kept.fps, kept.fps_base = scene.render.fps, scene.render.fps_base
    orphans.remember(collection)
    said = [f"The keys of {collection.name} moved along."]
    if locked:
        said.append(f"So did those of {locked} locked curves.")
    said += _plate_anew(collection)
    if camera_as_loaded:
        loaded_motion.remember_camera(collection)
    return said


def _own_channels(collection: bpy.types.Collection) -> list[fcurves.Channels]:
    """The curves of the shot's hands, skins and own camera, with raw motion and strips, each once.

    Curves that also animate something else are copied first, so that it does not change.
    """
    owners: list[Any] = [item for item in shot.animated(collection) if item.animation_data is not None]
    found: dict[tuple[Any, Any], fcurves.Channels] = {}
    for owner in owners:
        active = fcurves.active_channels(owner)
        if active is not None:
            _check_local(active)
            shared = fcurves.moves_others(active, owners)
            _keep(found, fcurves.assign_copy(owner, active) if shared else active)
        for strip in _strips(owner):
            channels = fcurves.Channels(strip.action, getattr(strip, "action_slot", None))
            _check_local(channels)
            _keep(found, _copied(owner, strip) if fcurves.moves_others(channels, owners) else channels)
    return list(found.values())


def _keep(found: dict[tuple[Any, Any], fcurves.Channels], channels: fcurves.Channels) -> None:
    found[channels.action, channels.slot and channels.slot.handle] = channels


def _check_local(channels: fcurves.Channels) -> None:
    if not channels.action.is_editable:
        raise RequestError(
            f"The action {channels.action.name} is linked from another file. Make it local first."
        )


def _copied(owner: Any, strip: Any) -> fcurves.Channels:
    """A copy of the strip's action, assigned to the strip."""
    slot = getattr(strip, "action_slot", None)
    if owner.id_type == "OBJECT" and owner.duohand.raw_action == strip.action:
        strip.action = owner.duohand.raw_action = strip.action.copy()
    else:
        strip.action = strip.action.copy()
    if slot is None:
        return fcurves.Channels(strip.action, None)
    strip.action_slot = strip.action.slots[slot.identifier]
    return fcurves.Channels(strip.action, strip.action_slot)


def _strips(owner: Any) -> Iterator[Any]:
    for track in owner.animation_data.nla_tracks:
        yield from (strip for strip in track.strips if strip.action is not None)


def _stretch_strips(hand: Any, start: float, factor: float) -> None:
    """Move the strips of the hand's own actions along with their keys."""
    for track in hand.animation_data.nla_tracks if hand.animation_data is not None else ():
        for strip in track.strips:
            first, keys, end = (
                start + (edge - start) * factor
                for edge in (strip.frame_start, strip.action_frame_start, strip.action_frame_end)
            )
            scale = strip.scale
            strip.action_frame_start, strip.action_frame_end = keys, end
            strip.scale, strip.frame_start = scale, first


def _move_scene(
    scene: bpy.types.Scene, collection: bpy.types.Collection, start: float, factor: float
) -> None:
    """Move the shot's markers, and the scene's range if it is still as the shot set it."""
    kept = collection.duohand
    markers.stretch_markers(scene, collection, start, factor)
    if (scene.frame_start, scene.frame_end) == (kept.range_first, kept.range_last):
        scene.frame_end = round(start + (scene.frame_end - start) * factor)
        kept.range_last = scene.frame_end


def _plate_anew(collection: bpy.types.Collection) -> list[str]:
    """Show the right frames of the footage at the new rate, which needs the take; a line if it is gone."""
    kept = collection.duohand
    camera: Any = kept.camera
    image = plate.plate_image(camera) if camera is not None and not kept.own_camera else None
    if image is None or camera is None:
        return []
    try:
        take = load_take(take_file(collection))
    except TakeError as error:
        return [f"The plate stays at the old rate: {error}"]
    numbers = np.arange(take.frame_count) if plate.is_made(image) else take.frame
    frames = shot.shot_timing(collection).scene_frames(take.time_s, take.frame)
    return plate.key_plate(camera, numbers, frames)
