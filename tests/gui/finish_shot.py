# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps in a Blender with a window after a first capture: a second clip, questions, contact, characters.

drive_window.py runs them, and hands over what they share with it: `tools` has the functions of the window.
"""

import importlib
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

_ROOM = "bl_ext.user_default.duohand"


def second_clip(tools: Any, sidebar: bpy.types.Region) -> Iterator[float]:
    """Capture thirty frames of another movie. Esc over the 3D view does not stop that; over the panel it does."""
    scene: Any = bpy.context.scene
    scene.duohand.footage = str(shutil.copy(tools.FOOTAGE, tools.folder / "take_02.mp4"))
    scene.duohand.use_range, scene.duohand.first, scene.duohand.last = True, 0, 29
    view = next(item for item in bpy.context.window.screen.areas if item.type == "VIEW_3D")
    for place, key in (
        ((view.x + view.width // 3, view.y + view.height // 2), "escape_over_view"),
        ((sidebar.x + sidebar.width // 2, sidebar.y + sidebar.height // 2), "escape_over_panel"),
    ):
        with _override(tools, view):
            bpy.ops.duohand.capture("INVOKE_DEFAULT")
        yield from _until(lambda: tools.runs().state is not None and tools.runs().state.done > 0)
        yield from press(tools, "ESC", *place)
        yield 1.0
        phase = tools.runs().state.phase.name if tools.runs().state is not None else "ENDED"
        tools.result[key] = phase
        yield from _until(lambda: tools.runs().state is None)
        tools.result[f"{key}_outcome"] = tools.runs().outcomes[-1].text
    tools.result["shots"] = sorted(item.name for item in scene.collection.children if item.duohand.is_shot)
    takes = [
        bpy.path.abspath(item.duohand.take_path) for item in bpy.data.collections if item.duohand.is_shot
    ]
    tools.result["takes"] = len({Path(path).resolve() for path in takes if Path(path).is_file()})
    yield from tools.picture("10_two_clips")


def questions(tools: Any) -> Iterator[float]:
    """Swap Sides and Mark Absent over all frames ask first; Esc changes nothing, Return does it."""
    hand = _hand("LEFT")
    bpy.context.view_layer.objects.active = hand
    area = next(item for item in bpy.context.window.screen.areas if item.type == "VIEW_3D")
    middle = (area.x + area.width // 3, area.y + area.height // 2)
    for operator in ("swap_sides", "delete_range"):
        before = _heads(hand)
        asked: list[bool] = []
        for key in ("ESC", "RET") if operator == "swap_sides" else ("ESC",):
            tools.window().event_simulate(type="MOUSEMOVE", value="NOTHING", x=middle[0], y=middle[1])
            yield 0.2
            with _override(tools, area):
                getattr(bpy.ops.duohand, operator)("INVOKE_DEFAULT", hands="BOTH")
            yield 0.8
            if key == "ESC":
                yield from tools.picture(f"11_question_{operator}")
            asked.append(_heads(hand) == before)
            yield from press(tools, key, *middle)
            yield 0.8
            asked.append(_heads(hand) == before)
        # Unchanged while asked, after Esc, and while asked again; changed after Return.
        tools.result[f"asked_{operator}"] = asked
        if not asked[-1]:
            bpy.ops.ed.undo()
            yield 1.0
            hand = _hand("LEFT")


def contact(tools: Any) -> Iterator[float]:
    """Pin the index fingers in the second shot, look at it, and take it back with Ctrl-Z."""
    scene: Any = bpy.context.scene
    bpy.context.view_layer.objects.active = _hand("RIGHT")
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 8, 14
    scene.frame_set(11)
    area = next(item for item in bpy.context.window.screen.areas if item.type == "VIEW_3D")
    with _override(tools, area):
        bpy.ops.ed.undo_push(message="before")
        before = _heads(_hand("RIGHT"))
        bpy.ops.duohand.pin_parts("INVOKE_DEFAULT")
    solves = importlib.import_module(f"{_ROOM}.contact.solves").SOLVES
    yield from _until(lambda: not solves.text)
    tools.result["contact"] = solves.last.text
    scene.frame_set(11)
    tools.result["contact_moved"] = _heads(_hand("RIGHT")) != before
    yield 0.5
    yield from tools.picture("12_contact")
    yield from press(tools, "Z", area.x + area.width // 3, area.y + area.height // 2, ctrl=True)
    yield 1.0
    scene = bpy.context.scene
    tools.result["contact_undone"] = _heads(_hand("RIGHT")) == before
    scene.use_preview_range = False


def characters(tools: Any) -> Iterator[float]:
    """The first shot onto a Mixamo-like skeleton, then onto Rigify's human; an export of the baked one."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    walkers = importlib.import_module("tests.blender_addon.walkers")
    scene: Any = bpy.context.scene
    bpy.context.view_layer.objects.active = _hand("LEFT")
    body = walkers.mixamo(scene)
    yield from _retarget(tools, body, "MIXAMO", "13_mixamo")
    importlib.import_module("addon_utils").enable("rigify", default_set=True)
    bpy.ops.object.armature_human_metarig_add()
    bpy.ops.pose.rigify_generate()
    rig = bpy.context.object
    rig.location.x = 1.5
    yield from _retarget(tools, rig, "RIGIFY", "14_rigify")
    tools.result["rigs"] = [body.name, rig.name]


