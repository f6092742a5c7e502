# SPDX-License-Identifier: GPL-3.0-or-later
"""The skin of one hand: a mesh with the shape applied, weights on the bones, and driven correctives."""

from typing import Any

import bpy
import numpy as np

from inference_core.shared.take import Take

from .axes import points_from_rest
from .correctives import Corrective, correctives

_MATERIAL = "Duohand skin"
_SKIN_COLOUR = (0.62, 0.38, 0.28, 1.0)
_LEAST_WEIGHT = 1e-5
_UV_NAME = "UVMap"


def mesh_from_take(name: str, take: Take, side: int, scale: float) -> bpy.types.Mesh:
    """A new mesh of the side's resting hand, the wrist at its origin: smooth, with the take's UVs if it has any."""
    points = points_from_rest(take.rest_vertices_m[side], take.rest_joints_m[side, 0], scale)
    faces = take.faces[side]
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(points))
    mesh.vertices.foreach_set("co", points.astype(np.float32).ravel())
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(faces, np.int32).ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    if take.uvs is not None:
        layer = mesh.uv_layers.new(name=_UV_NAME)
        layer.uv.foreach_set("vector", np.ascontiguousarray(take.uvs[side], np.float32).ravel())
    mesh.update(calc_edges=True)
    mesh.shade_smooth()
    mesh.materials.append(skin_material())
    return mesh


def take_over(mesh: bpy.types.Mesh, old: Any) -> None:
    """Give the mesh another one's materials, those of its faces if it has as many, and its custom properties."""
    mesh.materials.clear()
    for material in old.materials:
        mesh.materials.append(material)
    if len(mesh.polygons) == len(old.polygons):
        faces = np.empty(len(mesh.polygons), np.int32)
        old.polygons.foreach_get("material_index", faces)
        mesh.polygons.foreach_set("material_index", faces)
    for name, value in old.items():
        mesh[name] = value


def bind(
    skin: bpy.types.Object, armature: bpy.types.Object, names: tuple[str, ...], weights: np.ndarray[Any, Any]
) -> None:
    """Attach the skin to the armature: vertex groups from weights (V, 16), the modifier, and with that the parent.

    Others stay, and so does another parent of a skin that the armature moves already.
    """
    if all(item.type != "ARMATURE" or item.object != armature for item in skin.modifiers):
        skin.parent = armature
    for index, name in enumerate(names):
        old = skin.vertex_groups.get(name)
        if old is not None:
            skin.vertex_groups.remove(old)
        group = skin.vertex_groups.new(name=name)
        for vertex in np.flatnonzero(weights[:, index] > _LEAST_WEIGHT):
            group.add([int(vertex)], float(weights[vertex, index]), "REPLACE")
    deformers = [
        item for item in skin.modifiers if item.type == "ARMATURE" and item.object in (None, armature)
    ]
    modifier = deformers[0] if deformers else skin.modifiers.new("Armature", "ARMATURE")
    modifier.object = armature
    modifier.use_deform_preserve_volume = False  # the model's own correctives do this


def add_correctives(
    skin: bpy.types.Object, armature: bpy.types.Object, names: tuple[str, ...], keys: list[Corrective]
) -> None:
    """Add the correctives to the skin as driven shape keys; it must not have any yet."""
    mesh: Any = skin.data
    rest = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", rest)
    skin.shape_key_add(name="Rest", from_mix=False)
    for key in keys:
        block: Any = skin.shape_key_add(name=f"{names[key.joint]} {key.product}", from_mix=False)
        block.data.foreach_set("co", rest + key.offsets.astype(np.float32).ravel())
        block.slider_min, block.slider_max = -1.0, 1.0
        _drive(block, armature, names[key.joint], key.product)


def take_correctives(take: Take, side: int, frames: np.ndarray[Any, Any], scale: float) -> list[Corrective]:
    """The correctives of the take's hand model; None if it has none."""
    return [] if take.pose_dirs is None else correctives(take.pose_dirs[side], frames, scale)


def skin_material() -> bpy.types.Material:
    """The skin material, common to all hands of the file; it may be edited freely."""
    material = bpy.data.materials.get(_MATERIAL)
    if material is not None:
        return material
    material = bpy.data.materials.new(_MATERIAL)
    material.diffuse_color = _SKIN_COLOUR
    if bpy.app.version < (5, 0, 0):  # later versions always use nodes
        material.use_nodes = True
    shader: Any = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = _SKIN_COLOUR
    shader.inputs["Roughness"].default_value = 0.45
    shader.inputs["Subsurface Weight"].default_value = 0.1
    shader.inputs["Subsurface Radius"].default_value = (0.01, 0.004, 0.002)
    return material


def _drive(block: Any, armature: bpy.types.Object, bone: str, product: str) -> None:
    """value = the product of two components of the bone's local rotation, whatever rotates it (keys, constraints)."""
    driver = block.driver_add("value").driver
    driver.type = "SCRIPTED"
    for component in sorted(set(product)):
        variable = driver.variables.new()
        variable.name, variable.type = component, "TRANSFORMS"
        target = variable.targets[0]
        target.id, target.bone_target = armature, bone
        target.transform_type = f"ROT_{component.upper()}"
        target.rotation_mode, target.transform_space = "QUATERNION", "LOCAL_SPACE"
    driver.expression = "*".join(product)
