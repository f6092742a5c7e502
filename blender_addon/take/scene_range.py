# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's frame range after a take is loaded: other shots are not cut short, and the user's choice stays."""

import bpy

from ..scene import shot
from ..scene.axes import Floats
from ..scene.unkeyed import would_be_lost


def fit_range(
    scene: bpy.types.Scene,
    collection: bpy.types.Collection,
    frames: Floats,
    asked: bool | None,
    is_new: bool,
) -> list[str]:
    """Set the scene's range to the take's frames (T,); returns a line if the range cannot hold them all.

    asked: whether the user requested that (None: no choice). Beside other shots the range only grows. An updated shot
    changes the range only if it is still as that shot set it. The current frame changes only if it is not in the range,
    and not if that would undo something that is not keyed yet.
    """
    kept = collection.duohand
    untouched = (scene.frame_start, scene.frame_end) == (kept.range_first, kept.range_last)
    if asked is False or not (asked or is_new or untouched):
        return []
    before = scene.frame_start, scene.frame_end
    others = len(shot.shots(scene)) > 1
    scene.frame_start, scene.frame_end = int(frames[0]), max(int(frames[0]), round(float(frames[-1])))
    if others:
        scene.frame_start = min(before[0], scene.frame_start)
        scene.frame_end = max(before[1], scene.frame_end)
    kept.range_first, kept.range_last = scene.frame_start, scene.frame_end
    if not scene.frame_start <= scene.frame_current <= scene.frame_end and not would_be_lost(scene):
        scene.frame_set(scene.frame_start)
    if frames[0] < scene.frame_start:
        return [
            f"The take begins on frame {frames[0]:g}, and a scene's range at 0: "
            "what comes before is not played or exported. Choose a later Start Frame."
        ]
    return []
