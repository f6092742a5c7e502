# SPDX-License-Identifier: GPL-3.0-or-later
"""What an animator does to a shot besides animating it: things are deleted, sorted, copied, appended, locked, renamed.

The tools go on, or say what is in their way; an update puts right what it needs, and nobody else's motion changes.
"""

import importlib
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.shared.take import load_take, save_take
from tests.blender_addon.in_blender import EXTENSION
from tests.blender_addon.scenes import bone_heads, empty_scene, go_to, hand, load, take_file, takes_folder
from tests.blender_addon.test_clean_up_in_blender import all_curves
from tests.blender_addon.walkers import mixamo

FRAMES = (1, 8, 20)
WHOLE = {"first": 1, "last": 24}


@pytest.fixture
def shot() -> Any:
    empty_scene()
    return load("two_hands")


def heads(armature: bpy.types.Object) -> np.ndarray:
    found = []
    for frame in FRAMES:
        go_to(frame)
        found.append(bone_heads(armature))
    return np.array(found)


def delete(thing: bpy.types.Object) -> None:
    """As the key X does, which leaves the data of what is still referred to in the file."""
    with bpy.context.temp_override(selected_objects=[thing], active_object=thing):
        bpy.ops.object.delete()


def lift(**options: Any) -> None:
    assert bpy.ops.duohand.offset_wrist(location=(0, 0, 0.1), **WHOLE, **options) == {"FINISHED"}


def update(name: str) -> tuple[str, ...]:
    """Load the made take in place; its notes."""
    apply_take = importlib.import_module(f"{EXTENSION}.take.apply_take")
    settings = importlib.import_module(f"{EXTENSION}.take.settings").ApplySettings()
    path = take_file(name)
    return apply_take.apply_take(bpy.context.scene, load_take(path), str(path), settings).warnings


@pytest.mark.parametrize("what", ["camera", "place", "skin", "hand"])
def test_an_update_restores_deleted_objects(shot: Any, what: str, tmp_path: Path) -> None:
    right = hand(shot, RIGHT)
    delete({"skin": right.duohand.skin, "hand": right}.get(what) or getattr(shot.duohand, what))
    assert bpy.ops.duohand.hold_range(first=3, last=5) == {"FINISHED"}
    assert bpy.ops.duohand.save_take(filepath=str(tmp_path / "t.npz")) == {"FINISHED"}
    assert load_take(tmp_path / "t.npz").frame_count == 24
    assert bpy.ops.duohand.export_fbx(filepath=str(tmp_path / "t.fbx")) == {"FINISHED"}
    load("two_hands")
    scene = bpy.context.scene
    needed = [shot.duohand.camera, shot.duohand.place]
    needed += [item for side in (LEFT, RIGHT) for item in (hand(shot, side), hand(shot, side).duohand.skin)]
    assert all(scene.objects.get(item.name) == item for item in needed) and len(scene.objects) == 6


def test_a_deleted_camera_is_reported(shot: Any) -> None:
    delete(shot.duohand.camera)
    with pytest.raises(RuntimeError, match="no camera"):
        bpy.ops.duohand.view_through_camera()


def test_hands_sorted_into_another_collection_are_still_the_shots(shot: Any) -> None:
    scene = bpy.context.scene
    other = bpy.data.collections.new("characters")
    scene.collection.children.link(other)
    for thing in list(shot.objects):
        shot.objects.unlink(thing)
        other.objects.link(thing)
    bpy.context.view_layer.objects.active = next(item for item in other.objects if item.type == "ARMATURE")
    assert bpy.ops.duohand.hold_range(first=3, last=5) == {"FINISHED"}
    count = len(scene.objects)
    load("two_hands")
    assert len(scene.objects) == count


@pytest.mark.parametrize("pushed", [False, True])
def test_another_object_with_the_same_action_does_not_move(shot: Any, pushed: bool) -> None:
    right = hand(shot, RIGHT)
    twin = right.copy()
    twin.duohand.side = "NONE"
    bpy.context.scene.collection.objects.link(twin)
    if pushed:
        for data in (right.animation_data, twin.animation_data):
            action, slot = data.action, getattr(data, "action_slot", None)
            strip = data.nla_tracks.new().strips.new("motion", 1, action)
            if slot is not None:
                strip.action_slot = slot
            data.action = None
    before, own = heads(twin), heads(right)
    lift(hands="RIGHT")
    assert np.abs(heads(twin) - before).max() < 1e-6
    np.testing.assert_allclose(heads(right) - own, np.broadcast_to([0, 0, 0.1], own.shape), atol=1e-5)
    load("two_hands")
    assert np.abs(heads(twin) - before).max() < 1e-6


