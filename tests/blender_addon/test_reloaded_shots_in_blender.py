# SPDX-License-Identifier: GPL-3.0-or-later
"""What an animator set on a shot's own camera, strips and skins, when its take is loaded again."""

import importlib
import shutil
from typing import Any

import bpy
import numpy as np
import pytest

from inference_core.shared.skeleton import RIGHT
from tests.blender_addon.in_blender import EXTENSION
from tests.blender_addon.scenes import empty_scene, hand, load, skin_vertices, takes_folder
from tests.blender_addon.test_disturbed_shots_in_blender import update

fcurves = importlib.import_module(f"{EXTENSION}.scene.fcurves")


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
