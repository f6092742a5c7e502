# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits that fade in and out, offsets along the line of sight, restored parts: the motion played afterwards."""

from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.shared.take import load_take, save_take
from tests.blender_addon.scenes import empty_scene, go_to, hand, load, take_file

FRAMES = range(1, 25)
FIRST, LAST, BLEND = 8, 18, 4


@pytest.fixture
def shot() -> Any:
    empty_scene()
    return load("two_hands", start_frame=1, set_rate=True)


def played(armature: bpy.types.Object) -> np.ndarray:
    """(T, 16, 3) heads of the bones in the world, in the armature's order."""
    found = []
    for frame in FRAMES:
        go_to(float(frame))
        found.append([armature.matrix_world @ bone.head for bone in armature.pose.bones])
    return np.array(found)


def steps_mm(heads: np.ndarray) -> np.ndarray:
    """(T - 1,) how far the wrist goes from frame to frame."""
    return 1000 * np.linalg.norm(np.diff(heads[:, 0], axis=0), axis=-1)


def rows(first: int, last: int) -> slice:
    return slice(first - FRAMES.start, last - FRAMES.start + 1)


def test_an_offset_fades_in_and_out_over_the_blend(shot: Any) -> None:
    armature = hand(shot, LEFT)
    before = played(armature)
    area = {"hands": "LEFT", "first": FIRST, "last": LAST, "location": (0.0, 0.0, 0.1)}
    assert bpy.ops.duohand.offset_wrist(**area, blend=BLEND) == {"FINISHED"}
    moved = played(armature)[:, 0, 2] - before[:, 0, 2]
    assert np.abs(np.diff(moved)).max() < 0.021
    np.testing.assert_allclose(moved[rows(FIRST + BLEND, LAST - BLEND)], 0.1, atol=1e-5)
    np.testing.assert_allclose(moved[: FIRST - 1], 0, atol=1e-6)


def test_an_offset_along_the_line_of_sight_keeps_the_projection(shot: Any) -> None:
    armature, camera = hand(shot, RIGHT), shot.duohand.camera
    eye = np.array(camera.matrix_world.translation)
    before = played(armature)[:, 0] - eye
    assert bpy.ops.duohand.offset_wrist(hands="RIGHT", first=1, last=24, along_ray=0.2) == {"FINISHED"}
    after = played(armature)[:, 0] - eye
    lengths = [np.linalg.norm(values, axis=-1) for values in (before, after)]
    np.testing.assert_allclose(lengths[1] - lengths[0], 0.2, atol=1e-5)
    np.testing.assert_allclose(after / lengths[1][:, None], before / lengths[0][:, None], atol=1e-5)


def test_a_hold_blends_back_into_the_motion(shot: Any) -> None:
    armature = hand(shot, RIGHT)
    before = played(armature)
    bpy.ops.duohand.hold_range(hands="RIGHT", first=FIRST, last=LAST)
    hard = steps_mm(played(armature)).max()
    empty_scene()
    armature = hand(load("two_hands", start_frame=1, set_rate=True), RIGHT)
    bpy.ops.duohand.hold_range(hands="RIGHT", first=FIRST, last=LAST, blend=BLEND)
    after = played(armature)
    assert steps_mm(after).max() < max(0.7 * hard, steps_mm(before).max() + 1)
    assert np.abs(np.diff(after[rows(FIRST, LAST - BLEND - 1), 0], axis=0)).max() < 1e-5


def test_changes_beside_a_lock_blend_into_it(shot: Any) -> None:
    armature = hand(shot, LEFT)
    before = played(armature)
    bpy.ops.duohand.lock_range(hands="LEFT", first=10, last=14, blend=BLEND)
    bpy.ops.duohand.offset_wrist(hands="LEFT", location=(0.0, 0.0, 0.1), first=1, last=24)
    moved = played(armature)[:, 0, 2] - before[:, 0, 2]
    np.testing.assert_allclose(moved[rows(10, 14)], 0, atol=1e-6)
    assert np.abs(np.diff(moved)).max() < 0.021
    assert abs(moved[0] - 0.1) < 1e-5


def test_a_single_finger_can_be_restored_from_raw_motion_or_another_take(shot: Any, tmp_path: Path) -> None:
    armature = hand(shot, LEFT)
    other = load_take(take_file("two_hands"))
    turned = other.pose_wxyz.copy()
    turned[:, LEFT, :3] = [np.cos(0.5), 0.0, 0.0, np.sin(0.5)]
    path = tmp_path / "other.npz"
    save_take(type(other)(**{**vars(other), "pose_wxyz": turned}), path)
    before = turns(armature)
    assert bpy.ops.duohand.redo_part(hands="LEFT", part="INDEX", take=str(path), first=8, last=12) == {
        "FINISHED"
    }
    after = turns(armature)
    index = [armature.pose.bones.find(f"index_0{k}.L") for k in (1, 2, 3)]
    others = np.setdiff1d(np.arange(16), index)
    assert np.abs(after[rows(8, 12)][:, index] - before[rows(8, 12)][:, index]).max() > 0.05
    np.testing.assert_allclose(after[:, others], before[:, others], atol=1e-6)
    assert bpy.ops.duohand.redo_part(hands="LEFT", part="INDEX", first=8, last=12) == {"FINISHED"}
    np.testing.assert_allclose(turns(armature), before, atol=1e-5)


def turns(armature: bpy.types.Object) -> np.ndarray:
    """(T, 16, 4) rotations of the bones from rest."""
    found = []
    for frame in FRAMES:
        go_to(float(frame))
        found.append([bone.matrix_basis.to_quaternion() for bone in armature.pose.bones])
    return np.array(found)
