# SPDX-License-Identifier: GPL-3.0-or-later
"""What Load Take creates, changes and leaves alone in a scene."""

import dataclasses
import importlib
import math
import shutil
import subprocess
import sys

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix, Quaternion

from inference_core.shared.take import save_take
from tests.blender_addon import scenes
from tests.blender_addon.in_blender import EXTENSION, ROOT

fcurves = importlib.import_module(f"{EXTENSION}.scene.fcurves")
motion = importlib.import_module(f"{EXTENSION}.scene.motion")
timing = importlib.import_module(f"{EXTENSION}.scene.timing")


def curve(armature, path, index=0):
    return fcurves.active_channels(armature).fcurves.find(path, index=index)


def key_frames(armature, path):
    return [round(point.co[0], 3) for point in curve(armature, path).keyframe_points]


def test_a_hand_has_sixteen_connected_bones_of_correct_length():
    scenes.empty_scene()
    take, shot = scenes.made("two_hands"), scenes.load("two_hands")
    for side in range(2):
        bones = scenes.hand(shot, side).data.bones
        suffix = ".LR"[side + 1]
        assert len(bones) == 16
        rest = take.rest_joints_m[side]
        assert bones[f"index_01.{suffix}"].length == pytest.approx(
            np.linalg.norm(rest[2] - rest[1]), abs=1e-6
        )
        assert bones[f"index_02.{suffix}"].use_connect and bones[f"thumb_03.{suffix}"].use_connect
        tip = take.rest_vertices_m[side, take.tip_vertices[side, 1]]
        assert bones[f"index_03.{suffix}"].length == pytest.approx(np.linalg.norm(tip - rest[3]), abs=1e-6)


@pytest.mark.parametrize("name", ["two_hands", "bare"])
def test_local_x_bends_every_finger_bone_towards_the_palm(name):
    scenes.empty_scene()
    shot = scenes.load(name)
    for side in range(2):
        armature = scenes.hand(shot, side)
        armature.animation_data_clear()
        for bone in armature.pose.bones:
            bone.matrix_basis = Matrix.Identity(4)
        for bone in armature.pose.bones:
            if bone.name.startswith("hand"):
                continue
            bpy.context.view_layer.update()
            before = bone.tail.copy()
            bone.rotation_mode = "XYZ"
            bone.rotation_euler = (math.radians(40), 0, 0)
            bpy.context.view_layer.update()
            moved = bone.tail - before
            bone.rotation_euler = (0, 0, 0)
            # The palm looks down in the rest pose; the thumb closes across it, towards the little finger too.
            across = armature.data.bones[f"pinky_01.{'LR'[side]}"].head_local - bone.bone.head_local
            towards = moved.z < 0 or (bone.name.startswith("thumb") and moved.dot(across) > 0)
            assert towards, (bone.name, moved)


def test_only_the_wrist_has_location_keys_and_quaternions_are_continuous():
    scenes.empty_scene()
    armature = scenes.hand(scenes.load("two_hands"), 1)
    paths = {item.data_path for item in fcurves.active_channels(armature).fcurves}
    assert [path for path in paths if path.endswith("location")] == ['pose.bones["hand.R"].location']
    assert len([path for path in paths if path.endswith("rotation_quaternion")]) == 16
    for bone in armature.pose.bones:
        path = f'pose.bones["{bone.name}"].rotation_quaternion'
        values = fcurves.read_keys(fcurves.active_channels(armature), path, 4).values
        assert ((values[1:] * values[:-1]).sum(1) > 0).all()


def test_each_hand_has_an_action_and_its_raw_motion_on_a_muted_track():
    scenes.empty_scene()
    shot = scenes.load("two_hands")
    left, right = (scenes.hand(shot, side) for side in range(2))
    assert left.animation_data.action != right.animation_data.action
    for armature in (left, right):
        assert armature.animation_data.action.name == armature.name
        (track,) = armature.animation_data.nla_tracks
        assert track.mute
        assert track.strips[0].action == armature.duohand.raw_action
        if hasattr(armature.animation_data, "action_slot"):
            assert armature.animation_data.action_slot is not None
            assert track.strips[0].action_slot is not None


def test_raw_motion_plays_when_its_track_is_solo():
    scenes.empty_scene()
    take, shot = scenes.made("two_hands"), scenes.load("two_hands")
    armature = scenes.hand(shot, 0)
    armature.animation_data.action = None
    armature.animation_data.nla_tracks[0].mute = False
    scenes.go_to(8)
    wanted = scenes.expected(take, 7, take.raw_wrist_cam_m[7, 0])
    assert np.abs(scenes.bone_heads(armature)[0] - wanted).max() < 5e-5


