# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes of footage that is cut, through the installed add-on: nothing moves or is mixed from one piece to the next."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.shared.take import Take, save_take
from tests.blender_addon import scenes
from tests.blender_addon.in_blender import EXTENSION
from tests.blender_addon.test_body_in_blender import a_walker
from tests.blender_addon.test_clean_up_in_blender import all_curves

FARTHER_M = 0.4


def cut_take(name: str, row: int) -> Take:
    """The made take, cut before that row, from where the hands are filmed from farther away."""
    take = scenes.made(name)
    shift = np.where(np.arange(take.frame_count) < row, 0, FARTHER_M)[:, None, None]
    moved = {}
    for name in ("wrist_cam_m", "joints_cam_m", "raw_wrist_cam_m", "raw_joints_cam_m"):
        moved[name] = getattr(take, name).copy()
        moved[name][..., 2] += shift if moved[name].ndim == 4 else shift[..., 0]
    return replace(take, **moved, meta={**take.meta, "cuts": [int(take.frame[row])]})


def load(folder: Path, take: Take, **options: Any) -> Any:
    scenes.empty_scene()
    return added(folder, take, **options)


def added(folder: Path, take: Take, **options: Any) -> Any:
    """The take, loaded beside what is in the scene."""
    path = folder / "cut.npz"
    save_take(take, path)
    assert bpy.ops.duohand.load_take(filepath=str(path), place="ORIGIN", **options) == {"FINISHED"}
    return next(item for item in bpy.context.scene.collection.children if item.duohand.is_shot)


def wrist(shot: Any, frame: float) -> np.ndarray:
    scenes.go_to(frame)
    return scenes.bone_heads(scenes.hand(shot, RIGHT))[0]


@pytest.mark.parametrize("rotation", ["QUATERNION", "XYZ"])
def test_a_hand_does_not_fly_across_a_cut_in_a_scene_with_more_frames_than_the_footage(
    rotation: str, tmp_path: Path
) -> None:
    take = cut_take("two_hands", 12)
    scenes.empty_scene()
    shot = load(tmp_path, take, set_rate=False, timing="SECONDS", rotation_mode=rotation, start_frame=1)
    rate = bpy.context.scene.render.fps / take.fps
    last, first = 1 + 11 * rate, 1 + 12 * rate
    there = wrist(shot, last)
    for frame in np.linspace(last, first, 4)[:-1]:
        np.testing.assert_allclose(wrist(shot, frame), there, atol=1e-5)
    assert np.linalg.norm(wrist(shot, first) - there) > FARTHER_M / 2


def test_pieces_are_smoothed_apart_and_stay_so_when_the_rate_changes(tmp_path: Path) -> None:
    shot = load(tmp_path, cut_take("two_hands", 12), start_frame=1, set_rate=True)
    before = wrist(shot, 12), wrist(shot, 13)
    bpy.context.scene.render.fps *= 2
    assert bpy.ops.duohand.follow_rate() == {"FINISHED"}
    assert bpy.ops.duohand.smooth(strength=1.0, first=1, last=60) == {"FINISHED"}
    after = wrist(shot, 23), wrist(shot, 25)
    for now, then in zip(after, before, strict=True):
        assert 1e-4 < np.linalg.norm(now - then) < FARTHER_M / 8
    np.testing.assert_allclose(wrist(shot, 24.5), after[0], atol=1e-5)


def held_at(shot: Any) -> set[float]:
    """The frames from which the right wrist stays where it is until the next key."""
    hand = scenes.hand(shot, RIGHT)
    path = hand.pose.bones[0].path_from_id("location")
    return {
        point.co.x
        for curve in all_curves(hand)
        if curve.data_path == path
        for point in curve.keyframe_points
        if point.interpolation == "CONSTANT"
    }


def test_the_cut_goes_with_hands_that_are_joined_to_a_later_body(tmp_path: Path) -> None:
    body, preset, _ = a_walker("mixamo")
    shot = added(tmp_path, cut_take("two_hands", 12), start_frame=1, set_rate=True)
    assert held_at(shot) == {12}
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 1, 60
    bpy.context.scene.duohand_body.offset = 8
    assert bpy.ops.duohand.join_hands(target=body.name, preset=preset) == {"FINISHED"}
    assert 20 in held_at(shot) and 12 not in held_at(shot)
    joined = held_at(shot)
    assert bpy.ops.duohand.smooth(strength=1.0, first=9, last=60) == {"FINISHED"}
    assert held_at(shot) == joined
    bpy.context.scene.render.fps *= 2
    assert bpy.ops.duohand.follow_rate() == {"FINISHED"}
    later = held_at(shot)
    assert bpy.ops.duohand.smooth(strength=0.5, first=17, last=120) == {"FINISHED"}
    assert held_at(shot) == later == {1 + 2 * (frame - 1) for frame in joined}
    assert bpy.ops.duohand.separate_hands(target=body.name) == {"FINISHED"}
    assert bpy.ops.duohand.smooth(strength=0.5, first=1, last=60) == {"FINISHED"}


def test_a_range_beside_a_cut_is_solved_again_up_to_the_cut(tmp_path: Path) -> None:
    take = cut_take("solved", 66)
    shot = load(tmp_path, take, start_frame=1, set_rate=True)
    range_solve = importlib.import_module(f"{EXTENSION}.contact.range_solve")
    for (first, last), rows in (((60, 65), (55, 66)), ((67, 70), (66, 74)), ((60, 70), (55, 74))):
        solve = range_solve.prepared(shot, range_solve.Touch("touch", first, last, "any", "any", 4), None)
        solve.forget_files()
        assert (solve.frames[solve.rows.start], solve.frames[solve.rows.stop - 1]) == (rows[0] + 1, rows[1])


def test_a_hand_brought_to_a_body_stays_in_its_piece_until_the_cut(tmp_path: Path) -> None:
    shot = load(tmp_path, cut_take("two_hands", 12), start_frame=1, set_rate=True)
    curves = importlib.import_module(f"{EXTENSION}.scene.hand_curves")
    motion = importlib.import_module(f"{EXTENSION}.body.hand_motion")
    rig = next(item for item in curves.hand_rigs(shot) if item.side == LEFT)
    found = motion.hand_motion(rig, np.array([12.0, 12.4, 12.9, 13.0]))
    assert found.there.all()
    np.testing.assert_allclose(found.wrist[1:3], found.wrist[[0, 0]], atol=1e-9)
    assert np.linalg.norm(found.wrist[3] - found.wrist[0]) > FARTHER_M / 2
