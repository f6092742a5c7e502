# SPDX-License-Identifier: GPL-3.0-or-later
"""Shots whose collection was deleted while their hands stayed: the shot's empty remembers what the collection knew."""

from collections.abc import Iterator
from typing import Any

import bpy

from .shot import all_shots, armatures, shots


def remember(collection: bpy.types.Collection) -> None:
    """Keep a copy of the shot's properties on its empty."""
    place: Any = collection.duohand.place
    if place is not None and place.is_editable:
        _copy(collection.duohand, place.duohand_kept)


def orphaned(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """Empties in the scene that carry hands of a shot whose collection is not there any more."""
    known = {shot.duohand.place for shot in shots(scene)}
    things: Any = scene.objects
    return [
        thing
        for thing in things
        if thing.duohand_kept.is_shot
        and thing not in known
        and thing.is_editable
        and any(child.type == "ARMATURE" and child.duohand.side != "NONE" for child in thing.children)
    ]


def unlinked() -> list[bpy.types.Collection]:
    """Shots that are in no scene any more, and which the file would lose when it is saved."""
    return [item for item in all_shots() if not item.users and item.library is None and armatures(item)]


def adopt(scene: bpy.types.Scene, place: Any) -> bpy.types.Collection:
    """A collection in the scene with what the empty carries and the shot's properties as they were."""
    collections: Any = bpy.data.collections
    unlinked = [item for item in collections if item.duohand.place == place]
    collection = unlinked[0] if unlinked else collections.new(place.name.removesuffix(" place"))
    scene.collection.children.link(collection)
    _copy(place.duohand_kept, collection.duohand)
    for thing in _carried(place):
        if thing.name not in collection.all_objects:
            collection.objects.link(thing)
        if thing.name in scene.collection.objects:
            scene.collection.objects.unlink(thing)
    return collection


def _carried(place: Any) -> Iterator[bpy.types.Object]:
    """The empty, what is parented to it, and the hands' skins."""
    yield place
    for child in place.children_recursive:
        yield child
        skin = child.duohand.skin
        if skin is not None and skin.users_collection:
            yield skin


def _copy(source: Any, target: Any) -> None:
    """Copy a group of properties. The camera comes last: a change of the footage would relink its plate."""
    target.camera = None
    later = {"camera": source.camera}
    for item in source.bl_rna.properties:
        name = item.identifier
        if item.type == "COLLECTION":
            getattr(target, name).clear()
            for part in getattr(source, name):
                made = getattr(target, name).add()
                for field in part.bl_rna.properties:
                    if not field.is_readonly:
                        setattr(made, field.identifier, getattr(part, field.identifier))
        elif not item.is_readonly and name not in later:
            setattr(target, name, getattr(source, name))
    target.camera = later["camera"]
