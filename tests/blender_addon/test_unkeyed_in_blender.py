# SPDX-License-Identifier: GPL-3.0-or-later
"""What an animator has set by hand and not keyed yet stays, whatever is read, keyed, loaded or exported meanwhile."""

import importlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from inference_core.shared.skeleton import LEFT, RIGHT
from tests.blender_addon import walkers
from tests.blender_addon.in_blender import EXTENSION
from tests.blender_addon.scenes import ROOT, empty_scene, go_to, hand, load

MOVIE = ROOT / "inference_core" / "demo" / "two_hands.mp4"
HERE = 7
POSED = (0.8, 0.6, 0.0, 0.0)


class Work:
    """Things that are keyed, and set to something else on frame HERE."""

    def __init__(self, body: bpy.types.Object | None = None) -> None:
        scene: Any = bpy.context.scene
        self.prop: Any = bpy.data.objects.new("Prop", bpy.data.meshes.new("Prop"))
        scene.collection.objects.link(self.prop)
        self.prop["switch"] = 0.0
        self.prop.shape_key_add(name="Basis")
        self.key: Any = self.prop.shape_key_add(name="Smile")
        for path in ("location", '["switch"]', "rotation_mode", "hide_render"):
            self.prop.keyframe_insert(path, frame=1)
        self.key.keyframe_insert("value", frame=1)
        scene.frame_set(HERE)
        self.prop.location.y, self.prop["switch"], self.key.value = 3.0, 1.0, 0.5
        self.prop.rotation_mode, self.prop.hide_render = "ZYX", True
        self.bones: list[Any] = [] if body is None else [body.pose.bones["mixamorig:RightUpLeg"]]

    def pose(self, *bones: Any) -> None:
        """Pose these bones too, which have rotation keys."""
        self.bones += bones

    def set(self) -> "Work":
        for bone in self.bones:
            bone.rotation_quaternion = POSED
        bpy.context.view_layer.update()
        self.stays()
        return self

    def stays(self) -> None:
        """Everything is as it was set, and shown so."""
        bpy.context.view_layer.update()
        assert bpy.context.scene.frame_current == HERE
        assert (self.prop.location.y, self.prop["switch"], self.key.value) == (3.0, 1.0, 0.5)
        assert (self.prop.rotation_mode, self.prop.hide_render) == ("ZYX", True)
        assert self.prop.matrix_world.translation.y == 3.0
        for bone in self.bones:
            assert tuple(bone.rotation_quaternion) == pytest.approx(POSED, abs=1e-6), bone.name


def fingers(shot: bpy.types.Collection) -> list[Any]:
    return [hand(shot, side).pose.bones[f"index_02.{'LR'[side]}"] for side in (LEFT, RIGHT)]


@pytest.fixture
def shot() -> Any:
    empty_scene()
    return load("two_hands")


@pytest.fixture
def work(shot: Any) -> Work:
    found = Work()
    found.pose(*fingers(shot))
    return found.set()


