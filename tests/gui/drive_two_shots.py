# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a Blender with a window (window_tools): from an empty file to two characters that move.

Two clips are captured, the first one rendered over its footage with F12; one goes onto a Mixamo character, the other
onto a Rigify one; hands and characters are exported. After the engine is named there are only buttons and fields that
the panels show, entries of Blender's own menus, file browsers, keys and clicks.
"""

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
from window_tools import (
    FOOTAGE,
    answer_file_browser,
    choose,
    click,
    click_tab,
    drive,
    folder,
    install,
    middle_of_view,
    open_sidebar,
    over,
    picture,
    press,
    press_button,
    region,
    result,
    runs,
    until,
    view,
)

_CHARACTERS = folder / "characters.blend"
_FRAME = 15


def steps() -> Iterator[float]:
    install()
    yield from _make_characters()
    bpy.ops.wm.read_homefile(use_factory_startup=False, app_template="")
    yield 1.0
    bpy.ops.object.select_all(action="SELECT")
    bpy.ops.object.delete()
    sidebar = open_sidebar()
    yield 1.5
    yield from click_tab(sidebar)
    yield from capture(Path(FOOTAGE))
    yield from picture("01_first_shot")
    yield from over_footage()
    yield from capture(Path(shutil.copy(FOOTAGE, folder / "second.mp4")))
    scene: Any = bpy.context.scene
    result["shots"] = sorted(item.name for item in scene.collection.children if item.duohand.is_shot)
    yield from picture("03_two_shots")
    yield from character("Walker", "MIXAMO")
    yield from character("rig", "RIGIFY")
    yield from whole_scene()
    yield from export()


def capture(footage: Path) -> Iterator[float]:
    """Choose the clip in the file browser, set a range of 25 frames, capture."""
    press_button("DUOHAND_PT_footage", "duohand.choose_footage")
    yield from answer_file_browser(footage)
    choose("DUOHAND_PT_footage", "use_range", True)
    choose("DUOHAND_PT_footage", "last", 24)
    choose("DUOHAND_PT_footage", "lens", "FOV")
    choose("DUOHAND_PT_footage", "fov", 0.9076)
    yield 0.5
    count = len(runs().outcomes)
    press_button("DUOHAND_PT_capture", "duohand.capture")
    yield from until(lambda: len(runs().outcomes) > count and runs().state is None)
    result.setdefault("outcomes", []).append(runs().outcomes[-1].text)
    yield 1.0


def over_footage() -> Iterator[float]:
    """Render over Footage, then F12 over the 3D view; the picture is saved as by its own menu, and Esc closes it."""
    press_button("DUOHAND_PT_view", "duohand.view_through_camera")
    press_button("DUOHAND_PT_view", "duohand.render_over_footage")
    scene: Any = bpy.context.scene
    scene.frame_set(_FRAME)
    scene.render.engine, scene.cycles.samples = "CYCLES", 8  # without a GPU, EEVEE takes minutes to prepare
    scene.cycles.use_denoising = False  # which Debian's Blender cannot
    yield 1.0
    ended: list[str] = []
    for name in ("render_complete", "render_cancel"):
        getattr(bpy.app.handlers, name).append(lambda *_, name=name: ended.append(name))
    yield from press("F12", *middle_of_view())
    yield from until(lambda: ended, 600)
    result["render"] = ended
    yield 2.0
    yield from picture("02_rendered")
    bpy.data.images["Render Result"].save_render(str(folder / "rendered.png"), scene=scene)
    result["rendered_frame"] = scene.frame_current - scene.frame_start
    shown = bpy.context.window_manager.windows[-1]
    yield from press("ESC", 200, 200, shown)
    yield 1.0


def character(name: str, preset: str) -> Iterator[float]:
    """Append a character, click on a hand of a shot that none follows yet, and let it follow that shot."""
    bpy.ops.wm.append(directory=f"{_CHARACTERS}/Collection/", filename=name)
    yield 0.5
    shot = yield from _clicked_shot()
    bpy.ops.object.mode_set(mode="OBJECT")
    choose("DUOHAND_PT_retarget", "target", bpy.data.objects[name])
    choose("DUOHAND_PT_retarget", "preset", preset)
    choose("DUOHAND_PT_retarget", "with_location", True)
    press_button("DUOHAND_PT_retarget", "duohand.place_at_armature")
    press_button("DUOHAND_PT_retarget", "duohand.retarget")
    yield 1.0
    scene: Any = bpy.context.scene
    scene.frame_set(_FRAME)
    yield from look_at(name)
    result[f"distance_{preset}"] = _distances(shot, name, preset)
    yield from picture(f"04_{preset.lower()}_follows")
    press_button("DUOHAND_PT_retarget", "duohand.bake_retarget")
    scene.frame_set(_FRAME)
    yield 1.0
    result[f"baked_distance_{preset}"] = _distances(shot, name, preset)
    result[f"shot_{preset}"] = shot.name
    yield from picture(f"05_{preset.lower()}_baked")


def export() -> Iterator[float]:
    """Both shots' hands by the panel, both characters by Blender's File > Export."""
    for name in result["shots"]:
        bpy.context.view_layer.objects.active = bpy.data.collections[name].duohand.place
        press_button("DUOHAND_PT_export", "duohand.export_fbx", preset="UNREAL")
        yield from answer_file_browser(folder / f"{name}.fbx")
    for name in ("Walker", "rig"):
        bpy.ops.object.select_all(action="DESELECT")
        bpy.data.objects[name].select_set(True)
        bpy.ops.export_scene.fbx(
            filepath=str(folder / f"{name}.fbx"), use_selection=True, bake_anim_simplify_factor=0
        )
    result["files"] = {item.stem: item.stat().st_size for item in folder.glob("*.fbx")}
    yield 0.5


def look_at(name: str) -> Iterator[float]:
    """Select the object in the 3D view, and view it from the front (Numpad 1, Numpad .)."""
    thing = bpy.data.objects[name]
    bpy.ops.object.select_all(action="DESELECT")
    thing.select_set(True)
    with over():
        bpy.ops.view3d.view_axis(type="FRONT")
        bpy.ops.view3d.view_selected()
    yield 1.0


def whole_scene() -> Iterator[float]:
    """Both characters from the front, the Home key pressed."""
    with over():
        bpy.ops.view3d.view_axis(type="FRONT")
    yield from press("HOME", *middle_of_view())
    yield 1.5
    yield from picture("06_both")


def _clicked_shot() -> Iterator[float]:
    """Click on hands in the 3D view until a shot that no character follows is active; returns it."""
    scene: Any = bpy.context.scene
    scene.frame_set(_FRAME)
    taken = {result.get("shot_MIXAMO")}
    hands = [
        hand
        for shot in scene.collection.children
        if shot.duohand.is_shot and shot.name not in taken
        for hand in shot.objects
        if hand.type == "ARMATURE"
    ]
    with over():
        bpy.ops.object.select_all(action="DESELECT")
        for hand in hands:
            hand.select_set(True)
        bpy.ops.view3d.view_axis(type="FRONT")
        bpy.ops.view3d.view_selected()
    yield 1.0
    from bpy_extras.view3d_utils import location_3d_to_region_2d

    there = region()
    for hand in hands:
        middle = hand.matrix_world @ hand.pose.bones[0].center
        at = location_3d_to_region_2d(there, view().spaces.active.region_3d, middle)
        bpy.ops.object.select_all(action="DESELECT")
        yield from click(round(there.x + at.x), round(there.y + at.y))
        active: Any = bpy.context.view_layer.objects.active
        found = [
            shot
            for shot in scene.collection.children
            if shot.duohand.is_shot and shot.name not in taken and active in list(shot.objects)
        ]
        if active.select_get() and found:
            return found[0]
    raise LookupError("no hand was clicked")


def _distances(shot: Any, name: str, preset: str) -> list[float]:
    """From the captured wrists to those of the character, left and right, in units of the character's size."""
    bones = {"MIXAMO": "mixamorig:{word}Hand", "RIGIFY": "DEF-hand.{letter}"}[preset]
    body = bpy.data.objects[name]
    found = []
    for side, letter, word in (("LEFT", "L", "Left"), ("RIGHT", "R", "Right")):
        hand = next(item for item in shot.objects if item.type == "ARMATURE" and item.duohand.side == side)
        wrist = hand.matrix_world @ hand.pose.bones[f"hand.{letter}"].head
        bone = body.pose.bones[bones.format(word=word, letter=letter)]
        found.append(round((body.matrix_world @ bone.head - wrist).length, 4))
    return found


def _make_characters() -> Iterator[float]:
    """Another file with a Mixamo-like and a Rigify character side by side: what an animator has before."""
    walkers = importlib.import_module("tests.blender_addon.walkers")
    utilities = importlib.import_module("addon_utils")
    bpy.ops.wm.read_homefile(use_empty=True)
    yield 1.0
    scene: Any = bpy.context.scene
    body = walkers.mixamo(scene)
    body.location.x = -1.0
    utilities.enable("rigify", default_set=True)
    rig = walkers.rigify(scene)
    rig.name, rig.location.x = "rig", 1.0
    widgets = next(item for item in bpy.data.collections if item.name.startswith("WGTS"))
    widgets.hide_viewport = True
    for character in (body, rig):
        own = bpy.data.collections.new(character.name)
        scene.collection.children.link(own)
        for thing in (character, *character.children):
            own.objects.link(thing)
    own.children.link(widgets)  # else appending the rig puts them all into the scene
    bpy.ops.wm.save_as_mainfile(filepath=str(_CHARACTERS), check_existing=False)
    utilities.disable("rigify", default_set=True)


drive(steps())
