# SPDX-License-Identifier: GPL-3.0-or-later
"""The skin of one hand: a mesh with the shape applied, weights on the bones, and driven correctives."""

from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from inference_core.shared.take import Take

from .axes import points_from_rest
from .correctives import PRODUCTS, Corrective, correctives

_MATERIAL = "Duohand skin"
_SKIN_COLOUR = (0.62, 0.38, 0.28, 1.0)
_LEAST_WEIGHT = 1e-5
_UV_NAME = "UVMap"
_REST = "Rest"


def fits(mesh: Any, take: Take, side: int) -> bool:
    """Whether the mesh has the faces of the take's hand, so that its vertices need only be moved."""
    faces = take.faces[side]
    if (len(mesh.vertices), len(mesh.loops), len(mesh.polygons)) != (
        len(take.rest_vertices_m[side]),
        faces.size,
        len(faces),
    ):
        return False
    corners = np.empty(faces.size, np.int32)
    mesh.loops.foreach_get("vertex_index", corners)
    return np.array_equal(corners, faces.ravel())


def move_to(mesh: Any, take: Take, side: int, scale: float) -> None:
    """Move the vertices of a mesh that `fits` to the side's resting hand; all shape keys move along."""
    rest = _rest_points(take, side, scale)
    if mesh.shape_keys is not None:
        shift = rest - _points(mesh.shape_keys.reference_key.data)
        for key in mesh.shape_keys.key_blocks:
            key.data.foreach_set("co", _points(key.data) + shift)
    mesh.vertices.foreach_set("co", rest)
    mesh.update()


def is_corrective(key: str, names: tuple[str, ...]) -> bool:
    """Whether a shape key of that name is one of the correctives of the hand with these bones."""
    bone, _, product = key.rpartition(" ")
    return bone in names and product in PRODUCTS


def mesh_from_take(name: str, take: Take, side: int, scale: float) -> bpy.types.Mesh:
    """A new mesh of the side's resting hand, the wrist at its origin: smooth, with the take's UVs if it has any."""
    points = _rest_points(take, side, scale)
    faces = take.faces[side]
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(points) // 3)
    mesh.vertices.foreach_set("co", points)
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

    Others stay, and so does another parent of a skin that the armature moves already. Locked groups keep their weights.
    """
    if all(item.type != "ARMATURE" or item.object != armature for item in skin.modifiers):
        skin.parent = armature
    everything = list(range(len(weights)))
    for index, name in enumerate(names):
        group = skin.vertex_groups.get(name)
        if group is None:
            group = skin.vertex_groups.new(name=name)
        elif group.lock_weight:
            continue
        else:
            group.remove(everything)
        for vertex in np.flatnonzero(weights[:, index] > _LEAST_WEIGHT):
            group.add([int(vertex)], float(weights[vertex, index]), "REPLACE")
    deformers = [
        item for item in skin.modifiers if item.type == "ARMATURE" and item.object in (None, armature)
    ]
    if deformers:
        deformers[0].object = armature
        return
    modifier = skin.modifiers.new("Armature", "ARMATURE")
    modifier.object = armature
    modifier.use_deform_preserve_volume = False  # the model's own correctives do this


def set_correctives(
    skin: bpy.types.Object, armature: bpy.types.Object, names: tuple[str, ...], keys: list[Corrective]
) -> None:
    """Give the skin these correctives as driven shape keys, and no others; an animator's own keys stay.

    Those that are there already keep their drivers and settings.
    """
    mesh: Any = skin.data
    wanted = {f"{names[key.joint]} {key.product}": key for key in keys}
    there = list(mesh.shape_keys.key_blocks) if mesh.shape_keys is not None else []
    for block in there:
        if is_corrective(block.name, names) and block.name not in wanted:
            block.driver_remove("value")
            skin.shape_key_remove(block)
    if not wanted:
        if len(there) and len(mesh.shape_keys.key_blocks) == 1:
            skin.shape_key_remove(mesh.shape_keys.key_blocks[0])
        return
    if mesh.shape_keys is None:
        skin.shape_key_add(name=_REST, from_mix=False)
    rest = _points(mesh.vertices)
    driven = _driven(mesh.shape_keys)
    for name, key in wanted.items():
        block: Any = mesh.shape_keys.key_blocks.get(name)
        if block is None:
            block = skin.shape_key_add(name=name, from_mix=False)
            block.slider_min, block.slider_max = -1.0, 1.0
        block.data.foreach_set("co", rest + key.offsets.astype(np.float32).ravel())
        if name not in driven:
            block.driver_remove("value")
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


def _rest_points(take: Take, side: int, scale: float) -> NDArray[np.float32]:
    """The resting hand's points (3 V,), the wrist at the origin."""
    points = points_from_rest(take.rest_vertices_m[side], take.rest_joints_m[side, 0], scale)
    return points.astype(np.float32).ravel()


def _points(part: Any) -> NDArray[np.float32]:
    """The coordinates (3 V,) of vertices, or of a shape key's points."""
    found = np.empty(3 * len(part), np.float32)
    part.foreach_get("co", found)
    return found


def _driven(keys: Any) -> set[str]:
    """Names of the shape keys whose drivers still have what they read from."""
    curves = keys.animation_data.drivers if keys.animation_data is not None else ()
    whole = [
        curve.data_path
        for curve in curves
        if all(target.id is not None for item in curve.driver.variables for target in item.targets)
    ]
    return {block.name for block in keys.key_blocks if block.path_from_id("value") in whole}


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
