# SPDX-License-Identifier: GPL-3.0-or-later
"""Contact through the installed add-on and the engine: hands meet where asked, and nothing else moves."""

import importlib
import os
import shutil
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import LEFT, RIGHT
from tests.blender_addon.in_blender import EXTENSION
from tests.blender_addon.scenes import ROOT, empty_scene, go_to, hand, load

FIRST, LAST, FALLOFF = 60, 70, 4


@pytest.fixture
def shot(tmp_path: Path) -> Any:
    empty_scene()
    preferences = importlib.import_module(f"{EXTENSION}.preferences").addon_preferences()
    preferences.engine = str(engine(tmp_path))
    preferences.log_folder = str(tmp_path / "logs")
    found = load("solved", start_frame=1, set_rate=True)
    scene: Any = bpy.context.scene
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, FIRST, LAST
    scene.duohand_contact.falloff = FALLOFF
    yield found
    importlib.import_module(f"{EXTENSION}.capture.runs").RUNS.warm_engine.end()
    preferences.engine = ""


def engine(folder: Path) -> Path:
    """The engine's Python, with this tree's core."""
    python = os.environ.get("DUOHAND_ENGINE_PYTHON", ROOT / ".venv" / "bin" / "python")
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nshift\nPYTHONPATH="{ROOT}" exec "{python}" "$@"\n')
    program.chmod(0o755)
    return program


def bones(shot: bpy.types.Collection, side: int, frame: int) -> np.ndarray:
    """(16, 2, 3) ends of the bones."""
    go_to(float(frame))
    armature = hand(shot, side)
    place = armature.matrix_world
    return np.array([[place @ bone.head, place @ bone.tail] for bone in armature.pose.bones])


def gap_mm(shot: bpy.types.Collection, frame: int) -> float:
    """How far the index fingers' last bones are apart."""
    ends = []
    for side, suffix in ((LEFT, "L"), (RIGHT, "R")):
        go_to(float(frame))
        armature = hand(shot, side)
        bone = armature.pose.bones[f"index_03.{suffix}"]
        ends.append([np.array(armature.matrix_world @ point) for point in (bone.head, bone.tail)])
    share = np.linspace(0, 1, 21)[:, None]
    left, right = ((1 - share) * start + share * end for start, end in ends)
    return 1000 * float(np.linalg.norm(left[:, None] - right[None], axis=-1).min())


def test_pinned_parts_touch_in_the_range_and_nothing_else_moves(shot: Any) -> None:
    outside = (FIRST - FALLOFF - 1, LAST + FALLOFF + 1)
    before = {frame: [bones(shot, side, frame) for side in (LEFT, RIGHT)] for frame in outside}
    assert max(gap_mm(shot, frame) for frame in range(FIRST, LAST + 1)) > 60
    assert bpy.ops.duohand.pin_parts(left="index", right="index") == {"FINISHED"}
    assert max(gap_mm(shot, frame) for frame in range(FIRST, LAST + 1)) < 24
    for frame, hands in before.items():
        for side, was in enumerate(hands):
            np.testing.assert_allclose(bones(shot, side, frame), was, atol=1e-6)
    assert [(item.kind, item.first, item.last) for item in shot.duohand.touches] == [("touch", FIRST, LAST)]


def test_an_engine_made_ready_solves_the_range(shot: Any) -> None:
    runs = importlib.import_module(f"{EXTENSION}.capture.runs").RUNS
    importlib.import_module(f"{EXTENSION}.contact.solves").SOLVES.get_ready()
    ready = runs.warm_engine.take(importlib.import_module(f"{EXTENSION}.contact.solves")._command())
    assert ready is not None
    runs.warm_engine.keep(ready)
    assert bpy.ops.duohand.pin_parts(left="index", right="index") == {"FINISHED"}
    assert max(gap_mm(shot, frame) for frame in range(FIRST, LAST + 1)) < 24
    assert ready.child.ending() is None


