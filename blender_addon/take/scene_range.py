# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's frame range after a take has come in: no other shot is cut short, nor what the user chose undone."""

import bpy

from ..scene import shot
from ..scene.axes import Floats


def fit_range(
    scene: bpy.types.Scene,
    collection: bpy.types.Collection,
    frames: Floats,
    asked: bool | None,
    is_new: bool,
) -> None:
    """Let the scene play the take's frames (T,); asked: whether that was said (None: it was not).

    Beside other shots the range only grows. A shot that is updated moves the range only where it still stands as
    that shot left it.
    """
    kept = collection.duohand
    untouched = (scene.frame_start, scene.frame_end) == (kept.range_first, kept.range_last)
    if asked is False or not (asked or is_new or untouched):
        return
    before = scene.frame_start, scene.frame_end
    others = len(shot.shots(scene)) > 1
    shot.set_range(scene, frames)
    if others:
        scene.frame_start = min(before[0], scene.frame_start)
        scene.frame_end = max(before[1], scene.frame_end)
    kept.range_first, kept.range_last = scene.frame_start, scene.frame_end
