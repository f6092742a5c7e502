# SPDX-License-Identifier: GPL-3.0-or-later
"""Updates the paths of takes and footage when the .blend is saved, saved elsewhere, or its project has moved."""

from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ..preferences import takes_folder
from ..scene import paths, plate

_KEPT = ("take_path", "footage")


def takes_folder_of(scene: Any) -> Path:
    """The folder for the scene's takes: the chosen one, else beside the .blend file, else the add-on's own folder."""
    chosen = scene.duohand.take_folder
    # // has no meaning in a file never saved.
    if chosen and (bpy.data.filepath or not chosen.startswith("//")):
        return Path(bpy.path.abspath(chosen))
    return Path(bpy.data.filepath).parent / "duohand" if bpy.data.filepath else takes_folder()


def missing(shot: bpy.types.Collection, name: str) -> bool:
    """Whether the shot has a path of that name, but there is nothing at it."""
    path = getattr(shot.duohand, name)
    return bool(path) and plate.first_file(Path(paths.kept_file(shot, path))) is None


def relink(shot: bpy.types.Collection) -> None:
    """Find the shot's take and footage at the project's current place."""
    kept: Any = shot.duohand
    kept.beside = paths.folder_of(bpy.data.filepath)
    for name in _KEPT:
        there = paths.found(getattr(kept, name), kept.take_path) if missing(shot, name) else None
        if there is not None:
            setattr(kept, name, paths.stored(str(there)))
    camera = kept.camera
    image = plate.plate_image(camera) if camera is not None else None
    footage = plate.first_file(Path(paths.absolute(kept.footage))) if kept.footage else None
    if (
        camera is not None
        and image is not None
        and footage is not None
        and not Path(paths.absolute(image.filepath)).is_file()
    ):
        plate.relink_plate(camera, footage)


def adopt() -> None:
    """Make the paths of shots that were appended from another .blend relative to this one."""
    for shot in _local_shots():
        if paths.is_appended(shot):
            kept: Any = shot.duohand
            there = {
                name: paths.kept_file(shot, getattr(kept, name)) for name in _KEPT if getattr(kept, name)
            }
            kept.beside = paths.folder_of(bpy.data.filepath)
            for name, path in there.items():
                setattr(kept, name, paths.stored(path))


def relate(blend: str, now: str) -> None:
    """Make the paths of all local shots and captures relative to `blend` instead of `now`."""
    for owner, name in _owners():
        path = getattr(owner, name)
        whole = bpy.path.abspath(path, start=str(Path(now).parent)) if now else path
        kept = paths.stored(whole, blend)
        if kept != path:
            setattr(owner, name, kept)
    for shot in _local_shots():
        shot.duohand.beside = paths.folder_of(blend)


def _owners() -> list[tuple[Any, str]]:
    shots = [(item.duohand, name) for item in _local_shots() for name in _KEPT]
    scenes = [item.duohand for item in bpy.data.scenes if item.library is None]
    return shots + [(capture, name) for capture in scenes for name in ("footage", "take_folder")]


def _local_shots() -> list[Any]:
    return [
        item
        for item in bpy.data.collections
        if item.duohand.is_shot and item.library is None and item.override_library is None
    ]


@persistent
def _after_appending(*_arguments: Any) -> None:
    adopt()


@persistent
def _before_saving(*arguments: Any) -> None:
    target = _target(arguments)
    if target:
        adopt()
        relate(target, bpy.data.filepath)


@persistent
def _after_saving(*arguments: Any) -> None:
    target = _target(arguments)
    if (
        target and bpy.data.filepath and target != bpy.data.filepath
    ):  # a copy was saved; the open file stays open
        relate(bpy.data.filepath, target)


def _target(arguments: tuple[Any, ...]) -> str:
    """The .blend being written, as Blender tells its handlers."""
    return next((item for item in arguments if isinstance(item, str)), "") or bpy.data.filepath


@persistent
def _after_opening(*_arguments: Any) -> None:
    for shot in _local_shots():
        relink(shot)


def _handlers() -> tuple[tuple[Any, Any], ...]:
    handlers: Any = bpy.app.handlers
    imports = getattr(handlers, "blend_import_post", None)  # Blender 4.3 and later
    return (
        *(((imports, _after_appending),) if imports is not None else ()),
        (handlers.save_pre, _before_saving),
        (handlers.save_post, _after_saving),
        (handlers.load_post, _after_opening),
    )


def register() -> None:
    for handlers, function in _handlers():
        handlers.append(function)


def unregister() -> None:
    for handlers, function in _handlers():
        handlers.remove(function)
