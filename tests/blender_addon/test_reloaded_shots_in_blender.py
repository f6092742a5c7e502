# SPDX-License-Identifier: GPL-3.0-or-later
"""What an animator set on a shot's own camera, strips and skins, when its take is loaded again."""

import importlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from inference_core.shared.skeleton import RIGHT
from inference_core.shared.take import save_take
from tests.blender_addon.in_blender import EXTENSION
from tests.blender_addon.scenes import empty_scene, hand, load, made, skin_vertices, takes_folder
from tests.blender_addon.test_disturbed_shots_in_blender import update

fcurves = importlib.import_module(f"{EXTENSION}.scene.fcurves")


def load_with_lens(folder: Path, focal_px: float) -> None:
    """Load the same footage's take in place, seen by a lens of that focal length."""
    take = made("two_hands")
    lens = take.K.copy()
    lens[..., (0, 1), (0, 1)] = focal_px
    save_take(replace(take, K=lens), folder / "again.npz")
    assert bpy.ops.duohand.load_take(filepath=str(folder / "again.npz")) == {"FINISHED"}


def edited(lines: Any) -> list[str]:
    return [line for line in lines if "had been edited" in line]


def keys_of(owner: Any, path: str) -> list[Any]:
    curves = [curve for curve in fcurves.all_curves(owner) if curve.data_path == path]
    return [tuple(point.co) for curve in curves for point in curve.keyframe_points]


def kept_actions() -> list[Any]:
    return [action for action in bpy.data.actions if action.name.endswith("edited")]


def curves_of(action: Any) -> list[Any]:
    if not hasattr(action, "layers"):
        return list(action.fcurves)
    bags = [bag for layer in action.layers for strip in layer.strips for bag in strip.channelbags]
    return [curve for bag in bags for curve in bag.fcurves]


@pytest.mark.parametrize("name", ["two_hands", "moving_camera"])
def test_what_was_keyed_on_a_shots_camera_is_kept_when_its_take_replaces_it(name: str) -> None:
    empty_scene()
    shot = load(name)
    camera = shot.duohand.camera
    before = keys_of(camera, "location")
    assert not edited(update(name)) and keys_of(camera, "location") == before
    for frame in (3, 9):
        camera.location, camera.rotation_quaternion = (0.1 * frame, 0, 0), (0.8, 0.6, 0, 0)
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_quaternion", frame=frame)
        camera.data.lens = 10.0 * frame
        camera.data.keyframe_insert("lens", frame=frame)
        camera.data.keyframe_insert("dof.focus_distance", frame=frame)
    said = edited(update(name))
    assert keys_of(camera, "location") == before
    assert len(keys_of(camera.data, "dof.focus_distance")) == 2
    kept = [curve for action in kept_actions() for curve in curves_of(action)]
    assert said and all(action.use_fake_user for action in kept_actions())
    assert {"location", "rotation_quaternion", "lens"} <= {curve.data_path for curve in kept}
    found = [curve for curve in kept if (curve.data_path, curve.array_index) == ("location", 0)]
    assert [curve.evaluate(9) for curve in found] == [pytest.approx(0.9)] * len(found)
    count = len(kept_actions())
    assert not edited(update(name)) and len(kept_actions()) == count


def test_the_camera_of_a_take_that_moved_along_with_the_rate_is_not_taken_for_edited() -> None:
    scene = empty_scene()
    load("moving_camera", timing="SECONDS")
    scene.render.fps = 48
    assert bpy.ops.duohand.follow_rate() == {"FINISHED"}
    assert not edited(update("moving_camera"))


@pytest.mark.parametrize("name", ["two_hands", "moving_camera"])
def test_the_size_and_offset_at_which_a_camera_is_shown_stay(name: str) -> None:
    empty_scene()
    shot = load(name)
    camera = shot.duohand.camera
    place = np.array(camera.location)
    camera.scale, camera.delta_location = (3, 3, 3), (0, 0, 0.5)
    update(name)
    assert tuple(camera.scale) == (3, 3, 3) and tuple(camera.delta_location) == (0, 0, 0.5)
    np.testing.assert_allclose(camera.location, place, atol=1e-6)


def raw_strip(armature: Any) -> tuple[Any, Any]:
    """The track and the strip that play the raw motion."""
    (found,) = [
        (track, strip)
        for track in armature.animation_data.nla_tracks
        for strip in track.strips
        if strip.action == armature.duohand.raw_action
    ]
    return found