def test_locked_and_edited_motion_is_kept(shot: Any) -> None:
    bpy.ops.duohand.lock_range(hands="LEFT")
    bpy.ops.duohand.offset_wrist(hands="RIGHT", location=(0.0, 0.0, 0.03), first=80, last=86)
    locked = [bones(shot, LEFT, frame) for frame in range(FIRST, LAST + 1)]
    edited = bones(shot, RIGHT, 82)
    assert bpy.ops.duohand.pin_parts(left="index", right="index", first=FIRST, last=LAST) == {"FINISHED"}
    for frame, was in zip(range(FIRST, LAST + 1), locked, strict=True):
        np.testing.assert_allclose(bones(shot, LEFT, frame), was, atol=1e-6)
    np.testing.assert_allclose(bones(shot, RIGHT, 82), edited, atol=1e-6)
    assert max(gap_mm(shot, frame) for frame in range(FIRST, LAST + 1)) < 24


def test_an_edit_within_the_range_is_followed(shot: Any) -> None:
    bpy.ops.duohand.offset_wrist(hands="BOTH", location=(0.0, 0.0, 0.05))
    height = bones(shot, LEFT, 65)[0, 0, 2]
    assert bpy.ops.duohand.bring_together() == {"FINISHED"}
    assert abs(bones(shot, LEFT, 65)[0, 0, 2] - height) < 0.02


def test_an_edit_made_while_the_range_is_solved_stays(shot: Any) -> None:
    room = importlib.import_module(f"{EXTENSION}.contact.range_solve")
    solve = room.prepared(shot, room.Touch("touch", FIRST, LAST, "index", "index", FALLOFF), None)
    # What the engine gives back is the motion that it got: the earlier one, as it takes no part in this.
    shutil.copy(solve.request.take, solve.request.out)
    bpy.ops.duohand.offset_wrist(hands="RIGHT", location=(0.0, 0.0, 0.03))
    edited = bones(shot, RIGHT, 65)
    with pytest.raises(RequestError, match="nothing was keyed"):
        room.brought_back(solve)
    np.testing.assert_allclose(bones(shot, RIGHT, 65), edited, atol=1e-6)
    assert not shot.duohand.touches
    solve.forget_files()


def test_ranges_that_are_locked_or_outside_the_shot_are_refused(shot: Any) -> None:
    with pytest.raises(RuntimeError, match="has no frames"):
        bpy.ops.duohand.bring_together(first=900, last=910)
    bpy.ops.duohand.lock_range(hands="BOTH")
    with pytest.raises(RuntimeError, match="locked"):
        bpy.ops.duohand.bring_together()


def test_unsolvable_takes_and_missing_engines_are_reported(shot: Any) -> None:
    preferences = importlib.import_module(f"{EXTENSION}.preferences").addon_preferences()
    preferences.engine = "/nowhere/python"
    assert not bpy.ops.duohand.bring_together.poll()
    preferences.engine = str(engine(Path(preferences.log_folder).parent))
    empty_scene()
    load("two_hands")
    with pytest.raises(RuntimeError, match="Capture it again"):
        bpy.ops.duohand.bring_together()


@pytest.mark.parametrize("operator", ["bring_together", "pin_parts", "keep_apart"])
def test_undo_reverts_a_contact(shot: Any, operator: str) -> None:
    name, frames = shot.name, (1, FIRST, 65, LAST + 2)
    before = [bones(shot, side, frame) for side in (LEFT, RIGHT) for frame in frames]
    bpy.ops.ed.undo_push(message="before")
    assert getattr(bpy.ops.duohand, operator)() == {"FINISHED"}
    assert len(shot.duohand.touches) == 1
    bpy.ops.ed.undo_push(message="Duohand Contact")
    assert bpy.ops.ed.undo() == {"FINISHED"}
    shot = bpy.data.collections[name]
    assert not shot.duohand.touches
    after = [bones(shot, side, frame) for side in (LEFT, RIGHT) for frame in frames]
    np.testing.assert_allclose(after, before, atol=1e-7)
    assert bpy.ops.ed.redo() == {"FINISHED"}
    assert len(bpy.data.collections[name].duohand.touches) == 1
