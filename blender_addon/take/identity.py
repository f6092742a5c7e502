# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds a take's shot in the scene, by its footage, and where that footage is now."""

from pathlib import Path
from typing import Any

import bpy

from inference_core.shared.errors import RequestError
from inference_core.shared.take import Take

from ..scene import orphans, paths, shot
from .settings import ApplySettings


class _Remembered:
    """A shot as its empty remembers it, with what the search for its files asks of a collection."""

    def __init__(self, place: Any) -> None:
        self.duohand = place.duohand_kept
        self.library, self.override_library = place.library, place.override_library


def find_shot(
    scene: bpy.types.Scene, take: Take, take_path: str, settings: ApplySettings
) -> bpy.types.Collection | None:
    """The shot that the take updates: the one of the settings, by itself or by name, else one with the same footage.

    A take without stated footage belongs to the shot of its own file. Of several, as after a shot was duplicated, it
    is the one that has this file for its take, else the one that the active object belongs to. Hands whose collection
    was deleted get it back, and a shot that was unlinked is linked again. None: a new shot is to be made.
    """
    if settings.existing == "NEW":
        return None
    there = shot.shots(scene)
    if settings.shot is not None:
        if settings.shot not in there:
            scene.collection.children.link(settings.shot)
        return settings.shot
    if settings.name:
        return next((item for item in there if item.name == settings.name), None)
    mine = _keys(settings.footage or stated_footage(take), footage_file(take, take_path, settings.footage))
    matching = [item for item in there if _is_of(item, mine, take_path)]
    if not matching:
        left = [place for place in orphans.orphaned(scene) if _is_of(_Remembered(place), mine, take_path)]
        matching = [orphans.adopt(scene, place) for place in left[:1]]
    if not matching:
        matching = [item for item in orphans.unlinked() if _is_of(item, mine, take_path)][:1]
        for item in matching:
            scene.collection.children.link(item)
    own = [item for item in matching if _same_file(paths.take_file(item), take_path)]
    return shot.active_among(scene, own or matching)


def check_editable(collection: bpy.types.Collection) -> None:
    """Raise a RequestError if the shot is linked from another file, since changes would be lost on reopening."""
    kept, hands = collection.duohand, list(shot.armatures(collection).values())
    skins = [hand.duohand.skin for hand in hands]
    mine = [collection, kept.place, None if kept.own_camera else kept.camera, *hands, *skins]
    blocks = [item for item in mine if item is not None]
    linked = [item for item in blocks if item.library is not None or item.override_library is not None]
    if linked:
        library = linked[0].library or linked[0].override_library.reference.library
        raise RequestError(
            f"The shot {collection.name} is linked from {library.filepath}, and changes to it would be lost. "
            "Load the take in that file, or here as a new shot (Existing: New Shot)."
        )


def check_not_edited(collection: bpy.types.Collection) -> None:
    """Raise a RequestError if a skin is in Edit Mode or painted: Blender does not let it be bound to the hand then."""
    for hand in shot.armatures(collection).values():
        skin = hand.duohand.skin
        if skin is not None and skin.mode != "OBJECT":
            raise RequestError(f"{skin.name} is being edited or painted. Go back to Object Mode first.")


def stated_footage(take: Take) -> str:
    """The footage that the take was made from, according to the take; empty if it does not say."""
    footage = take.meta.get("footage")
    path = footage.get("path") if isinstance(footage, dict) else footage
    return path if isinstance(path, str) else ""


def footage_file(take: Take, take_path: str, footage: str = "") -> Path | None:
    """The footage's current place: as given or stated, else beside the .blend or the take; None if it is gone."""
    return paths.found(footage or stated_footage(take), take_path)


def shot_name(take: Take, take_path: str, footage: str = "") -> str:
    """The shot's name: the footage's, else the take's."""
    named = footage or stated_footage(take)
    return (paths.footage_name(named) if named else "") or Path(take_path).stem or "Duohand"


def _is_of(item: Any, mine: set[str], take_path: str) -> bool:
    """Whether the shot shows the footage with those keys, or the take itself where either has none."""
    kept = item.duohand
    theirs = _keys(kept.footage_key, paths.found(kept.footage, kept.take_path))
    return bool(mine & theirs) or (not (mine and theirs) and _same_file(paths.take_file(item), take_path))


def _keys(stated: str, there: Path | None) -> set[str]:
    return {paths.footage_key(path) for path in (stated, str(there) if there else "") if path}


def _same_file(one: str, other: str) -> bool:
    return bool(one and other) and Path(paths.absolute(one)) == Path(paths.absolute(other))
