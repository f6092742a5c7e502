# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene of their own for objects that are to be read or exported, for as long as that lasts.

Exporters go by selection, visibility and the scene's range, and stepping through a shot costs what its scene shows. On
a stage the chosen objects are selected and seen whatever the user has hidden, nothing else is evaluated, and the
user's selection, frame and view stay as they are.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import bpy


@contextmanager
def stage(source: bpy.types.Scene, things: Sequence[bpy.types.Object]) -> Iterator[bpy.types.Scene]:
    """A scene that holds just these objects, the first one active, at the source's range and rate."""
    scene = bpy.data.scenes.new(f"{source.name} stage")
    try:
        scene.render.fps, scene.render.fps_base = source.render.fps, source.render.fps_base
        scene.frame_start, scene.frame_end = source.frame_start, source.frame_end
        scene.unit_settings.system = source.unit_settings.system
        scene.unit_settings.scale_length = source.unit_settings.scale_length
        layer = scene.view_layers[0]
        for thing in things:
            scene.collection.objects.link(thing)
            thing.select_set(True, view_layer=layer)
        layer.objects.active = things[0]
        scene.frame_set(source.frame_start)
        yield scene
    finally:
        bpy.data.scenes.remove(scene)
