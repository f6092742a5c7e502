# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes and footage of shots when the .blend is saved, saved elsewhere, or opened where its project has moved."""

from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ..preferences import takes_folder
from ..scene import paths, plate

_KEPT = ("take_path", "footage")


def takes_folder_of(scene: Any) -> Path:
    """Where the scene's takes go: the chosen folder, else beside the .blend file, else the add-on's own folder."""
    if scene.duohand.take_folder:
        return Path(bpy.path.abspath(scene.duohand.take_folder))
    return Path(bpy.data.filepath).parent / "duohand" if bpy.data.filepath else takes_folder()


def missing(path: str) -> bool:
    """Whether a path is kept and nothing is there."""
    return bool(path) and plate.first_file(Path(paths.absolute(path))) is None


def relink(shot: bpy.types.Collection) -> None:
    """Look for the shot's take and footage where its project lies now."""
    kept: Any = shot.duohand
    for name in _KEPT:
        there = paths.found(getattr(kept, name), kept.take_path) if missing(getattr(kept, name)) else None
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


def relate(blend: str, now: str) -> None:
    """Turn the paths of all local shots and captures, which are right beside the .blend `now`, right beside `blend`."""
    for owner, name in _owners():
        path = getattr(owner, name)
        whole = bpy.path.abspath(path, start=str(Path(now).parent)) if now else path
        kept = paths.stored(whole, blend)
        if kept != path:
            setattr(owner, name, kept)


def _owners() -> list[tuple[Any, str]]:
    local = [item for item in bpy.data.collections if item.duohand.is_shot and item.library is None]
    shots = [(item.duohand, name) for item in local for name in _KEPT]
    scenes = [item.duohand for item in bpy.data.scenes if item.library is None]
    return shots + [(capture, name) for capture in scenes for name in ("footage", "take_folder")]


@persistent
def _before_saving(*arguments: Any) -> None:
    target = _target(arguments)
    if target:
        relate(target, bpy.data.filepath)


@persistent
def _after_saving(*arguments: Any) -> None:
    target = _target(arguments)
    if (
        target and bpy.data.filepath and target != bpy.data.filepath
    ):  # a copy was saved; the open file goes on
        relate(bpy.data.filepath, target)


def _target(arguments: tuple[Any, ...]) -> str:
    """The .blend that is written, as Blender tells its handlers."""
    return next((item for item in arguments if isinstance(item, str)), "") or bpy.data.filepath


@persistent
def _after_opening(*_arguments: Any) -> None:
    for shot in bpy.data.collections:
        if shot.duohand.is_shot and shot.library is None:
            relink(shot)


def _handlers() -> tuple[tuple[Any, Any], ...]:
    handlers = bpy.app.handlers
    return (
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
