# SPDX-License-Identifier: GPL-3.0-or-later
"""The core's take against what Blender shows of it: bones, lens, skin, timing, and the way back."""

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from inference_core.shared.take import load_take
from tests.blender_addon import scenes

BONE_TOLERANCE_M = 0.05e-3
SKIN_TOLERANCE_M = 0.1e-3
LENS_TOLERANCE_PX = 0.5
ROUND_TRIP = 1e-5
JOINTS_16_IN_21 = [0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3]


@pytest.mark.parametrize(
    "name", ["two_hands", "half_absent", "moving_camera", "bare", "one_frame", "right_only", "imported"]
)
def test_bone_heads_match_the_takes_joints_on_every_key(name):
    scenes.empty_scene()
    take, shot = scenes.made(name), scenes.load(name)
    frames = scenes.row_frames(take)
    for side in range(2):
        for row in np.flatnonzero(take.present[:, side]):
            scenes.go_to(frames[row])
            found = scenes.bone_heads(scenes.hand(shot, side))
            wanted = scenes.expected(take, row, take.joints_cam_m[row, side, JOINTS_16_IN_21])
            assert np.abs(found - wanted).max() < BONE_TOLERANCE_M, (side, row)


def test_ten_thousand_frames_are_keyed_correctly():
    scenes.empty_scene().render.fps = 24
    take, shot = scenes.made("long"), scenes.load("long")
    frames = scenes.row_frames(take)
    for row in (0, 4321, 9999):
        scenes.go_to(frames[row])
        for side in range(2):
            found = scenes.bone_heads(scenes.hand(shot, side))
            wanted = scenes.expected(take, row, take.joints_cam_m[row, side, JOINTS_16_IN_21])
            assert np.abs(found - wanted).max() < BONE_TOLERANCE_M


@pytest.mark.parametrize("name", ["two_hands", "moving_camera"])
def test_the_camera_projects_like_K(name):
    scene = scenes.empty_scene()
    take, shot = scenes.made(name), scenes.load(name)
    assert (scene.render.resolution_x, scene.render.resolution_y) == tuple(take.size_px)
    frames = scenes.row_frames(take)
    lens = np.broadcast_to(take.K, (take.frame_count, 3, 3))
    for row in range(0, take.frame_count, 5):
        scenes.go_to(frames[row])
        for side in range(2):
            joints = take.joints_cam_m[row, side, JOINTS_16_IN_21].astype(float)
            wanted = (joints / joints[:, 2:] @ lens[row].T)[:, :2]
            heads = scenes.bone_heads(scenes.hand(shot, side))
            seen = np.array([world_to_camera_view(scene, scene.camera, Vector(head)) for head in heads])
            found = np.stack([seen[:, 0], 1 - seen[:, 1]], 1) * take.size_px
            assert np.abs(found - wanted).max() < LENS_TOLERANCE_PX


@pytest.mark.parametrize("name", ["two_hands", "moving_camera", "bare", "right_only"])
def test_the_skin_matches_the_cores(name):
    scenes.empty_scene()
    take, shot = scenes.made(name), scenes.load(name)
    truth = np.load(scenes.takes_folder() / f"{name}.truth.npz")
    frames = scenes.row_frames(take)
    for row, vertices_cam_m in zip(truth["rows"], truth["vertices_cam_m"], strict=True):
        scenes.go_to(frames[row])
        for side in np.flatnonzero(take.present[row]):
            found = scenes.skin_vertices(scenes.hand(shot, int(side)))
            wanted = scenes.expected(take, row, vertices_cam_m[side])
            assert np.linalg.norm(found - wanted, axis=1).max() < SKIN_TOLERANCE_M


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("two_hands", 24),
        ("two_hands", 30),
        ("at_30_fps", 24),
        ("at_60_fps", 24),
        ("at_23.976_fps", 25),
        ("at_12_fps", 60),
    ],
)
@pytest.mark.parametrize("timing", ["SECONDS", "FRAMES"])
def test_take_to_scene_to_take_is_the_identity_for_any_pair_of_rates(name, rate, timing, tmp_path):
    scenes.empty_scene().render.fps = rate
    scenes.load(name, timing=timing, start_frame=37)
    assert_round_trip(name, tmp_path)


@pytest.mark.parametrize(
    "name", ["half_absent", "moving_camera", "one_frame", "right_only", "nobody", "bare"]
)
def test_take_to_scene_to_take_is_the_identity(name, tmp_path):
    scenes.empty_scene()
    scenes.load(name)
    assert_round_trip(name, tmp_path)


@pytest.mark.parametrize("options", [{"rotation_mode": "ZYX"}, {"scale": 100.0}, {"place": "CURSOR"}])
def test_loading_options_do_not_change_what_is_saved(options, tmp_path):
    scene = scenes.empty_scene()
    scene.cursor.location, scene.cursor.rotation_euler = (1, 2, 3), (0.3, 0.2, 1)
    scenes.load("half_absent", **options)
    assert_round_trip("half_absent", tmp_path)


def assert_round_trip(name, folder):
    saved = folder / "saved.npz"
    assert bpy.ops.duohand.save_take(filepath=str(saved)) == {"FINISHED"}
    before, after = scenes.made(name), load_take(saved)
    assert np.array_equal(after.present, before.present)
    for array in ("time_s", "K", "T_world_cam", "confidence", "wrist_cam_m", "joints_cam_m", "landmarks_px"):
        np.testing.assert_allclose(
            getattr(after, array), getattr(before, array), atol=ROUND_TRIP, rtol=0, err_msg=array
        )
    for array in ("root_wxyz", "pose_wxyz"):
        one, other = getattr(before, array), getattr(after, array)
        signs = np.where((one * other).sum(-1, keepdims=True) < 0, -1, 1)
        np.testing.assert_allclose(other * signs, one, atol=ROUND_TRIP, rtol=0, err_msg=array)