def test_full_copies_of_a_scene_have_their_own_shots(shot: Any) -> None:
    first, scene = heads(hand(shot, RIGHT)), bpy.context.scene
    bpy.ops.scene.new(type="FULL_COPY")
    copy = next(item for item in bpy.context.scene.collection.children if item.duohand.is_shot)
    assert copy != shot and copy.duohand.camera.name in bpy.context.scene.objects
    lift(hands="RIGHT")
    load("right_only")
    bpy.context.window.scene = scene
    assert np.abs(heads(hand(shot, RIGHT)) - first).max() < 1e-6
    assert hand(shot, LEFT).name in scene.objects


def test_the_active_one_of_two_shots_of_the_same_footage_is_updated(shot: Any) -> None:
    load("two_hands", existing="NEW")
    second = next(item for item in bpy.context.scene.collection.children if item not in (shot,))
    bpy.context.view_layer.objects.active = hand(second, LEFT)
    load("right_only")
    assert [item.duohand.side for item in second.objects if item.type == "ARMATURE"] == ["RIGHT"]
    assert hand(shot, LEFT)


def test_an_appended_shot_finds_its_take(tmp_path: Path) -> None:
    empty_scene()
    for folder in ("a/takes", "b/takes"):
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(take_file("two_hands"), tmp_path / folder / "t.npz")
    shutil.copy(takes_folder() / "counted.mp4", tmp_path / "a" / "made up.mp4")
    bpy.ops.duohand.load_take(filepath=str(tmp_path / "a" / "takes" / "t.npz"))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a" / "a.blend"))
    name = next(item.name for item in bpy.context.scene.collection.children if item.duohand.is_shot)
    assert bpy.data.collections[name].duohand.take_path.startswith("//")
    scene = empty_scene()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "b" / "b.blend"))
    (tmp_path / "b" / "takes" / "t.npz").write_text("another one's file at the same place")
    with bpy.data.libraries.load(str(tmp_path / "a" / "a.blend"), link=False) as (_, wanted):
        wanted.collections = [name]
    scene.collection.children.link(wanted.collections[0])
    for _ in range(2):
        assert bpy.ops.duohand.save_take(filepath=str(tmp_path / "edited.npz")) == {"FINISHED"}
        bpy.ops.wm.save_mainfile()
        bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "b" / "b.blend"))


def test_an_overridden_shot_can_be_read_but_not_edited(tmp_path: Path) -> None:
    empty_scene()
    name = load("two_hands").name
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    scene = empty_scene()
    bpy.ops.wm.save_as_mainfile(filepath=str(takes_folder() / "shot.blend"))
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, wanted):
        wanted.collections = [name]
    scene.collection.children.link(wanted.collections[0])
    linked = wanted.collections[0]
    linked.override_hierarchy_create(scene, bpy.context.view_layer, do_fully_editable=True)
    scene.collection.children.unlink(linked)
    for operator in ("hold_range", "lock_range", "unlock_range", "reduce_keys", "euler_filter"):
        with pytest.raises(RuntimeError, match="linked from another file"):
            getattr(bpy.ops.duohand, operator)()
    assert bpy.ops.duohand.save_take(filepath=str(tmp_path / "t.npz")) == {"FINISHED"}


def test_a_curves_modifiers_and_switches_stay(shot: Any) -> None:
    right = hand(shot, RIGHT)
    path = 'pose.bones["hand.R"].location'

    def curve() -> Any:
        return next(item for item in all_curves(right) if item.data_path == path and item.array_index == 2)

    before = heads(right)
    noise = curve().modifiers.new("NOISE")
    noise.strength = 0.2
    curve().mute = True
    bpy.ops.duohand.reduce_keys(max_error_mm=0.1)
    for _ in range(3):
        assert bpy.ops.duohand.bake_keys() == {"FINISHED"}
    assert len(curve().modifiers) == 1 and curve().mute
    curve().mute = False
    assert np.abs(heads(right) - before).max() > 1e-3
    curve().modifiers.remove(curve().modifiers[0])
    assert np.abs(heads(right) - before).max() < 2e-4  # what the modifier adds was not keyed


def test_locked_curves_are_kept_and_reported(shot: Any) -> None:
    locked = next(item for item in all_curves(hand(shot, RIGHT)) if "index_01" in item.data_path)
    locked.lock = True
    for operator in ("hold_range", "smooth", "reduce_keys", "bake_keys", "euler_filter"):
        with pytest.raises(RuntimeError, match="locked in the Graph Editor"):
            getattr(bpy.ops.duohand, operator)(hands="RIGHT")
    assert bpy.ops.duohand.hold_range(hands="LEFT") == {"FINISHED"}


