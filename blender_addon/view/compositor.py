# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's compositor with the footage behind the render, on the frames that the camera's plate shows.

Blender 5 keeps the compositor in a separate node group (`compositing_node_group`) that ends in a Group
Output; before that it was the scene's `node_tree`, ending in a Composite node. Existing nodes stay: the
plate is inserted before the end.
"""

from typing import Any, Final

import bpy
import numpy as np

from inference_core.shared.errors import RequestError

from ..scene import fcurves
from ..scene.plate import background, offset_path
from ..scene.shot import in_file

_PLATE: Final = "Duohand Plate"
_FIT: Final = "Duohand Plate Fit"
_OVER: Final = "Duohand Over Plate"
_DARK: Final = 0.2  # the factory scene's world has 0.05
_SUN_W_PER_M2: Final = 4.0
_OVER_THE_SHOULDER: Final = (-0.6, 0.4, 0.0)  # radians, in the camera's axes


def render_over_footage(scene: bpy.types.Scene, shot: bpy.types.Collection) -> list[str]:
    """Set the scene up to render the shot over its footage; returns a line for each further change.

    RequestError if the shot shows no footage.
    """
    camera: Any = in_file(shot.duohand.camera)
    behind = background(camera) if camera is not None else None
    if behind is None:
        raise RequestError(f"{shot.name} shows no footage. Choose its location in the Take panel's Files.")
    scene.camera = camera
    scene.render.film_transparent = scene.render.use_compositing = True
    tree = _tree(scene)
    _insert_plate(tree, scene, behind.image)
    _time_plate(tree, camera, behind.image_user)
    return [*_in_its_colours(scene), *_lit(scene, shot)]


def _in_its_colours(scene: bpy.types.Scene) -> list[str]:
    said: list[str] = []
    settings: Any = scene.view_settings
    if settings.view_transform != "Standard":
        said.append(
            f"View Transform became Standard, for the footage's own colours; it was {settings.view_transform}."
        )
        settings.view_transform, settings.look = "Standard", "None"
    return said


def _lit(scene: bpy.types.Scene, shot: bpy.types.Collection) -> list[str]:
    """Light a scene in which the hands would be black."""
    if any(item.type == "LIGHT" for item in scene.objects):
        return []
    if scene.world is None:
        scene.world = bpy.data.worlds.new("World")
        scene.world.color = (0.6, 0.6, 0.6)
        return ["The scene had neither light nor world: it has a grey world now."]
    if not _is_dark(scene.world):
        return []
    sun = bpy.data.objects.new(f"{shot.name} light", bpy.data.lights.new(f"{shot.name} light", "SUN"))
    sun.data.energy = _SUN_W_PER_M2
    sun.parent, sun.rotation_euler = shot.duohand.camera, _OVER_THE_SHOULDER
    shot.objects.link(sun)
    return ["The scene had no light and a dark world: a sun shines over the camera's shoulder now."]


def _is_dark(world: Any) -> bool:
    """Whether the world is of a single dark colour."""
    if not world.use_nodes:
        return max(world.color) < _DARK
    backgrounds = [node for node in world.node_tree.nodes if node.type == "BACKGROUND"]
    colours = [node.inputs["Color"] for node in backgrounds]
    strengths = [node.inputs["Strength"] for node in backgrounds]
    if any(item.is_linked for item in (*colours, *strengths)):
        return False
    shown = zip(colours, strengths, strict=True)
    return all(max(colour.default_value[:3]) * strength.default_value < _DARK for colour, strength in shown)


def _tree(scene: Any) -> Any:
    """The scene's compositor; a new one if there is none."""
    if not hasattr(scene, "compositing_node_group"):
        scene.use_nodes = True
        return scene.node_tree
    if scene.compositing_node_group is None:
        group: Any = bpy.data.node_groups.new("Compositor", "CompositorNodeTree")
        group.interface.new_socket(name="Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        scene.compositing_node_group = group
    return scene.compositing_node_group


def _insert_plate(tree: Any, scene: bpy.types.Scene, image: Any) -> None:
    """Insert the plate, fitted to the picture, under the input of the tree's end; an existing one gets the image."""
    plate = tree.nodes.get(_PLATE)
    if plate is None:
        end = _end(tree)
        came = (
            end.inputs[0].links[0].from_socket
            if end.inputs[0].links
            else _layers(tree, scene).outputs["Image"]
        )
        plate, fit, over = (
            _node(tree, kind, name, end, place)
            for kind, name, place in (
                ("CompositorNodeImage", _PLATE, (-600, -300)),
                ("CompositorNodeScale", _FIT, (-400, -300)),
                ("CompositorNodeAlphaOver", _OVER, (-200, 0)),
            )
        )
        _fill_picture(fit)
        tree.links.new(plate.outputs["Image"], fit.inputs["Image"])
        under, above = _pictures(over)
        tree.links.new(fit.outputs["Image"], under)
        tree.links.new(came, above)
        tree.links.new(over.outputs["Image"], end.inputs[0])
    plate.image = image


def _end(tree: Any) -> Any:
    """The node whose first input is the render's result: the active one of its kind, a new one if there is none."""
    kind = "CompositorNodeComposite" if hasattr(bpy.types, "CompositorNodeComposite") else "NodeGroupOutput"
    ends = [node for node in tree.nodes if node.bl_idname == kind]
    end = next((node for node in ends if getattr(node, "is_active_output", True)), None)
    if end is None:
        end = tree.nodes.new(kind)
        end.location = (400, 0)
    return end


def _layers(tree: Any, scene: bpy.types.Scene) -> Any:
    found = next((node for node in tree.nodes if node.bl_idname == "CompositorNodeRLayers"), None)
    if found is None:
        found = tree.nodes.new("CompositorNodeRLayers")
        found.scene, found.location = scene, (-300, 300)
    return found


def _node(tree: Any, kind: str, name: str, end: Any, place: tuple[int, int]) -> Any:
    node = tree.nodes.new(kind)
    node.name = node.label = name
    node.location = (end.location[0] + place[0], end.location[1] + place[1])
    return node


def _fill_picture(fit: Any) -> None:
    """Scale to the size of the render, keeping the footage's aspect, as the camera's background does."""
    if hasattr(fit, "space"):
        fit.space, fit.frame_method = "RENDER_SIZE", "FIT"
    else:
        fit.inputs["Type"].default_value, fit.inputs["Frame Type"].default_value = "Render Size", "Fit"


def _pictures(over: Any) -> tuple[Any, Any]:
    """The inputs for the lower and the upper picture; their names differ between versions."""
    named = {item.name: item for item in over.inputs}
    if "Background" in named:
        return named["Background"], named["Foreground"]
    first, second = [item for item in over.inputs if item.type == "RGBA"][:2]
    return first, second


def _time_plate(tree: Any, camera: Any, user: Any) -> None:
    """The same frames of the footage as the camera's background shows."""
    node = tree.nodes[_PLATE]
    node.frame_start, node.frame_duration = user.frame_start, user.frame_duration
    node.use_auto_refresh = True
    node.frame_offset = user.frame_offset
    shown = fcurves.active_channels(camera.data)
    keys = fcurves.read_keys(shown, offset_path(camera), 1) if shown is not None else None
    path = f'nodes["{_PLATE}"].frame_offset'
    if keys is None:
        keys = fcurves.held_keys(np.zeros(0), np.zeros(0))
    if fcurves.active_channels(tree) is not None or len(keys.frames):
        channels = fcurves.writable(tree, "Plate in the compositor")
        fcurves.write_keys(channels, path, "Plate", keys)