def _retarget(tools: Any, target: bpy.types.Object, preset: str, name: str) -> Iterator[float]:
    """Place the shot, constrain and bake; a picture in between."""
    scene: Any = bpy.context.scene
    if bpy.context.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    bpy.context.view_layer.objects.active = _hand("LEFT")
    scene.duohand_retarget.preset, scene.duohand_retarget.with_location = preset, True
    bpy.ops.duohand.place_at_armature(target=target.name)
    bpy.ops.duohand.retarget(target=target.name, preset=preset)
    scene.frame_set(11)
    area = next(item for item in bpy.context.window.screen.areas if item.type == "VIEW_3D")
    area.spaces.active.region_3d.view_perspective = "PERSP"
    bpy.ops.object.select_all(action="DESELECT")
    target.select_set(True)
    bpy.context.view_layer.objects.active = target
    with _override(tools, area):
        bpy.ops.view3d.view_axis(type="FRONT")
        bpy.ops.view3d.view_selected()
    yield 1.0
    yield from tools.picture(name)
    bpy.context.view_layer.objects.active = _hand("LEFT")
    bpy.ops.duohand.bake_retarget(target=target.name)
    tools.result[f"baked_{preset}"] = target.animation_data.action is not None


def over_footage(tools: Any) -> Iterator[float]:
    """Render over Footage sets the scene up."""
    bpy.context.view_layer.objects.active = _hand("LEFT")
    area = next(item for item in bpy.context.window.screen.areas if item.type == "VIEW_3D")
    with _override(tools, area):
        bpy.ops.duohand.render_over_footage()
    tools.result["film_transparent"] = bpy.context.scene.render.film_transparent
    yield 0.5


def press(tools: Any, key: str, x: int, y: int, ctrl: bool = False) -> Iterator[float]:
    """Press and release a key with the mouse at that place of the window."""
    tools.window().event_simulate(type="MOUSEMOVE", value="NOTHING", x=x, y=y)
    yield 0.2
    for value in ("PRESS", "RELEASE"):
        tools.window().event_simulate(type=key, value=value, x=x, y=y, ctrl=ctrl)
        yield 0.1


def _override(tools: Any, area: bpy.types.Area) -> Any:
    region = next(item for item in area.regions if item.type == "WINDOW")
    return bpy.context.temp_override(window=tools.window(), area=area, region=region)


def _hand(side: str) -> Any:
    """The last shot's hand of that side."""
    found = [item for item in bpy.context.scene.collection.children if item.duohand.is_shot]
    hands = [item for item in found[-1].objects if item.type == "ARMATURE" and item.duohand.side == side]
    return hands[0]


def _heads(hand: Any) -> list[list[float]]:
    """Where the hand's bones are on the scene's frame 11, rounded to hundredths of a millimetre."""
    bpy.context.scene.frame_set(11)
    return [[round(value, 5) for value in bone.head] for bone in hand.pose.bones]


def _until(reached: Any, limit_s: float = 400.0) -> Iterator[float]:
    begun = time.monotonic()
    while not reached():
        yield 0.1
        if time.monotonic() - begun > limit_s:
            raise TimeoutError("what was waited for did not come")