LATER = {"first": 15, "last": 20}
TOOLS: dict[str, dict[str, Any]] = {
    "hold_range": LATER,
    "delete_range": LATER,
    "refill_range": LATER,
    "swap_sides": LATER,
    "redo_part": LATER,
    "offset_wrist": {"location": (0, 0, 0.1), **LATER},
    "smooth": {"strength": 0.9, **LATER},
    "bake_keys": {},
    "lock_range": LATER,
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_that_keys_other_frames_leaves_what_is_not_keyed(work: Work, shot: Any, tool: str) -> None:
    options = TOOLS[tool] if tool == "swap_sides" else {"hands": "BOTH", **TOOLS[tool]}
    assert getattr(bpy.ops.duohand, tool)(**options) == {"FINISHED"}
    work.stays()


def test_decimating_leaves_what_is_not_keyed(work: Work, shot: Any) -> None:
    wrists = [hand(shot, side).pose.bones[f"hand.{'LR'[side]}"] for side in (LEFT, RIGHT)]
    keyed = [np.array(bone.location) for bone in wrists]
    assert bpy.ops.duohand.reduce_keys(hands="BOTH", max_error_mm=0.001) == {"FINISHED"}
    work.bones = []  # their own curves are others now
    work.stays()
    for bone, before in zip(wrists, keyed, strict=True):
        np.testing.assert_allclose(bone.location, before, atol=1e-4)


def test_the_smoothing_slider_leaves_what_is_not_keyed(work: Work, shot: Any) -> None:
    scene: Any = bpy.context.scene
    bpy.context.view_layer.objects.active = hand(shot, LEFT)
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 15, 20
    scene.duohand_smoothing = 0.9
    assert scene.duohand_smoothing_problem == ""
    work.stays()


def test_a_tool_that_keys_this_frame_shows_its_keys(work: Work, shot: Any) -> None:
    left, right = fingers(shot)
    bpy.ops.duohand.hold_range(hands="LEFT", first=5, last=9)
    bpy.context.view_layer.update()
    shown = tuple(left.rotation_quaternion)
    assert tuple(right.rotation_quaternion) == pytest.approx(POSED, abs=1e-6)
    go_to(8)
    go_to(HERE)
    assert shown == pytest.approx(tuple(left.rotation_quaternion), abs=1e-6)


def test_a_pose_is_applied_beside_what_is_not_keyed(work: Work, shot: Any) -> None:
    bpy.ops.duohand.save_pose(hands="LEFT", pose_name="bent")
    assert bpy.ops.duohand.apply_pose(hands="BOTH", pose="bent", **LATER) == {"FINISHED"}
    work.stays()


def test_a_range_that_the_engine_solved_is_keyed_beside_what_is_not_keyed() -> None:
    empty_scene()
    shot = load("solved", start_frame=1, set_rate=True)
    work = Work()
    work.pose(*fingers(shot))
    work.set()
    room = module("contact.range_solve")
    solve = room.prepared(shot, room.Touch("touch", 60, 70, "index", "index", 4), None)
    shutil.copy(solve.request.take, solve.request.out)
    room.brought_back(solve)
    work.stays()
    solve.forget_files()


def test_keys_that_move_along_leave_what_is_not_keyed(work: Work, shot: Any) -> None:
    bpy.context.scene.render.fps *= 2
    assert bpy.ops.duohand.follow_rate() == {"FINISHED"}
    work.stays()


def test_a_take_loaded_beside_a_shot_at_another_rate_leaves_what_is_not_keyed(work: Work, shot: Any) -> None:
    load("at_12_fps", existing="NEW", set_rate=True)
    assert bpy.context.scene.render.fps == 12
    work.stays()


def test_a_take_that_is_loaded_again_leaves_what_is_not_keyed(work: Work, shot: Any) -> None:
    load("two_hands")
    work.stays()


def test_a_take_that_is_loaded_again_shows_its_motion_where_that_is_another(shot: Any) -> None:
    bpy.ops.duohand.offset_wrist(hands="LEFT", location=(0, 0, 0.1))
    work = Work()
    wrist: Any = hand(shot, LEFT).pose.bones["hand.L"]
    wrist.location.x += 1.0
    work.pose(*fingers(shot))
    work.set()
    load("two_hands")
    work.stays()
    shown = tuple(wrist.location)
    go_to(8)
    go_to(HERE)
    assert shown == pytest.approx(tuple(wrist.location), abs=1e-6)


@pytest.mark.parametrize("suffix", [".fbx", ".glb", ".usdc", ".bvh"])
def test_an_export_leaves_what_is_not_keyed(work: Work, tmp_path: Path, suffix: str) -> None:
    export = getattr(bpy.ops.duohand, f"export_{suffix[1:4]}")
    assert export(filepath=str(tmp_path / f"hands{suffix}")) == {"FINISHED"}
    work.stays()


def test_saving_a_take_leaves_what_is_not_keyed(work: Work, tmp_path: Path) -> None:
    assert bpy.ops.duohand.save_take(filepath=str(tmp_path / "saved.npz")) == {"FINISHED"}
    work.stays()


def on_a_body(then: Callable[[str], object]) -> tuple[Work, bpy.types.Object, bpy.types.Collection]:
    scene = empty_scene()
    body = walkers.mixamo(scene)
    walkers.walk(body, walkers.mixamo_names())
    shot = load("two_hands")
    work = Work(body)
    work.pose(*fingers(shot))
    work.set()
    then(body.name)
    return work, body, shot


def retarget(body: str) -> None:
    assert bpy.ops.duohand.retarget(target=body, preset="MIXAMO") == {"FINISHED"}
    assert bpy.ops.duohand.bake_retarget(target=body) == {"FINISHED"}


def join(body: str) -> None:
    bpy.context.scene.duohand_body.bring_hands = False
    assert bpy.ops.duohand.join_hands(target=body, preset="MIXAMO") == {"FINISHED"}


def join_and_separate(body: str) -> None:
    join(body)
    assert bpy.ops.duohand.separate_hands(target=body) == {"FINISHED"}


def find_offset(body: str) -> None:
    assert bpy.ops.duohand.find_offset(target=body, preset="MIXAMO") == {"FINISHED"}


@pytest.mark.parametrize("then", [retarget, join, join_and_separate, find_offset])
def test_work_on_a_body_leaves_what_is_not_keyed(then: Callable[[str], object]) -> None:
    work, _, _ = on_a_body(then)
    work.stays()


def test_baked_bones_show_their_keys_though_they_had_been_posed() -> None:
    empty_scene()
    body = walkers.mixamo(bpy.context.scene)
    walkers.walk(body, walkers.mixamo_names())
    load("two_hands")
    work = Work(body)
    bone = body.pose.bones["mixamorig:LeftHandIndex1"]
    bone.keyframe_insert("rotation_quaternion", frame=1)
    bone.rotation_quaternion = POSED
    retarget(body.name)
    bpy.context.view_layer.update()
    shown = tuple(bone.rotation_quaternion)
    go_to(8)
    go_to(HERE)
    assert shown == pytest.approx(tuple(bone.rotation_quaternion), abs=1e-6) and shown != POSED
    assert work.prop.location.y == 0.0  # the frame was changed here


def test_keyed_grips_leave_what_is_not_keyed(work: Work) -> None:
    ball = bpy.data.objects.new("Ball", None)
    bpy.context.scene.collection.objects.link(ball)
    work.bones = []  # the hands are keyed on copies of their actions
    for press in ("add_grip", "bake_grips", "release_grips"):
        range_ = {"hand": "LEFT", "first": 12, "last": 14} if press == "add_grip" else {}
        assert getattr(bpy.ops.duohand, press)(prop="Ball", **range_) == {"FINISHED"}
        work.stays()


def module(name: str) -> Any:
    return importlib.import_module(f"{EXTENSION}.{name}")


@pytest.fixture
def moving_camera() -> Iterator[Any]:
    scene = empty_scene()
    camera: Any = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    for frame in (1, 50):
        camera.location.x = frame
        camera.keyframe_insert("location", frame=frame)
    scene.camera = camera
    yield camera
    scene.duohand.use_camera_motion = False


def test_reading_the_cameras_motion_leaves_what_is_not_keyed(moving_camera: Any, tmp_path: Path) -> None:
    scene: Any = bpy.context.scene
    scene.duohand.footage, scene.duohand.lens = str(MOVIE), "CAMERA"
    work = Work().set()
    module("capture.camera_motion").write_camera_path(scene, 1, tmp_path / "path.json")
    work.stays()


def test_a_take_under_a_moving_camera_leaves_what_is_not_keyed(moving_camera: Any) -> None:
    bpy.context.scene.frame_end = 50
    work = Work().set()
    load("moving_camera", camera="SCENE", start_frame=3)
    work.stays()


@pytest.mark.parametrize("unkeyed", [True, False])
def test_a_take_elsewhere_is_gone_to_unless_that_undoes_something(unkeyed: bool) -> None:
    scene = empty_scene()
    work = Work()
    if not unkeyed:
        scene.frame_set(HERE)
    load("two_hands", start_frame=100)
    if unkeyed:
        work.stays()
    assert (scene.frame_start, scene.frame_current) == (100, HERE if unkeyed else 100)


def test_what_was_keyed_since_the_last_redraw_shows_its_keys(shot: Any) -> None:
    prop = bpy.data.objects.new("Prop", None)
    bpy.context.scene.collection.objects.link(prop)
    bpy.context.scene.frame_set(HERE)
    prop.keyframe_insert("location", frame=HERE)
    curves = module("scene.fcurves").active_channels(prop).fcurves
    curves[0].keyframe_points[0].co.y = 5.0  # not evaluated yet
    curves[0].update()
    bpy.ops.duohand.save_pose(hands="LEFT")
    with module("scene.unkeyed").frame_kept(bpy.context.scene):
        bpy.context.scene.frame_set(2)
    assert prop.location.x == 5.0
