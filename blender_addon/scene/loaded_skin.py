# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a skin's mesh is still as its take was loaded. What was painted or sculpted is kept before it goes."""

import hashlib
from typing import Any

import bpy
import numpy as np

from . import shot


def remember(skin: bpy.types.Object) -> None:
    """Note the skin's mesh as its take's."""
    skin.duohand.loaded_skin = _digest(skin)


def keep_edited(collection: bpy.types.Collection) -> list[str]:
    """Keep the mesh of each skin of the shot that was edited, though the skin will get another; a line for each."""
    said: list[str] = []
    for armature in shot.armatures(collection).values():
        skin: Any = armature.duohand.skin
        if skin is None or skin.data.use_fake_user or skin.duohand.loaded_skin in ("", _digest(skin)):
            continue
        skin.data.name, skin.data.use_fake_user = f"{skin.name} edited", True
        said.append(f"{skin.name} had been edited: its earlier mesh is kept as {skin.data.name}.")
    return said


def _digest(skin: Any) -> str:
    """A digest of the mesh's vertices, weights, UVs and shape keys; no take has colours, so their names will do."""
    mesh = skin.data
    groups = [group.name for group in skin.vertex_groups]
    weights = [[(groups[item.group], item.weight) for item in vertex.groups] for vertex in mesh.vertices]
    found = hashlib.blake2b(
        repr((weights, [item.name for item in mesh.color_attributes])).encode(), digest_size=16
    )
    keys = mesh.shape_keys.key_blocks if mesh.shape_keys is not None else ()
    parts = [("co", 3, mesh.vertices), *(("co", 3, key.data) for key in keys)]
    parts += [("vector", 2, layer.uv) for layer in mesh.uv_layers]
    for name, width, part in parts:
        values = np.empty(width * len(part), np.float32)
        part.foreach_get(name, values)
        found.update(values.tobytes())
    return found.hexdigest()