def lock(owner: Any, word: str, by_group: bool = False) -> np.ndarray:
    """Lock the owner's first curve whose path has the word, by itself or by its group; its keys' values."""
    curve = next(item for item in all_curves(owner) if word in item.data_path)
    if by_group:
        curve.group.lock = True
    else:
        curve.lock = True
    return keys_of(owner, curve.data_path)


def keys_of(owner: Any, path: str) -> np.ndarray:
    return np.array(
        [point.co for item in all_curves(owner) if item.data_path == path for point in item.keyframe_points]
    )


def without_place(shot: Any) -> dict[str, Any]:
    delete(shot.duohand.place)
    scene: Any = bpy.context.scene
    scene.duohand_retarget.target, scene.duohand_retarget.preset = mixamo(scene), "MIXAMO"
    return {}


def scaled_to_nothing(shot: Any) -> dict[str, Any]:
    hand(shot, LEFT).scale = (0, 0, 0)
    bpy.context.view_layer.update()
    return {}


def without_bones(shot: Any) -> dict[str, Any]:
    hand(shot, LEFT).data = bpy.data.armatures.new("empty")
    return {"filepath": str(Path(tempfile.mkdtemp()) / "x.bvh")}


def in_tiny_units(_shot: Any) -> dict[str, Any]:
    bpy.context.scene.unit_settings.scale_length = 1e5
    return {"filepath": str(take_file("two_hands")), "existing": "NEW"}


