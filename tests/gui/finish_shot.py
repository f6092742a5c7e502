# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps in a Blender with a window after a first capture, for drive_window: a second clip, questions, contact."""

import importlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
from window_tools import (
    FOOTAGE,
    ROOM,
    answer_file_browser,
    folder,
    middle_of_view,
    over,
    picture,
    press,
    result,
    running_engine,
    runs,
    until,
    window,
)


def second_clip(sidebar: Any) -> Iterator[float]:
    """Capture thirty frames of another movie. Esc over the 3D view does not stop that; over the panel it does.

    The engine is held still while the key is pressed, or a fast one would have ended before.
    """
    scene: Any = bpy.context.scene
    scene.duohand.footage = str(shutil.copy(FOOTAGE, folder / "take_02.mp4"))
    scene.duohand.use_range, scene.duohand.first, scene.duohand.last = True, 0, 29
    for place, key in (
        (middle_of_view(), "escape_over_view"),
        ((sidebar.x + sidebar.width // 2, sidebar.y + sidebar.height // 2), "escape_over_panel"),
    ):
        with over():
            bpy.ops.duohand.capture("INVOKE_DEFAULT")
        yield from until(running_engine)
        engine = running_engine()
        os.killpg(engine, signal.SIGSTOP)
        yield from press("ESC", *place)
        yield 1.0
        result[key] = runs().state.phase.name if runs().state is not None else "ENDED"
        os.killpg(engine, signal.SIGCONT)
        yield from until(lambda: runs().state is None)
        result[f"{key}_outcome"] = runs().outcomes[-1].text
    result["shots"] = sorted(item.name for item in scene.collection.children if item.duohand.is_shot)
    takes = [
        bpy.path.abspath(item.duohand.take_path) for item in bpy.data.collections if item.duohand.is_shot
    ]
    result["takes"] = len({Path(path).resolve() for path in takes if Path(path).is_file()})
    yield from picture("10_two_clips")


def questions() -> Iterator[float]:
    """Swap Sides and Mark Absent over all frames ask first; Esc changes nothing, Return does it."""
    hand = _hand("LEFT")
    bpy.context.view_layer.objects.active = hand
    middle = middle_of_view()
    for operator in ("swap_sides", "delete_range"):
        before = _heads(hand)
        asked: list[bool] = []
        for key in ("ESC", "RET") if operator == "swap_sides" else ("ESC",):
            window().event_simulate(type="MOUSEMOVE", value="NOTHING", x=middle[0], y=middle[1])
            yield 0.2
            with over():
                getattr(bpy.ops.duohand, operator)("INVOKE_DEFAULT", hands="BOTH")
            yield 0.8
            if key == "ESC":
                yield from picture(f"11_question_{operator}")
            asked.append(_heads(hand) == before)
            yield from press(key, *middle)
            yield 0.8
            asked.append(_heads(hand) == before)
        # Unchanged while asked, after Esc, and while asked again; changed after Return.
        result[f"asked_{operator}"] = asked
        if not asked[-1]:
            bpy.ops.ed.undo()
            yield 1.0
            hand = _hand("LEFT")


def export_question() -> Iterator[float]:
    """A BVH export asks before it replaces files that have other names than the chosen one; Return does it."""
    files = [folder / f"hands_{side}.bvh" for side in ("left", "right")]
    for file in files:
        file.write_text("earlier")
    bpy.context.view_layer.objects.active = _hand("LEFT")
    with over():
        bpy.ops.duohand.export_bvh("INVOKE_DEFAULT")
    yield from answer_file_browser(folder / "hands.bvh")
    yield 1.0
    yield from picture("13_question_export")
    result["export_asked"] = [file.read_text()[:9] for file in files]
    yield from press("RET", *middle_of_view())
    yield 2.0
    result["export_replaced"] = [file.read_text()[:9] for file in files]


def contact() -> Iterator[float]:
    """Pin the index fingers in the second shot, look at it, and take it back with Ctrl-Z."""
    scene: Any = bpy.context.scene
    bpy.context.view_layer.objects.active = _hand("RIGHT")
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 8, 14
    scene.frame_set(11)
    with over():
        bpy.ops.ed.undo_push(message="before")
        before = _heads(_hand("RIGHT"))
        bpy.ops.duohand.pin_parts("INVOKE_DEFAULT")
    solves = importlib.import_module(f"{ROOM}.contact.solves").SOLVES
    yield from until(lambda: not solves.text)
    result["contact"] = solves.last.text
    scene.frame_set(11)
    result["contact_moved"] = _heads(_hand("RIGHT")) != before
    yield 0.5
    yield from picture("12_contact")
    yield from press("Z", *middle_of_view(), ctrl=True)
    yield 1.0
    scene = bpy.context.scene
    result["contact_undone"] = _heads(_hand("RIGHT")) == before
    scene.use_preview_range = False


def character_and_prop() -> None:
    """A character that walks and a prop with a grip, chosen in the panels whose pictures are made next."""
    walkers = importlib.import_module("tests.blender_addon.walkers")
    scene: Any = bpy.context.scene
    if bpy.context.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    body = walkers.mixamo(scene)
    scene.duohand_retarget.target, scene.duohand_retarget.preset = body, "MIXAMO"
    bpy.context.view_layer.objects.active = _hand("LEFT")
    bpy.ops.duohand.find_bones(target=body.name)
    cup = bpy.data.objects.new("Cup", bpy.data.meshes.new("Cup"))
    scene.collection.objects.link(cup)
    scene.duohand_props.prop = cup
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 8, 20
    bpy.ops.duohand.add_grip()
    scene.use_preview_range = False


def _hand(side: str) -> Any:
    """The last shot's hand of that side."""
    found = [item for item in bpy.context.scene.collection.children if item.duohand.is_shot]
    hands = [item for item in found[-1].objects if item.type == "ARMATURE" and item.duohand.side == side]
    return hands[0]


def _heads(hand: Any) -> list[list[float]]:
    """Where the hand's bones are on the scene's frame 11, rounded to hundredths of a millimetre."""
    bpy.context.scene.frame_set(11)
    return [[round(value, 5) for value in bone.head] for bone in hand.pose.bones]
