# SPDX-License-Identifier: GPL-3.0-or-later
"""The hands to be exported, alone in the context's scene."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import bpy

from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import SIDES

from ..scene import shot as shots
from ..scene.stage import stage
from ..scene.unkeyed import unkeyed_kept


@contextmanager
def hands_on_stage(
    source: bpy.types.Scene, shot: bpy.types.Collection, sides: Sequence[int]
) -> Iterator[list[Any]]:
    """A context whose scene has only those sides' armatures, with their skins visible throughout."""
    hands = shots.armatures(shot)
    chosen = [hands[side] for side in sides if side in hands]
    if not chosen:
        wanted = " or ".join(SIDES[side] for side in sides)
        raise RequestError(f"{shot.name} has no {wanted} hand to export.")
    things = [
        thing for hand in chosen for thing in (hand, shots.in_file(hand.duohand.skin)) if thing is not None
    ]
    with unkeyed_kept(source), ExitStack() as shown:
        for thing in things:
            shown.enter_context(_shown(thing))
        scene = shown.enter_context(stage(source, shot.name, things))
        shown.enter_context(_in_window(scene))
        override: dict[str, Any] = {"active_object": chosen[0], "object": chosen[0]}
        with bpy.context.temp_override(scene=scene, view_layer=scene.view_layers[0], **override):
            yield chosen


@contextmanager
def _in_window(scene: bpy.types.Scene) -> Iterator[None]:
    """Show the scene in the context's window, if there is one: the glTF exporter uses the window, not the context."""
    # Taken from the window manager: in Blender 4.2 the context's window has no
    # owner, which sometimes crashed.
    windows = bpy.context.window_manager.windows
    window = next((item for item in windows if item == bpy.context.window), None)
    if window is None:
        yield
        return
    before = window.scene
    window.scene = scene
    try:
        yield
    finally:
        window.scene = before


@contextmanager
def _shown(thing: Any) -> Iterator[None]:
    """Show the object whatever hides it: a switch, or the keys that hide a skin while its hand is absent."""
    hidden, animation = thing.hide_viewport, thing.animation_data
    action = animation.action if animation is not None and thing.type == "MESH" else None
    slot = getattr(animation, "action_slot", None)
    if action is not None:
        animation.action = None
    thing.hide_viewport = False
    try:
        yield
    finally:
        if action is not None:
            animation.action = action
            if slot is not None:
                animation.action_slot = slot
        thing.hide_viewport = hidden
