# SPDX-License-Identifier: GPL-3.0-or-later
"""A temporary scene for objects that are to be read or exported.

Exporters depend on selection, visibility and the scene's range, and stepping through a shot costs as much as its
scene. On a stage the chosen objects are selected and visible whatever the user has hidden, nothing else is evaluated,
and the user's selection, frame and view do not change.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import bpy


@contextmanager
def stage(
    source: bpy.types.Scene, name: str, things: Sequence[bpy.types.Object]
) -> Iterator[bpy.types.Scene]:
    """A context with a scene of that name that holds only these objects, the first one active,
    at the source's range and rate.

    Exporters write the name into their files.
    """
    scene = bpy.data.scenes.new(name)
    try:
        scene.render.fps, scene.render.fps_base = source.render.fps, source.render.fps_base
        scene.frame_start, scene.frame_end = source.frame_start, source.frame_end
        scene.unit_settings.system = source.unit_settings.system
        scene.unit_settings.scale_length = source.unit_settings.scale_length
        layer = scene.view_layers[0]
        for thing in things:
            scene.collection.objects.link(thing)
            thing.select_set(True, view_layer=layer)
        for carrier in _carriers(
            things
        ):  # present, but not selected: exporters look for roots among a scene's objects
            scene.collection.objects.link(carrier)
        layer.objects.active = things[0]
        scene.frame_set(source.frame_start)
        yield scene
    finally:
        bpy.data.scenes.remove(scene)


def _carriers(things: Sequence[bpy.types.Object]) -> list[bpy.types.Object]:
    """The ancestors of these objects, without the objects themselves."""
    found: dict[bpy.types.Object, None] = {}
    for thing in things:
        parent = thing.parent
        while parent is not None:
            if parent not in things:
                found[parent] = None
            parent = parent.parent
    return list(found)
