# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's compositor with the footage behind the render, on the frames that the camera's plate shows.

Blender 5 keeps the compositor in a separate node group (`compositing_node_group`) that ends in a Group
Output; before that it was the scene's `node_tree`, ending in a Composite node. Existing nodes stay: the
plate is inserted before the end.
"""

from typing import Any, Final

import bpy

from inference_core.shared.errors import RequestError

from ..scene import fcurves
from ..scene.plate import background, offset_path
from ..scene.shot import in_file

_PLATE: Final = "Duohand Plate"
_FIT: Final = "Duohand Plate Fit"
_OVER: Final = "Duohand Over Plate"


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
    return _said(scene)


def _said(scene: bpy.types.Scene) -> list[str]:
    said: list[str] = []
    settings: Any = scene.view_settings
    if settings.view_transform != "Standard":
        said.append(
            f"View Transform became Standard, for the footage's own colours; it was {settings.view_transform}."
        )
        settings.view_transform, settings.look = "Standard", "None"
    if scene.world is None and not any(item.type == "LIGHT" for item in scene.objects):
        scene.world = bpy.data.worlds.new("World")
        scene.world.color = (0.6, 0.6, 0.6)
        said.append("The scene had neither light nor world: it has a grey world now.")
    return said


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
    channels = fcurves.active_channels(tree)
    if channels is not None:
        old = channels.fcurves.find(path)
        if old is not None:
            channels.fcurves.remove(old)
    if keys is not None:
        channels = channels or fcurves.assign_new_action(tree, "Plate in the compositor")
        fcurves.write_keys(channels, path, "Plate", keys)
