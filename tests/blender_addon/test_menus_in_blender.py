# SPDX-License-Identifier: GPL-3.0-or-later
"""Alternatives to the panels: Blender's menus, dropped files, shortcuts, the folder that Load Take opens in."""

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

from tests.blender_addon import scenes
from tests.blender_addon.in_blender import EXTENSION
from tests.blender_addon.layouts import Layout


@pytest.mark.parametrize(
    ("draw", "names"),
    [
        ("_draw_import", ["duohand.load_take"]),
        (
            "_draw_export",
            ["duohand.save_take", *(f"duohand.export_{kind}" for kind in ("fbx", "glb", "usd", "bvh"))],
        ),
    ],
)
def test_the_file_menus_have_their_entries(draw: str, names: list[str]) -> None:
    menus = importlib.import_module(f"{EXTENSION}.menus")
    calls: list[Any] = []
    getattr(menus, draw)(SimpleNamespace(layout=Layout([], calls)), bpy.context)
    assert [arguments[0] for _, arguments, _ in calls] == names
    for menu in (bpy.types.TOPBAR_MT_file_import, bpy.types.TOPBAR_MT_file_export):
        ours = [item for item in menu._dyn_ui_initialize() if item.__module__ == menus.__name__]
        assert len(ours) == 1


def test_each_dropped_take_becomes_a_shot(tmp_path: Path) -> None:
    scene = scenes.empty_scene()
    handler = bpy.types.DUOHAND_FH_take
    assert handler.bl_file_extensions == ".npz" and handler.bl_import_operator == "duohand.load_take"
    for name in ("one", "two"):
        (tmp_path / f"{name}.npz").write_bytes(scenes.take_file("one_frame").read_bytes())
    files = [{"name": "one.npz"}, {"name": "two.npz"}]
    bpy.ops.duohand.load_take(directory=str(tmp_path), files=files, existing="NEW")
    assert len([item for item in scene.collection.children if item.duohand.is_shot]) == 2
    assert {item.type for item in bpy.context.selected_objects} == {"ARMATURE"}


def test_load_take_opens_in_the_folder_of_takes(tmp_path: Path) -> None:
    scene = scenes.empty_scene()
    scene.duohand.take_folder = str(tmp_path)
    operator = importlib.import_module(f"{EXTENSION}.take.operators").DUOHAND_OT_load_take
    opened: list[str] = []
    helper = importlib.import_module("bpy_extras.io_utils").ImportHelper
    usual = helper.invoke
    helper.invoke = lambda self, _context, _event: opened.append(self.filepath)
    try:
        operator.invoke(SimpleNamespace(filepath="", files=[]), bpy.context, None)
    finally:
        helper.invoke = usual
    assert [Path(path) for path in opened] == [tmp_path]


def test_shortcuts_exist_and_are_off_by_default() -> None:
    keys = bpy.context.window_manager.keyconfigs.addon
    if keys is None:
        pytest.skip("this Blender keeps no keymaps without a window")
    items = [item for item in keys.keymaps["3D View"].keymap_items if item.idname.startswith("duohand.")]
    assert len(items) >= 5 and not any(item.active for item in items)