def test_absent_frames_hide_the_skin_and_filled_frames_are_breakdowns():
    scenes.empty_scene()
    shot = scenes.load("half_absent")
    left, right = (scenes.hand(shot, side) for side in range(2))
    location = 'pose.bones["hand.L"].location'
    assert key_frames(left, location) == [*range(1, 7), *range(19, 25)]
    kinds = [point.type for point in curve(right, 'pose.bones["hand.R"].location').keyframe_points]
    assert [row for row, kind in enumerate(kinds) if kind == "BREAKDOWN"] == [8, 9, 10, 11]
    shown = []
    for frame in range(1, 25):
        scenes.go_to(frame)
        shown.append(not left.duohand.skin.hide_viewport and not left.duohand.skin.hide_render)
        assert left["presence"] == (1 if shown[-1] else 0)
    assert shown == [True] * 6 + [False] * 12 + [True] * 6
    scenes.go_to(6)
    still = scenes.bone_heads(left)
    scenes.go_to(12.5)
    assert np.array_equal(scenes.bone_heads(left), still)


def test_confidence_is_animated_and_the_least_certain_span_is_marked():
    scene = scenes.empty_scene()
    take, shot = scenes.made("half_absent"), scenes.load("half_absent")
    right = scenes.hand(shot, 1)
    for row in (0, 9, 20):
        scenes.go_to(row + 1)
        assert right["confidence"] == pytest.approx(take.confidence[row, 1], abs=1e-6)
    assert "pose_confidence" not in right
    assert [(marker.frame, marker.name) for marker in scene.timeline_markers] == [
        (11, "made up: right filled in")
    ]


