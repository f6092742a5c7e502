# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hands an operator works on, and how hands are selected."""

from collections.abc import Sequence
from typing import Final

import bpy

from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import LEFT, RIGHT

from .hand_curves import HandRig, hand_rigs
from .shot import active_shot

AS_SHOWN: Final = -1_000_000  # the frame number that means "as in the scene's range"

HANDS_ITEMS: Final = (
    ("ACTIVE", "Active", "The active hand and those selected with it; both if none is active"),
    ("BOTH", "Both", "Both hands"),
    ("LEFT", "Left", "The left hand"),
    ("RIGHT", "Right", "The right hand"),
)


def chosen_hands(context: bpy.types.Context, hands: str) -> list[HandRig]:
    """The hands to work on; RequestError if there are none."""
    rigs = hand_rigs(active_shot(context))
    if hands == "ACTIVE":
        active = context.view_layer.objects.active
        mine = [rig for rig in rigs if active in (rig.armature, rig.armature.duohand.skin)]
        with_it = [rig for rig in rigs if rig in mine or rig.armature.select_get()]
        rigs = with_it if mine else rigs
    elif hands != "BOTH":
        rigs = [rig for rig in rigs if rig.side == (LEFT if hands == "LEFT" else RIGHT)]
    if not rigs:
        raise RequestError("The shot has no such hand with captured motion.")
    return rigs


def range_shown(scene: bpy.types.Scene) -> tuple[int, int]:
    """The range that tools work on: the preview range, else the scene's."""
    if scene.use_preview_range:
        return scene.frame_preview_start, scene.frame_preview_end
    return scene.frame_start, scene.frame_end


def range_meant(scene: bpy.types.Scene, first: int, last: int) -> tuple[int, int]:
    """The range given to an operator, with AS_SHOWN replaced by the current range. RequestError if it is empty."""
    start, end = range_shown(scene)
    first = start if first == AS_SHOWN else first
    last = end if last == AS_SHOWN else last
    if last < first:
        raise RequestError(f"The range {first} to {last} ends before it starts.")
    return first, last


def select_only(view_layer: bpy.types.ViewLayer, things: Sequence[bpy.types.Object]) -> None:
    """Select only these objects, the first one active; those hidden in the view layer are skipped."""
    active = view_layer.objects.active
    if active is not None and active.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    for thing in view_layer.objects:
        thing.select_set(False, view_layer=view_layer)
    shown = [thing for thing in things if thing.visible_get(view_layer=view_layer)]
    for thing in shown:
        thing.select_set(True, view_layer=view_layer)
    if shown:
        view_layer.objects.active = shown[0]
