# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a skin's mesh is still as its take was loaded. What was painted or sculpted is kept before it goes."""

import hashlib
from collections.abc import Iterable
from typing import Any

import bpy
import numpy as np

from inference_core.shared.take import Take

from . import hand_mesh, shot
from .rest_bones import bone_names


def remember(skin: bpy.types.Object, names: tuple[str, ...], is_new: bool) -> None:
    """Note the skin's mesh as its take's; is_new: its UVs, too, are the take's."""
    skin.duohand.loaded_skin = _moved_digest(skin, names)
    if is_new:
        skin.duohand.loaded_surface = _surface_digest(skin, names)


def keep_edited(collection: bpy.types.Collection, take: Take) -> list[str]:
    """Keep the mesh of each skin of the shot that was edited where the take is about to write; a line for each.

    The take moves a mesh that has its faces, so only vertices, weights and correctives change; else it makes a new one.
    """
    said: list[str] = []
    for side, armature in shot.armatures(collection).items():
        skin: Any = armature.duohand.skin
        if skin is None or skin.data.use_fake_user or not skin.duohand.loaded_skin:
            continue
        names, loaded = bone_names(side), skin.duohand
        is_whole = loaded.loaded_skin == _moved_digest(skin, names)
        if is_whole and not hand_mesh.fits(skin.data, take, side):
            is_whole = loaded.loaded_surface in ("", _surface_digest(skin, names))
        if is_whole:
            continue
        skin.data.name, skin.data.use_fake_user = f"{skin.name} edited", True
        said.append(f"{skin.name} had been edited: its earlier mesh is kept as {skin.data.name}.")
    return said


def locked_groups(collection: bpy.types.Collection) -> list[str]:
    """A line for each skin of the shot whose weights stay because their vertex groups are locked."""
    said: list[str] = []
    for side, armature in shot.armatures(collection).items():
        skin: Any = armature.duohand.skin
        groups = skin.vertex_groups if skin is not None else ()
        locked = [item.name for item in groups if item.lock_weight and item.name in bone_names(side)]
        if locked:
            said.append(f"Weights of {skin.name} in locked vertex groups stay as they were ({locked[0]}).")
    return said


def _moved_digest(skin: Any, names: tuple[str, ...]) -> str:
    """A digest of what a take writes: vertices, weights of unlocked groups, correctives."""
    mesh = skin.data
    mine = {
        group.index: group.name
        for group in skin.vertex_groups
        if group.name in names and not group.lock_weight
    }
    weights = [
        sorted((mine[item.group], item.weight) for item in vertex.groups if item.group in mine)
        for vertex in mesh.vertices
    ]
    keys = [
        key.data
        for key in (mesh.shape_keys.key_blocks if mesh.shape_keys is not None else ())
        if hand_mesh.is_corrective(key.name, names)
    ]
    return _digest(repr(weights), [("co", 3, part) for part in (mesh.vertices, *keys)])


def _surface_digest(skin: Any, names: tuple[str, ...]) -> str:
    """A digest of UVs, and of the names of colours and of further shape keys: no take has either."""
    mesh = skin.data
    keys = mesh.shape_keys.key_blocks[1:] if mesh.shape_keys is not None else ()
    named = [item.name for item in mesh.color_attributes]
    named += [key.name for key in keys if not hand_mesh.is_corrective(key.name, names)]
    return _digest(repr(named), [("vector", 2, layer.uv) for layer in mesh.uv_layers])


def _digest(text: str, parts: Iterable[tuple[str, int, Any]]) -> str:
    found = hashlib.blake2b(text.encode(), digest_size=16)
    for name, width, part in parts:
        values = np.empty(width * len(part), np.float32)
        part.foreach_get(name, values)
        found.update(values.tobytes())
    return found.hexdigest()