def test_the_probabilities_of_a_take_are_animated_and_shown(tmp_path):
    scenes.empty_scene()
    rising = np.linspace(0.2, 0.9, 24, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    take = dataclasses.replace(
        scenes.made("two_hands"), pose_confidence=rising, distance_confidence=rising[::-1]
    )
    save_take(take, tmp_path / "promising.npz")
    bpy.ops.duohand.load_take(filepath=str(tmp_path / "promising.npz"))
    right = next(thing for thing in bpy.data.objects if thing.type == "ARMATURE" and "Right" in thing.name)
    for row in (0, 9, 20):
        scenes.go_to(row + 1)
        assert right["pose_confidence"] == pytest.approx(rising[row, 1], abs=1e-6)
        assert right["distance_confidence"] == pytest.approx(rising[-row - 1, 1], abs=1e-6)
    review = importlib.import_module(f"{EXTENSION}.review.operators")
    asked = type("Asked", (), {"armature": right.name})()
    scenes.go_to(1)
    said = review.DUOHAND_OT_select_hand.description(bpy.context, asked)
    assert said.startswith("Joints within 10 mm: 20% likely") and "within 5%: 90%" in said


def test_an_empty_take_still_gives_a_camera():
    scene = scenes.empty_scene()
    shot = scenes.load("nobody")
    assert {thing.type for thing in shot.objects} == {"EMPTY", "CAMERA"}
    assert scene.camera in list(shot.objects)


def test_loading_again_updates_in_place_without_leftovers():
    scene = scenes.empty_scene()
    shot = scenes.load("two_hands")
    armature = scenes.hand(shot, 0)
    constraint = armature.pose.bones["index_01.L"].constraints.new("LIMIT_ROTATION")
    before = counts()
    scenes.load("two_hands")
    assert counts() == before
    assert scenes.hand(shot, 0) == armature
    assert constraint.name in armature.pose.bones["index_01.L"].constraints
    armature.pose.bones["index_01.L"].constraints.remove(constraint)
    scenes.load("right_only")
    assert [thing.name for thing in scene.objects if thing.type == "ARMATURE"] == ["made up Right"]
    scenes.load("two_hands")
    assert counts() == before


def test_the_current_frame_stays_if_it_is_in_the_range():
    scene = scenes.empty_scene()
    scene.frame_set(9)
    scenes.load("two_hands")
    assert scene.frame_current == 9
    scenes.load("two_hands", existing="NEW", start_frame=20, set_range=True)
    assert scene.frame_current == 9
    scene.frame_set(900)
    scenes.load("two_hands", existing="NEW", set_range=True)
    assert scene.frame_current == 1


def test_a_second_take_can_be_loaded_beside_the_first():
    scene = scenes.empty_scene()
    scenes.load("two_hands")
    scenes.load("two_hands", existing="NEW")
    assert len([item for item in scene.collection.children if item.duohand.is_shot]) == 2
    assert len([thing for thing in scene.objects if thing.type == "ARMATURE"]) == 4


def test_one_undo_removes_everything():
    scenes.empty_scene()
    bpy.ops.ed.undo_push(message="before")
    before = counts()
    scenes.load("two_hands")
    bpy.ops.ed.undo_push(message="Load Take")
    assert counts() != before
    bpy.ops.ed.undo()
    assert counts() == before


def test_loading_works_in_edit_mode_and_with_hidden_collections():
    scene = scenes.empty_scene()
    shot = scenes.load("two_hands")
    bpy.context.view_layer.objects.active = scenes.hand(shot, 0)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.context.view_layer.layer_collection.children[shot.name].exclude = True
    scenes.load("right_only")
    bpy.context.view_layer.layer_collection.children[shot.name].exclude = False
    assert [thing.name for thing in scene.objects if thing.type == "ARMATURE"] == ["made up Right"]


def test_hands_are_parented_to_the_scenes_moving_camera():
    scene = scenes.empty_scene()
    camera = bpy.data.objects.new("matchmove", bpy.data.cameras.new("matchmove"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    for frame, x in ((1, 0.0), (24, 3.0)):
        camera.location, camera.rotation_euler = (x, 1, 2), (1, x, 0)
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_euler", frame=frame)
    take, shot = scenes.made("two_hands"), scenes.load("two_hands", camera="SCENE")
    assert scene.camera == camera
    for row in (0, 11, 23):
        scenes.go_to(row + 1)
        seen = np.linalg.inv(np.array(camera.matrix_world)) @ np.append(
            scenes.bone_heads(scenes.hand(shot, 1))[0], 1
        )
        wanted = take.wrist_cam_m[row, 1] * [1, -1, -1]
        assert np.abs(seen[:3] - wanted).max() < 5e-5


def test_a_take_with_a_moving_camera_stands_before_the_same_camera_of_the_scene():
    take, scene = scenes.made("moving_camera"), scenes.empty_scene()
    camera = bpy.data.objects.new("matchmove", bpy.data.cameras.new("matchmove"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    axes = importlib.import_module(f"{EXTENSION}.scene.axes")
    elsewhere = Matrix.LocRotScale((3, -2, 1), Euler((0.3, 0.1, 1.2)), (1, 1, 1))
    for row, pose in enumerate(axes.camera_matrices(take.T_world_cam, 1.0)):
        camera.matrix_basis = elsewhere @ Matrix(pose.tolist())
        camera.keyframe_insert("location", frame=row + 1)
        camera.keyframe_insert("rotation_euler", frame=row + 1)
    shot = scenes.load("moving_camera", camera="SCENE")
    for row in (0, take.frame_count // 2, take.frame_count - 1):
        scenes.go_to(row + 1)
        seen = np.linalg.inv(np.array(camera.matrix_world)) @ np.append(
            scenes.bone_heads(scenes.hand(shot, 1))[0], 1
        )
        assert np.abs(seen[:3] - take.wrist_cam_m[row, 1] * [1, -1, -1]).max() < 5e-5


@pytest.mark.parametrize(("footage", "first"), [("counted.mp4", 0), ("counted/shot_0010.png", 10)])
@pytest.mark.parametrize("rate", [24, 30, 12])
def test_the_plate_shows_the_matching_frame_of_the_footage(footage, first, rate, tmp_path):
    scene = scenes.empty_scene()
    scene.render.fps = rate
    shot = scenes.load("nobody")
    plate, picture = (
        importlib.import_module(f"{EXTENSION}.{name}") for name in ("scene.plate", "export.picture")
    )
    numbers = np.arange(5, 29) + first
    frames = 1 + np.arange(24) * rate / 24
    plate.show_plate(scene.camera, scenes.takes_folder() / footage, numbers, frames)
    for frame in (1, 2, 7, 12):
        wanted = numbers[np.abs(frames - frame).argmin()] - first
        picture.render_over_plate(scene, shot, tmp_path / "seen.png", frame, width=32)
        image = bpy.data.images.load(str(tmp_path / "seen.png"))
        grey = np.array(image.pixels).reshape(-1, 4)[:, :3].mean() * 255
        bpy.data.images.remove(image)
        assert round(grey / 8) == wanted, (frame, grey / 8)


def test_a_plate_movie_is_shown_instead_of_the_footage(tmp_path):
    scene = scenes.empty_scene()
    take = scenes.made("nobody")
    said = {
        "path": str(scenes.takes_folder() / "counted" / "shot_0010.png"),
        "plate": "/where/it/was/made/shot.plate.mp4",
        "showing": {"differences": ["it is stored turned or flipped"]},
    }
    take = dataclasses.replace(take, meta={**take.meta, "footage": said})
    save_take(take, tmp_path / "shot.npz")
    apply = importlib.import_module(f"{EXTENSION}.take.apply_take").apply_take
    settings = importlib.import_module(f"{EXTENSION}.take.settings").ApplySettings
    plate = importlib.import_module(f"{EXTENSION}.scene.plate")
    without = apply(scene, take, str(tmp_path / "shot.npz"), settings(timing="FRAMES"))
    assert "stored turned or flipped" in " ".join(without.warnings)
    shutil.copy(scenes.takes_folder() / "counted.mp4", tmp_path / "shot.plate.mp4")
    applied = apply(scene, take, str(tmp_path / "shot.npz"), settings(timing="FRAMES"))
    assert "turned" not in " ".join(applied.warnings)
    camera = scene.camera
    assert plate.plate_image(camera).name.startswith("shot.plate.mp4")
    assert camera.data.background_images[0].image_user.frame_offset == 0  # its first frame is the first row
    plate.relink_plate(camera, scenes.takes_folder() / "counted.mp4")
    assert plate.plate_image(camera).filepath.endswith("shot.plate.mp4")


@pytest.mark.parametrize("order", ["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"])
def test_euler_angles_follow_blenders_convention_without_jumps(order):
    rng = np.random.default_rng(3)
    steps = np.array([1.0, 0, 0, 0]) + np.cumsum(rng.normal(0, 0.15, (200, 4)), 0)
    turns = (steps / np.linalg.norm(steps, axis=1, keepdims=True))[:, None]
    angles = motion.eulers_from_quaternions(turns, order)
    for angle, turn in zip(angles[:, 0], turns[:, 0], strict=True):
        assert abs(Euler(angle, order).to_quaternion().dot(Quaternion(turn))) == pytest.approx(1, abs=1e-6)
    assert np.median(np.abs(np.diff(angles, axis=0))) < 0.3


@pytest.mark.parametrize(
    ("fps", "pair"), [(24, (24, 1)), (24 / 1.001, (24, 1.001)), (29.97, (30, 30 / 29.97)), (12.5, (13, 1.04))]
)
def test_any_rate_can_be_given_to_the_scene(fps, pair):
    assert timing.scene_rate(fps) == pytest.approx(pair)
    assert timing.scene_rate(fps)[0] / timing.scene_rate(fps)[1] == pytest.approx(fps)


def test_setting_the_rate_puts_every_key_on_a_whole_frame():
    scene = scenes.empty_scene()
    armature = scenes.hand(scenes.load("at_23.976_fps", set_rate=True), 0)
    assert scene.render.fps / scene.render.fps_base == pytest.approx(24 / 1.001)
    assert key_frames(armature, 'pose.bones["hand.L"].location') == list(range(1, 25))


def test_written_keys_are_read_back():
    thing = bpy.data.objects.new("thing", None)
    channels = fcurves.assign_new_action(thing, "thing")
    rng = np.random.default_rng(0)
    keys = fcurves.dense_keys(
        np.arange(5) * 1.5, rng.normal(size=(5, 3)), np.array([0, 2, 0, 2, 0], np.int32)
    )
    fcurves.write_keys(channels, "location", "Group", keys)
    back = fcurves.read_keys(fcurves.active_channels(thing), "location", 3)
    np.testing.assert_allclose(back.values, keys.values, atol=1e-6)
    assert np.array_equal(back.frames, keys.frames)
    assert np.array_equal(back.kinds, keys.kinds)
    assert np.array_equal(back.interpolation, keys.interpolation)
    assert fcurves.read_keys(channels, "scale", 3) is None


@pytest.mark.parametrize(
    ("damage", "words"),
    [("missing", "There is no take"), ("rubbish", "not a complete take"), ("cut", "not a complete take")],
)
def test_a_file_that_is_not_a_take_is_refused_and_changes_nothing(damage, words, tmp_path):
    scenes.empty_scene()
    path = tmp_path / "bad.npz"
    if damage == "rubbish":
        path.write_bytes(b"nothing like a take" * 50)
    elif damage == "cut":
        whole = scenes.take_file("two_hands").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    before = counts()
    with pytest.raises(RuntimeError, match=words):
        bpy.ops.duohand.load_take(filepath=str(path))
    assert counts() == before


def test_saving_reports_a_missing_original_take(tmp_path):
    scenes.empty_scene()
    shot = scenes.load("two_hands")
    shot.duohand.take_path = str(tmp_path / "gone.npz")
    with pytest.raises(RuntimeError, match="There is no take at"):
        bpy.ops.duohand.save_take(filepath=str(tmp_path / "saved.npz"))


def test_saving_includes_edits_and_constraints(tmp_path):
    scenes.empty_scene()
    take, shot = scenes.made("two_hands"), scenes.load("two_hands")
    constraint = scenes.hand(shot, 0).pose.bones["hand.L"].constraints.new("COPY_LOCATION")
    target = bpy.data.objects.new("target", None)
    shot.objects.link(target)
    target.location = (0.1, 0.7, 0.2)
    constraint.target = target
    path = tmp_path / "edited.npz"
    bpy.ops.duohand.save_take(filepath=str(path))
    edited = importlib.import_module("inference_core.shared.take").load_take(path)
    np.testing.assert_allclose(edited.wrist_cam_m[:, 0], np.tile([0.1, -0.2, 0.7], (24, 1)), atol=1e-5)
    np.testing.assert_allclose(edited.wrist_cam_m[:, 1], take.wrist_cam_m[:, 1], atol=1e-5)


def test_the_zip_works_from_a_script_in_a_fresh_blender(tmp_path):
    script = ROOT / "tests" / "blender_addon" / "script_of_a_user.py"
    out = tmp_path / "out"
    out.mkdir()
    archive = importlib.import_module("build_addon").build(tmp_path)
    shutil.copy(script, tmp_path / "script.py")
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            str(tmp_path / "script.py"),
            str(archive),
            str(scenes.take_file("two_hands")),
            str(out),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WHEEL" in done.stdout and "Traceback" not in done.stdout + done.stderr
    assert {path.name for path in out.iterdir()} >= {"shot.blend", "hands.fbx", "back.npz"}


def test_disabling_leaves_no_class_registered():
    import addon_utils

    before = {name for name in dir(bpy.types) if name.startswith("DUOHAND")}
    addon_utils.disable(EXTENSION, default_set=True)
    assert not [name for name in dir(bpy.types) if name.startswith("DUOHAND")]
    assert not hasattr(bpy.types.Collection, "duohand")
    addon_utils.enable(EXTENSION, default_set=True)
    assert {name for name in dir(bpy.types) if name.startswith("DUOHAND")} == before
    scenes.empty_scene()
    scenes.load("one_frame")


def counts():
    kinds = (
        "objects",
        "armatures",
        "meshes",
        "actions",
        "collections",
        "cameras",
        "scenes",
        "materials",
        "shape_keys",
    )
    return {kind: len(getattr(bpy.data, kind)) for kind in kinds}


@pytest.mark.parametrize("order", ["XYZ", "ZYX"])
def test_euler_curves_follow_the_motion_between_frames(order):
    take = scenes.made("two_hands")
    frames = np.arange(take.frame_count - 1)[:, None] + 1 + np.array([0.25, 0.5, 0.7])
    found = []
    for mode in ("QUATERNION", order):
        scenes.empty_scene()
        shot = scenes.load("two_hands", rotation_mode=mode)
        heads = []
        for frame in frames.ravel():
            scenes.go_to(float(frame))
            heads.append([scenes.bone_heads(scenes.hand(shot, side)) for side in range(2)])
        found.append(np.array(heads))
    assert np.linalg.norm(found[0] - found[1], axis=-1).max() < 3e-3


def test_euler_curves_near_gimbal_lock_have_keys_between_frames():
    steps = np.linspace(-0.2, 0.2, 9)
    turns = np.stack([[np.cos(a / 2), 0, np.sin(a / 2), 0] for a in np.pi / 2 + steps])
    sideways = np.stack([np.cos(steps), np.sin(steps), 0 * steps, 0 * steps], 1)
    turns = np.array(
        [Quaternion(one) @ Quaternion(other) for one, other in zip(sideways, turns, strict=True)]
    )
    angles, rows = motion.refined_eulers(turns, "XYZ", np.ones(8, bool))
    assert len(rows) > 9 and set(range(9)) <= set(rows)
    played = motion.quaternions_from_eulers(angles, "XYZ")
    whole = np.isin(rows, np.arange(9))
    assert np.abs(np.abs((played[whole] * turns).sum(-1)) - 1).max() < 1e-6
    coarse = motion.strays_between(angles[whole], turns, "XYZ").max()
    assert np.median(motion.strays_between(angles, np.array(played), "XYZ")) < coarse / 10