@pytest.mark.parametrize("options", [{}, {"start_frame": 40}])
def test_what_was_set_on_the_raw_motions_strip_stays_and_it_plays_the_new_takes(options: Any) -> None:
    empty_scene()
    shot = load("two_hands")
    right = hand(shot, RIGHT)
    track, strip = raw_strip(right)
    track.mute, track.lock, track.name = False, True, "compare"
    strip.blend_type, strip.extrapolation, strip.mute = "COMBINE", "NOTHING", True
    strip.repeat, strip.scale, strip.frame_start_ui, strip.blend_in = 2.0, 1.5, 4, 3
    strip.use_animated_influence, strip.influence = True, 0.25
    strip.keyframe_insert("influence", frame=9)
    right.animation_data.nla_tracks.new().name = "above"
    load("two_hands", **options)
    track, strip = raw_strip(right)
    assert [item.name for item in right.animation_data.nla_tracks] == ["compare", "above"]
    assert (track.mute, track.lock) == (False, True)
    assert (strip.blend_type, strip.extrapolation, strip.mute) == ("COMBINE", "NOTHING", True)
    assert (strip.repeat, strip.scale, strip.blend_in) == (2.0, 1.5, 3)
    assert strip.use_animated_influence and strip.influence == 0.25 and len(strip.fcurves) == 1
    first = options.get("start_frame", 1)
    assert (strip.action_frame_start, strip.action_frame_end) == (first, first + 23)
    assert (strip.frame_start, strip.frame_end) == (first + 3, first + 3 + 23 * 3)
    assert tuple(strip.action.frame_range) == (first, first + 23)
    assert getattr(strip, "action_slot", True) is not None


@pytest.mark.parametrize("whose", ["raw", "layer"])
def test_a_take_is_not_keyed_in_a_strip_that_is_being_tweaked(whose: str) -> None:
    empty_scene()
    right: Any = hand(load("two_hands"), RIGHT)
    data = right.animation_data
    track, strip = raw_strip(right)
    if whose == "layer":
        layer = fcurves.new_action(right, "layer")
        keys = fcurves.dense_keys(np.arange(2.0), np.zeros((2, 3)))
        fcurves.write_keys(layer, 'pose.bones["hand.R"].location', "hand.R", keys)
        track = data.nla_tracks.new()
        strip = track.strips.new("layer", 1, layer.action)
        if layer.slot is not None:
            strip.action_slot = layer.slot
    own, shown = data.action, [tuple(curve.range()) for curve in curves_of(strip.action)]
    data.nla_tracks.active, track.mute, strip.select = track, False, True
    data.use_tweak_mode = True
    assert data.action == strip.action != own
    assert not edited(update("two_hands"))
    assert data.action == own and not data.use_tweak_mode
    assert [tuple(curve.range()) for curve in curves_of(strip.action)] == shown


def test_a_skins_parent_materials_and_properties_stay() -> None:
    empty_scene()
    shot = load("two_hands")
    shot.duohand.place.location.z = 2
    right: Any = hand(shot, RIGHT)
    skin = right.duohand.skin
    bpy.context.view_layer.update()
    before = skin_vertices(right)
    world = skin.matrix_world.copy()
    skin.parent, skin.matrix_world = None, world
    skin.data.materials.append(bpy.data.materials.new("nails"))
    skin.data.polygons[3].material_index = 1
    skin.data["note"] = 2
    load("two_hands")
    bpy.context.view_layer.update()
    np.testing.assert_allclose(skin_vertices(right), before, atol=1e-6)
    assert skin.parent is None
    assert [slot.material.name for slot in skin.material_slots] == ["Duohand skin", "nails"]
    assert [item.index for item in skin.data.polygons if item.material_index] == [3]
    assert skin.data["note"] == 2


def test_a_plate_that_was_exchanged_for_another_movie_stays() -> None:
    empty_scene()
    shutil.copy(takes_folder() / "counted.mp4", takes_folder() / "made up.mp4")
    shutil.copy(takes_folder() / "counted.mp4", takes_folder() / "graded.mp4")
    try:
        camera: Any = load("two_hands").duohand.camera
        (plate,) = camera.data.background_images
        footage = plate.image
        plate.image = bpy.data.images.load(str(takes_folder() / "graded.mp4"))
        plate.alpha, plate.display_depth = 0.25, "FRONT"
        load("two_hands")
        assert list(camera.data.background_images) == [plate]
        assert plate.image.filepath.endswith("graded.mp4") and footage.filepath.endswith("made up.mp4")
        assert (plate.alpha, plate.display_depth) == (0.25, "FRONT")
    finally:
        (takes_folder() / "made up.mp4").unlink()


SET_BY_HAND: dict[str, dict[str, Any]] = {
    "lens": {"sensor_fit": "VERTICAL", "sensor_width": 24.0, "lens": 20.0, "shift_x": 0.1},
    "path": {"rotation_mode": "XYZ", "rotation_euler": (1.5, 0.1, 0.0), "location": (1.0, 2.0, 3.0)},
}


