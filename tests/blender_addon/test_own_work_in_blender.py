# SPDX-License-Identifier: GPL-3.0-or-later
"""What an animator built on a shot or chose for its scene, when a take replaces it or has no use for it."""

import importlib
from typing import Any

import bpy
import pytest

from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.shared.take import load_take
from tests.blender_addon.in_blender import EXTENSION
from tests.blender_addon.scenes import empty_scene, hand, load, take_file
from tests.blender_addon.test_clean_up_in_blender import all_curves
from tests.blender_addon.test_disturbed_shots_in_blender import update


@pytest.fixture
def shot() -> Any:
    empty_scene()
    return load("two_hands")


def linked(thing: Any) -> Any:
    bpy.context.scene.collection.objects.link(thing)
    return thing


def new_camera(name: str) -> Any:
    return linked(bpy.data.objects.new(name, bpy.data.cameras.new(name)))


def a_prop(left: Any) -> None:
    prop = linked(bpy.data.objects.new("sword", None))
    prop.parent, prop.parent_type, prop.parent_bone = left, "BONE", "hand.L"


def a_layer(left: Any) -> None:
    left.animation_data.nla_tracks.new().strips.new("layer", 1, bpy.data.actions.new("layer"))


def a_constraint(left: Any) -> None:
    left.pose.bones["hand.L"].constraints.new("LIMIT_ROTATION")


def a_modifier(left: Any) -> None:
    left.duohand.skin.modifiers.new("Subdivision", "SUBSURF")


def a_target(left: Any) -> None:
    linked(bpy.data.objects.new("follower", None)).constraints.new("COPY_LOCATION").target = left


@pytest.mark.parametrize("build", [a_prop, a_layer, a_constraint, a_modifier, a_target, None])
def test_a_hand_that_was_built_on_stays_when_a_take_has_none(shot: Any, build: Any) -> None:
    left = hand(shot, LEFT)
    if build is not None:
        build(left)
    said = update("right_only")
    assert any("The take has no left hand" in line for line in said)
    there = [item for item in shot.objects if item.type == "ARMATURE"]
    assert there == ([hand(shot, RIGHT)] if build is None else [left, hand(shot, RIGHT)])
    if build is a_layer:
        assert "layer" in bpy.data.actions


@pytest.mark.parametrize("what", ["keys", "child", None])
def test_a_shots_own_camera_that_was_worked_on_stays_when_the_scenes_carries_the_hands(
    shot: Any, what: str | None
) -> None:
    camera = shot.duohand.camera
    if what == "keys":
        camera.data.dof.focus_distance = 3.0
        camera.data.keyframe_insert("dof.focus_distance", frame=4)
    elif what == "child":
        linked(bpy.data.objects.new("flare", None)).parent = camera
    bpy.context.scene.camera = new_camera("mine")
    load("two_hands", camera="SCENE")
    assert shot.duohand.camera == bpy.context.scene.camera
    cameras = [item for item in bpy.context.scene.objects if item.type == "CAMERA"]
    assert len(cameras) == (1 if what is None else 2)


@pytest.mark.parametrize("why", ["muted", "own camera", "locked keys gone"])
def test_a_take_that_cannot_be_loaded_onto_its_shot_changes_nothing(shot: Any, why: str) -> None:
    scene, right = bpy.context.scene, hand(shot, RIGHT)
    options: dict[str, Any] = {"timing": "MATCH", "start_frame": 50, "rotation_mode": "XYZ"}
    if why == "muted":
        data = right.animation_data
        action, slot = data.action, getattr(data, "action_slot", None)
        track = data.nla_tracks.new()
        strip = track.strips.new("motion", 1, action)
        if slot is not None:
            strip.action_slot = slot
        data.action, track.mute = None, True
    elif why == "own camera":
        options["camera"] = "SCENE"
    else:
        bpy.ops.duohand.lock_range(hands="RIGHT", first=3, last=5)
        channels = importlib.import_module(f"{EXTENSION}.scene.fcurves").active_channels(right)
        for curve in [item for item in channels.fcurves if "index_01" in item.data_path]:
            channels.fcurves.remove(curve)

    def state() -> tuple[Any, ...]:
        kept = shot.duohand
        return (kept.take_path, kept.start_frame, kept.rotation_mode, scene.render.fps, len(bpy.data.actions))

    before = state()
    with pytest.raises(RuntimeError) as error:
        bpy.ops.duohand.load_take(filepath=str(take_file("at_60_fps")), **options)
    assert "Traceback" not in str(error.value) and state() == before