@pytest.mark.parametrize(
    ("disturb", "operator", "said"),
    [
        (without_place, "place_at_armature", "The empty that carries"),
        (scaled_to_nothing, "swap_sides", "scaled to nothing"),
        (without_bones, "export_bvh", "has no bones"),
        (in_tiny_units, "load_take", "too small"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(shot: Any, disturb: Any, operator: str, said: str) -> None:
    options = disturb(shot)
    with pytest.raises(RuntimeError, match=said) as error:
        getattr(bpy.ops.duohand, operator)(**options)
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize("by_group", [False, True])
def test_an_update_keeps_locked_curves_and_says_so(shot: Any, by_group: bool) -> None:
    right = hand(shot, RIGHT)
    lift(hands="BOTH")
    path = 'pose.bones["hand.R"].location'
    kept = lock(right, path, by_group)
    lifted = heads(right)[:, 0]
    assert bpy.ops.duohand.lock_range(hands="RIGHT", first=3, last=5) == {"FINISHED"}
    said = update("two_hands")
    assert np.array_equal(keys_of(right, path), kept)
    np.testing.assert_allclose(heads(right)[:, 0], lifted, atol=1e-5)
    assert [line for line in said if right.name in line and path in line]
    assert not [line for line in said if "Locked" in line and hand(shot, LEFT).name in line]
    (bone,) = [item for item in all_curves(right) if item.data_path == path and item.array_index == 0]
    bone.lock = bone.group.lock = False
    for item in all_curves(right):
        item.lock = False
    bpy.ops.duohand.unlock_range(first=1, last=24)
    assert not [line for line in update("two_hands") if "Locked" in line]
    assert np.abs(heads(right)[:, 0] - lifted).max() > 0.05


def test_an_update_keeps_locked_curves_of_another_rotation_mode(shot: Any) -> None:
    right = hand(shot, RIGHT)
    kept = lock(right, "index_01.R")
    path = next(item.data_path for item in all_curves(right) if item.lock)
    load("two_hands", rotation_mode="XYZ")
    assert np.array_equal(keys_of(right, path), kept)


def test_what_is_keyed_on_camera_and_skin_besides_the_take_stays() -> None:
    empty_scene()
    shot = load("moving_camera")
    camera, skin = shot.duohand.camera, hand(shot, LEFT).duohand.skin
    camera.data.dof.aperture_fstop = 2.0
    camera.data.keyframe_insert("dof.aperture_fstop", frame=3)
    camera["note"] = 1.0
    camera.keyframe_insert('["note"]', frame=4)
    skin.keyframe_insert("location", frame=4)
    skin.hide_render = True
    locked = lock(camera, "location")
    load("moving_camera")
    assert bpy.ops.duohand.hold_range(first=3, last=5) == {"FINISHED"}
    assert {item.data_path for item in all_curves(camera.data)} >= {"dof.aperture_fstop"}
    assert '["note"]' in {item.data_path for item in all_curves(camera)}
    assert "location" in {item.data_path for item in all_curves(skin)} and skin.hide_render
    assert np.array_equal(keys_of(camera, "location"), locked)


def test_hands_whose_collection_was_deleted_are_updated_not_doubled(shot: Any) -> None:
    scene, right = bpy.context.scene, hand(shot, RIGHT)
    shot.duohand.place.location.x = 0.5
    load("two_hands", rotation_mode="XYZ", scale=2.0)
    lift(hands="RIGHT")
    bpy.ops.duohand.lock_range(hands="RIGHT", **WHOLE)
    for thing in list(shot.objects):  # as Delete in the Outliner does
        scene.collection.objects.link(thing)
    bpy.data.collections.remove(shot)
    before, count = heads(right), len(scene.objects)
    again = load("two_hands")
    assert len(scene.objects) == count and hand(again, RIGHT) == right
    assert again.duohand.scale == 2.0 and again.duohand.rotation_mode == "XYZ"
    np.testing.assert_allclose(heads(right), before, atol=1e-5)
    assert not list(scene.collection.objects)
    load("two_hands")
    assert len(scene.objects) == count and len(scene.collection.children) == 1


def test_a_shot_whose_collection_was_unlinked_is_linked_again(shot: Any) -> None:
    scene = bpy.context.scene
    other = bpy.data.collections.new("kept")
    scene.collection.children.link(other)
    for thing in list(shot.objects):
        other.objects.link(thing)
    scene.collection.children.unlink(shot)
    count = len(scene.objects)
    load("two_hands")
    assert len(scene.objects) == count and shot.name in scene.collection.children


def test_a_renamed_bone_is_named_and_comes_back_with_an_update(shot: Any, tmp_path: Path) -> None:
    right = hand(shot, RIGHT)
    right.data.bones["hand.R"].name = "wrist"
    for operator in ("hold_range", "lock_range", "reduce_keys", "euler_filter", "next_uncertain"):
        with pytest.raises(RuntimeError, match=r"no bone hand\.R"):
            getattr(bpy.ops.duohand, operator)()
    with pytest.raises(RuntimeError, match=r"no bone hand\.R"):
        bpy.ops.duohand.save_take(filepath=str(tmp_path / "t.npz"))
    load("two_hands")
    assert "hand.R" in right.data.bones and bpy.ops.duohand.hold_range() == {"FINISHED"}


@pytest.mark.parametrize("size", [1.0, 1.1])
def test_an_animators_own_bones_stay_with_an_update(shot: Any, tmp_path: Path, size: float) -> None:
    left = hand(shot, LEFT)
    bpy.context.view_layer.objects.active = left
    bpy.ops.object.mode_set(mode="EDIT")
    control = left.data.edit_bones.new("control")
    control.head, control.tail = (0, 0, 0.3), (0, 0.1, 0.3)
    control.parent = left.data.edit_bones["hand.L"]
    bpy.ops.object.mode_set(mode="OBJECT")
    left.data.collections.new("mine").assign(left.data.bones["control"])
    left.pose.bones["control"].location.x = 0.2
    left.pose.bones["control"].keyframe_insert("location", frame=3)
    take = load_take(take_file("two_hands"))
    rest = {"rest_joints_m": take.rest_joints_m * size, "rest_vertices_m": take.rest_vertices_m * size}
    save_take(replace(take, **rest), tmp_path / "again.npz")
    assert bpy.ops.duohand.load_take(filepath=str(tmp_path / "again.npz")) == {"FINISHED"}
    assert bpy.ops.duohand.load_take(filepath=str(tmp_path / "again.npz"), existing="NEW") == {"FINISHED"}
    fresh = hand(next(item for item in bpy.context.scene.collection.children if item != shot), LEFT)
    fresh.parent.matrix_world = left.parent.matrix_world
    np.testing.assert_allclose(heads(left), heads(fresh), atol=1e-5)
    assert [bone.name for bone in left.data.collections["mine"].bones] == ["control"]
    assert left.data.bones["control"].parent == left.data.bones["hand.L"]
    go_to(4)
    assert left.pose.bones["control"].location.x == pytest.approx(0.2)


def test_a_take_before_frame_0_is_reported_as_outside_the_range() -> None:
    empty_scene()
    apply_take = importlib.import_module(f"{EXTENSION}.take.apply_take")
    settings = importlib.import_module(f"{EXTENSION}.take.settings").ApplySettings(start_frame=-5)
    take = load_take(take_file("two_hands"))
    said = apply_take.apply_take(bpy.context.scene, take, str(take_file("two_hands")), settings).warnings
    assert any("begins on frame -5" in line for line in said)
