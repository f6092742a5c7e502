# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene of their own for the hands that are to be exported.

Exporters go by selection, visibility and the scene's range. On a stage of their own the hands are selected and seen
whatever the user has hidden, and the user's selection stays as it is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import bpy

from inference_core.errors import RequestError
from inference_core.skeleton import SIDES

from ..scene import shot as shots


@contextmanager
def stage(
    source: bpy.types.Scene, shot: bpy.types.Collection, sides: Sequence[int]
) -> Iterator[list[bpy.types.Object]]:
    """The armatures of those sides, alone with their skins in the context's scene for as long as this lasts."""
    hands = shots.armatures(shot)
    chosen = [hands[side] for side in sides if side in hands]
    if not chosen:
        wanted = " or ".join(SIDES[side] for side in sides)
        raise RequestError(f"{shot.name} has no {wanted} hand to export.")
    things = [thing for hand in chosen for thing in (hand, hand.duohand.skin) if thing is not None]
    hidden = [_shown(thing) for thing in things]
    scene = bpy.data.scenes.new(f"{shot.name} export")
    try:
        _copy_timing(source, scene)
        for thing in things:
            scene.collection.objects.link(thing)
        layer = scene.view_layers[0]
        for thing in things:
            thing.select_set(True, view_layer=layer)
        layer.objects.active = chosen[0]
        with bpy.context.temp_override(scene=scene, view_layer=layer, **_objects(things, chosen[0])):
            yield chosen
    finally:
        bpy.data.scenes.remove(scene)
        for thing, state in zip(things, hidden, strict=True):
            _restore(thing, state)


def _objects(things: list[bpy.types.Object], active: bpy.types.Object) -> dict[str, Any]:
    return {
        "selected_objects": things,
        "selected_editable_objects": things,
        "active_object": active,
        "object": active,
    }


def _copy_timing(source: bpy.types.Scene, scene: bpy.types.Scene) -> None:
    scene.render.fps, scene.render.fps_base = source.render.fps, source.render.fps_base
    scene.frame_start, scene.frame_end = source.frame_start, source.frame_end
    scene.unit_settings.system = source.unit_settings.system
    scene.unit_settings.scale_length = source.unit_settings.scale_length
    scene.frame_set(source.frame_start)


def _shown(thing: bpy.types.Object) -> tuple[bool, Any]:
    """Show the object throughout; returns what to give back to `_restore`."""
    animation = thing.animation_data
    state = (thing.hide_viewport, None)
    if thing.type == "MESH" and animation is not None and animation.action is not None:
        slot = getattr(animation, "action_slot", None)
        state = (thing.hide_viewport, (animation.action, slot))
        animation.action = None
    thing.hide_viewport = False
    return state


def _restore(thing: bpy.types.Object, state: tuple[bool, Any]) -> None:
    thing.hide_viewport = state[0]
    if state[1] is not None:
        action, slot = state[1]
        thing.animation_data.action = action
        if slot is not None:
            thing.animation_data.action_slot = slot