def test_markers_of_the_animators_own_stay(shot: Any) -> None:
    scene = bpy.context.scene
    load("half_absent")
    (marker,) = scene.timeline_markers
    worst = marker.frame, marker.name
    scene.timeline_markers.new(f"{shot.name}: ask the director", frame=3)
    load("half_absent")
    assert sorted(item.frame for item in scene.timeline_markers) == sorted([3, worst[0]])
    moved = next(item for item in scene.timeline_markers if item.name == worst[1])
    moved.frame -= 2
    load("half_absent")
    assert sorted(item.frame for item in scene.timeline_markers) == sorted([3, worst[0] - 2, worst[0]])


def test_visibility_that_was_keyed_otherwise_stays_and_moves_along_with_the_rate() -> None:
    scene = empty_scene()
    left = hand(load("half_absent"), LEFT)

    def shown(path: str = "hide_render") -> list[tuple[float, float]]:
        return [
            tuple(point.co)
            for curve in all_curves(left.duohand.skin)
            if curve.data_path == path
            for point in curve.keyframe_points
        ]

    before = shown()
    assert bpy.ops.duohand.hold_range(hands="LEFT", first=20, last=22) == {"FINISHED"}
    load("half_absent", timing="SECONDS")
    assert shown() == before
    for rate in (48, 24):
        scene.render.fps = rate
        assert bpy.ops.duohand.follow_rate() == {"FINISHED"}
    assert bpy.ops.duohand.delete_range(hands="LEFT", first=20, last=22) == {"FINISHED"}
    assert shown() != before  # still the take's
    load("half_absent")
    curve = next(item for item in all_curves(left.duohand.skin) if item.data_path == "hide_render")
    curve.keyframe_points[1].co.x += 1
    mine = shown()
    assert bpy.ops.duohand.hold_range(hands="LEFT", first=20, last=22) == {"FINISHED"}
    load("half_absent")
    assert shown() == mine != before


def test_a_take_tells_what_it_changed_of_a_scene_that_was_in_use() -> None:
    scene = empty_scene()
    said = notes(scene)
    assert not [line for line in said if "; it was " in line]
    scene = empty_scene()
    linked(bpy.data.objects.new("actor", None)).keyframe_insert("location", frame=1)
    scene.camera, scene.frame_start, scene.frame_end = new_camera("mine"), 1001, 1250
    said = notes(scene)
    assert [line for line in said if "camera became" in line and "it was mine" in line]
    assert [line for line in said if "range became 1 to 24; it was 1001 to 1250" in line]
    assert [line for line in said if "resolution became" in line and "it was 1920 x 1080" in line]
    assert not [line for line in update("two_hands") if "; it was " in line]


def notes(scene: Any) -> tuple[str, ...]:
    """What the made take says when it is loaded into the scene."""
    apply_take = importlib.import_module(f"{EXTENSION}.take.apply_take")
    settings = importlib.import_module(f"{EXTENSION}.take.settings").ApplySettings()
    path = take_file("two_hands")
    return apply_take.apply_take(scene, load_take(path), str(path), settings).warnings


def test_bones_in_another_rotation_mode_stay_in_it(shot: Any) -> None:
    for side in (LEFT, RIGHT):
        for bone in hand(shot, side).pose.bones:
            bone.rotation_mode = "ZXY"
    load("two_hands")
    assert {bone.rotation_mode for bone in hand(shot, RIGHT).pose.bones} == {"ZXY"}
    assert any(item.data_path.endswith("rotation_euler") for item in all_curves(hand(shot, RIGHT)))
