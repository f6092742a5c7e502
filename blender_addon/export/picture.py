# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of the hands over the plate, rendered in a separate scene, so that the user's settings do not change."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from inference_core.shared.errors import RequestError
from inference_core.shared.picture_sequences import LAST_FRAME

from ..scene import fcurves, shot
from ..scene.stage import stage
from .whole import written_whole

SAMPLES = 24
_WIDEST = 65_536  # Blender's own limit
_PLATE_DISTANCE = 0.9  # of the camera's clip end: behind everything, but not clipped
_PLATE_MARGIN = 1.05  # beyond the picture's edge, where pixels blend with what is outside
_SUN_STRENGTH, _SKY_STRENGTH = 2.5, 0.5
# The hands get different colours in the picture, regardless of their skins in the scene.
_SIDE_TINTS = ((0.75, 0.30, 0.22, 1.0), (0.22, 0.40, 0.75, 1.0))


def render_over_plate(
    scene: bpy.types.Scene, collection: bpy.types.Collection, path: Path, frame: int, width: int | None = None
) -> None:
    """Write a PNG of the shot at a scene frame, seen by its camera, with the footage behind the hands.

    width in pixels: the scene's own if None. RequestError if there is no camera, Blender does not know such a frame or
    width, or the file cannot be written.
    """
    camera: Any = collection.duohand.camera
    if camera is None:
        raise RequestError(f"{collection.name} has no camera to render from.")
    if not -LAST_FRAME <= frame <= LAST_FRAME or not (width is None or 4 <= width <= _WIDEST):
        raise RequestError(f"A picture is 4 to {_WIDEST} pixels wide, of a frame up to {LAST_FRAME}.")
    hands = shot.armatures(collection)
    skins = [hand.duohand.skin for hand in hands.values() if hand.duohand.skin is not None]
    with (
        written_whole(path, ".png") as file,
        stage(scene, f"{collection.name} picture", [camera, *hands.values(), *skins]) as alone,
    ):
        _copy_render(scene, alone, width)
        alone.camera = camera
        alone.frame_set(frame)
        alone.render.filepath = str(file)
        # The operator's own `scene` argument would render the context's frame, not that scene's.
        context = bpy.context.temp_override(scene=alone, view_layer=alone.view_layers[0])
        with _furnished(alone, camera, frame), _tinted(dict(zip(hands, skins, strict=False))), context:
            bpy.ops.render.render(write_still=True)


def _copy_render(source: bpy.types.Scene, scene: bpy.types.Scene, width: int | None) -> None:
    render, given = scene.render, source.render
    render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = SAMPLES, False
    render.resolution_x, render.resolution_y = given.resolution_x, given.resolution_y
    render.pixel_aspect_x, render.pixel_aspect_y = given.pixel_aspect_x, given.pixel_aspect_y
    render.resolution_percentage = 100 if width is None else max(1, round(100 * width / given.resolution_x))
    render.image_settings.file_format = "PNG"
    scene.view_settings.view_transform = "Standard"  # keeps the plate's colours


@contextmanager
def _furnished(scene: bpy.types.Scene, camera: Any, frame: int) -> Iterator[None]:
    """A context in which the scene has light, sky and the plate."""
    sun = bpy.data.lights.new("Duohand sun", "SUN")
    sun.energy, sun.angle = _SUN_STRENGTH, 0.2
    lamp = bpy.data.objects.new("Duohand sun", sun)
    # From above and the left, behind the camera.
    lamp.matrix_world = camera.matrix_world @ Matrix.Rotation(-0.7, 4, "X") @ Matrix.Rotation(-0.5, 4, "Y")
    scene.collection.objects.link(lamp)
    world = bpy.data.worlds.new("Duohand sky")
    world.color = (_SKY_STRENGTH,) * 3
    scene.world = world
    made: list[Any] = [sun, world]
    images = camera.data.background_images
    if images and images[0].image is not None:
        made += _hang_plate(scene, camera, images[0], frame)
    try:
        yield
    finally:
        bpy.data.objects.remove(lamp)
        for block in made:
            bpy.data.batch_remove([block])


def _hang_plate(scene: bpy.types.Scene, camera: Any, background: Any, frame: int) -> Sequence[Any]:
    """A plane that fills the camera's view and shows the footage's frame, unlit. Returns
    the objects to remove afterwards.
    """
    material = bpy.data.materials.new("Duohand plate")
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    texture, light = nodes.new("ShaderNodeTexImage"), nodes.new("ShaderNodeEmission")
    output = nodes.new("ShaderNodeOutputMaterial")
    texture.image, texture.extension = background.image, "EXTEND"
    # The offset may be animated: only the evaluated camera has its value on this frame.
    shown: Any = camera.evaluated_get(scene.view_layers[0].depsgraph)
    user = shown.data.background_images[0].image_user
    texture.image_user.frame_start, texture.image_user.frame_duration = frame, 1
    texture.image_user.frame_offset = frame - user.frame_start + user.frame_offset
    links.new(texture.outputs["Color"], light.inputs["Color"])
    links.new(light.outputs["Emission"], output.inputs["Surface"])
    distance = camera.data.clip_end * _PLATE_DISTANCE
    corners = np.array(list(camera.data.view_frame(scene=scene)))  # right top, then clockwise
    corners *= distance / -corners[:, 2:]
    corners += (_PLATE_MARGIN - 1) * (corners - corners.mean(0))
    mesh = bpy.data.meshes.new("Duohand plate")
    mesh.from_pydata(corners.tolist(), [], [(0, 1, 2, 3)])
    uvs = 0.5 + _PLATE_MARGIN * (np.array([1, 1, 1, 0, 0, 0, 0, 1], np.float32) - 0.5)
    mesh.uv_layers.new().uv.foreach_set("vector", uvs)
    mesh.materials.append(material)
    plane = bpy.data.objects.new("Duohand plate", mesh)
    plane.matrix_world = camera.matrix_world
    plane.visible_shadow = plane.visible_diffuse = plane.visible_glossy = False
    scene.collection.objects.link(plane)
    return [plane, mesh, material]


@contextmanager
def _tinted(skins: dict[int, Any]) -> Iterator[None]:
    """A context in which left and right have different colours."""
    made: list[Any] = []
    for side, skin in skins.items():
        given = skin.data.materials[0]
        tinted = given.copy()
        shader: Any = next(node for node in tinted.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
        shader.inputs["Base Color"].default_value = _SIDE_TINTS[side]
        skin.data.materials[0] = tinted
        made.append((skin, given, tinted))
    try:
        yield
    finally:
        for skin, given, tinted in made:
            skin.data.materials[0] = given
            fcurves.remove_if_unused(tinted)
