# SPDX-License-Identifier: GPL-3.0-or-later
"""Viewing a shot: through its camera, its skins' look, and a render over the footage."""

import importlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from inference_core.shared.take import save_take
from tests.blender_addon import scenes
from tests.blender_addon.in_blender import EXTENSION
from tests.blender_addon.layouts import drawn


def load(folder: Path, name: str = "nobody", **options: Any) -> Any:
    """A shot of the made take, over footage whose n-th frame has the brightness 8 n (of 255)."""
    footage = folder / "counted.mp4"
    shutil.copy(scenes.takes_folder() / "counted.mp4", footage)
    take = scenes.made(name)
    save_take(replace(take, meta={**take.meta, "footage": {"path": str(footage)}}), folder / "counted.npz")
    assert bpy.ops.duohand.load_take(filepath=str(folder / "counted.npz"), place="ORIGIN", **options) == {
        "FINISHED"
    }
    return next(item for item in bpy.context.scene.collection.children if item.duohand.is_shot)


def rendered(path: Path, frame: int) -> np.ndarray:
    """(H, W, 4) of what F12 shows, 0 to 255, the bottom row first."""
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.render.resolution_x, scene.render.resolution_y = 64, 36
    scene.render.filepath = str(path)
    scene.frame_set(frame)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    pixels = np.array(image.pixels).reshape(36, 64, 4) * 255
    bpy.data.images.remove(image)
    return pixels


@pytest.mark.parametrize("rate", [24, 12])
def test_render_over_footage_shows_the_matching_frame(rate: int, tmp_path: Path) -> None:
    scene = scenes.empty_scene()
    scene.render.fps = rate
    load(tmp_path, timing="SECONDS")
    assert bpy.ops.duohand.render_over_footage() == {"FINISHED"}
    assert scene.render.film_transparent
    for frame in (1, 4, 11):
        grey = rendered(tmp_path / "seen.png", frame)[10:26, 22:42, :3].mean()
        assert round(grey / 8) == (frame - 1) * 24 // rate, (frame, grey)


def test_the_hands_are_rendered_over_the_footage(tmp_path: Path) -> None:
    scenes.empty_scene()
    load(tmp_path, "two_hands")
    bpy.ops.duohand.render_over_footage()
    pixels = rendered(tmp_path / "seen.png", 20)
    plate = 8 * 19
    off = np.abs(pixels[..., :3].mean(-1) - plate) > 12
    inside = off[:, 4:60]  # the footage is 4:3, the picture 16:9: its sides are black
    assert 0.05 < inside.mean() < 0.6


@pytest.mark.parametrize(("brightness", "lit"), [(0.05, True), (0.8, False)])
def test_hands_in_the_dark_get_a_light_once(tmp_path: Path, brightness: float, lit: bool) -> None:
    scene = scenes.empty_scene()
    scene.world = bpy.data.worlds.new("World")
    scene.world.use_nodes = True
    background = next(node for node in scene.world.node_tree.nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (brightness, brightness, brightness, 1)
    load(tmp_path, "two_hands")
    for _ in range(2):
        bpy.ops.duohand.render_over_footage()
    assert [item.type for item in scene.objects].count("LIGHT") == lit
    pixels = rendered(tmp_path / "seen.png", 1)  # on its first frame the footage is black
    assert pixels[..., :3].max() > 80


def test_setting_up_the_compositor_twice_changes_nothing(tmp_path: Path) -> None:
    scene = scenes.empty_scene()
    load(tmp_path)
    compositor = importlib.import_module(f"{EXTENSION}.view.compositor")
    tree = compositor._tree(scene)
    end = compositor._end(tree)
    blur = tree.nodes.new("CompositorNodeBlur")
    tree.links.new(blur.outputs[0], end.inputs[0])
    for _ in range(2):
        assert bpy.ops.duohand.render_over_footage() == {"FINISHED"}
        names = sorted(node.name for node in tree.nodes)
        assert len([name for name in names if name.startswith("Duohand")]) == 3 and blur.name in names
    over = end.inputs[0].links[0].from_node
    assert blur in [link.from_node for item in over.inputs for link in item.links]


def test_without_footage_rendering_says_what_to_do() -> None:
    scenes.empty_scene()
    scenes.load("nobody")
    with pytest.raises(RuntimeError, match="shows no footage"):
        bpy.ops.duohand.render_over_footage()


def test_view_through_camera_uses_the_shots_camera(tmp_path: Path) -> None:
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    shot = load(tmp_path)
    scene = bpy.context.scene
    scene.camera = bpy.data.objects["Camera"]
    area = next(item for item in bpy.context.screen.areas if item.type == "VIEW_3D")
    area.spaces.active.region_3d.view_perspective = "PERSP"
    assert bpy.ops.duohand.view_through_camera() == {"FINISHED"}
    assert scene.camera == shot.duohand.camera
    assert area.spaces.active.region_3d.view_perspective == "CAMERA"


def test_the_skins_look_belongs_to_the_shot_and_can_be_undone(tmp_path: Path) -> None:
    scenes.empty_scene()
    shot = load(tmp_path, "two_hands")
    scenes.load("two_hands", existing="NEW")
    other = next(item for item in bpy.context.scene.collection.children if item not in (shot,))
    left, right = (scenes.hand(shot, side).duohand.skin for side in (0, 1))
    was = tuple(left.active_material.diffuse_color)
    shot.duohand_look.opacity, shot.duohand_look.wire, shot.duohand_look.tints = 0.25, True, True
    assert shot.duohand_look.opacity == pytest.approx(0.25)
    assert left.active_material.node_tree.nodes["Principled BSDF"].inputs["Alpha"].default_value == 0.25
    assert left.show_wire and right.show_wire
    assert left.active_material.diffuse_color[0] > 0.7 > right.active_material.diffuse_color[0]
    for side in (0, 1):
        skin = scenes.hand(other, side).duohand.skin
        assert tuple(skin.active_material.diffuse_color) == was and not skin.show_wire
    shot.duohand_look.opacity, shot.duohand_look.wire, shot.duohand_look.tints = 1.0, False, False
    assert tuple(left.active_material.diffuse_color) == pytest.approx(was)
    assert not left.show_wire and not shot.duohand_look.tints
    assert "Skin Opacity" in drawn("DUOHAND_PT_view") and "Plate Opacity" in drawn("DUOHAND_PT_view")


def test_an_update_keeps_the_look(tmp_path: Path) -> None:
    scenes.empty_scene()
    shot = load(tmp_path, "two_hands")
    shot.duohand_look.opacity, shot.duohand_look.wire, shot.duohand_look.tints = 0.5, True, True
    load(tmp_path, "two_hands")
    look = shot.duohand_look
    assert (look.opacity, look.wire, look.tints) == (0.5, True, True)