@pytest.mark.parametrize("what", SET_BY_HAND)
def test_what_was_set_on_a_camera_without_keys_stays_while_takes_give_the_same(what: str) -> None:
    empty_scene()
    camera: Any = load("two_hands").duohand.camera
    owner, given = {"lens": camera.data, "path": camera}[what], SET_BY_HAND[what]
    for name, value in given.items():
        setattr(owner, name, value)
    for _ in range(2):
        assert not edited(update("two_hands"))
        for name, value in given.items():
            now = getattr(owner, name)
            now = tuple(now) if isinstance(value, tuple) else now
            assert now == (value if isinstance(value, str) else pytest.approx(value))


def test_a_lens_that_was_set_by_hand_is_kept_as_an_action_when_the_take_has_another(tmp_path: Path) -> None:
    empty_scene()
    camera: Any = load("two_hands").duohand.camera
    camera.data.sensor_width, camera.data.lens = 24.0, 20.0
    load_with_lens(tmp_path, 700.0)
    width = made("two_hands").size_px[0]
    assert (camera.data.lens, camera.data.sensor_width) == (pytest.approx(700 * 36 / width), 36)
    (kept,) = kept_actions()
    values = {curve.data_path: curve.evaluate(1) for curve in curves_of(kept)}
    assert (values["lens"], values["sensor_width"]) == (20.0, 24.0) and kept.use_fake_user
    load_with_lens(tmp_path, 700.0)
    load_with_lens(tmp_path, 800.0)
    assert kept_actions() == [kept]


def test_the_timing_of_a_plate_that_was_set_by_hand_stays() -> None:
    empty_scene()
    shutil.copy(takes_folder() / "counted.mp4", takes_folder() / "made up.mp4")
    try:
        camera: Any = load("two_hands").duohand.camera
        user = camera.data.background_images[0].image_user
        user.frame_start, user.frame_offset, user.frame_duration = 5, 3, 12
        load("two_hands")
        assert (user.frame_start, user.frame_offset, user.frame_duration) == (5, 3, 12)
        load("two_hands", start_frame=40)
        assert user.frame_start == 40 and user.frame_offset == 0
        assert len(kept_actions()) == 1
    finally:
        (takes_folder() / "made up.mp4").unlink()


def test_raw_motion_that_was_edited_is_kept_when_a_take_replaces_it() -> None:
    empty_scene()
    right: Any = hand(load("two_hands"), RIGHT)
    assert not edited(update("two_hands"))
    curve = curves_of(right.duohand.raw_action)[0]
    curve.keyframe_points[3].co.y += 0.25
    path, value = (curve.data_path, curve.array_index), curve.keyframe_points[3].co.y
    assert len(edited(update("two_hands"))) == 1
    (kept,) = kept_actions()
    assert kept.name == f"{right.name} raw edited" and kept.use_fake_user
    (same,) = [item for item in curves_of(kept) if (item.data_path, item.array_index) == path]
    assert same.keyframe_points[3].co.y == value
    assert not edited(update("two_hands"))


@pytest.mark.parametrize("name", ["interpolation", "type"])
def test_keys_that_were_eased_or_marked_are_kept_when_a_take_replaces_them(name: str) -> None:
    empty_scene()
    right: Any = hand(load("two_hands"), RIGHT)
    point = fcurves.active_channels(right).fcurves.find('pose.bones["hand.R"].location').keyframe_points[5]
    setattr(point, name, {"interpolation": "BACK", "type": "EXTREME"}[name])
    assert len(edited(update("two_hands"))) == 1
    (kept,) = kept_actions()
    points = [curve.keyframe_points[5] for curve in curves_of(kept) if curve.data_path.endswith("location")]
    assert {"BACK", "EXTREME"} & {getattr(item, name) for item in points}


@pytest.mark.parametrize("name", ["Duohand raw motion", "compare"])
def test_a_soloed_raw_track_of_any_name_hides_no_motion_that_was_pushed_down(name: str) -> None:
    empty_scene()
    right: Any = hand(load("two_hands"), RIGHT)
    data = right.animation_data
    track, _ = raw_strip(right)
    action, slot = data.action, getattr(data, "action_slot", None)
    pushed = data.nla_tracks.new().strips.new("motion", 1, action)
    if slot is not None:
        pushed.action_slot = slot
    data.action = None
    track.name, track.is_solo = name, True
    assert bpy.ops.duohand.hold_range(hands="RIGHT", first=3, last=5) == {"FINISHED"}
    update("two_hands")
    track, _ = raw_strip(right)
    assert (track.name, track.is_solo, pushed.action) == (name, True, action)


def test_strips_of_the_animators_own_on_the_raw_track_stay() -> None:
    empty_scene()
    right: Any = hand(load("two_hands"), RIGHT)
    _, strip = raw_strip(right)
    own = strip.action.copy()
    strip.action = own
    if hasattr(strip, "action_slot"):
        strip.action_slot = own.slots[0]
    update("two_hands")
    strips = [item for track in right.animation_data.nla_tracks for item in track.strips]
    assert {item.action for item in strips} == {own, right.duohand.raw_action}
