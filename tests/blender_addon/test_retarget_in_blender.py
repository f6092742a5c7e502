# SPDX-License-Identifier: GPL-3.0-or-later
"""Retargeting through the installed add-on: fingers of rigs with other names and rest poses point alike."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix, Vector

from blender_addon.retarget.bone_map import SEGMENTS, SUFFIXES
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.shared.take import save_take
from tests.blender_addon import walkers
from tests.blender_addon.in_blender import EXTENSION
from tests.blender_addon.rig_names import RIGS
from tests.blender_addon.scenes import empty_scene, go_to, hand, load, made
from tests.blender_addon.test_clean_up_in_blender import all_curves

SIDE_NAMES = {LEFT: "l", RIGHT: "r"}
FINGERS = ("thumb", "index", "middle", "ring", "pinky")
FRAMES = (2, 9, 17)


@pytest.fixture
def shot() -> bpy.types.Collection:
    empty_scene()
    return load("two_hands")


def other_rig(shot: bpy.types.Collection, turn: Euler, bend: float, scale: float = 1.7) -> bpy.types.Object:
    """An Unreal-named armature whose hands are larger, rest bent by `bend` at every joint, turned and rolled."""
    data = bpy.data.armatures.new("Other")
    rig = bpy.data.objects.new("Other", data)
    bpy.context.scene.collection.objects.link(rig)
    bpy.context.view_layer.objects.active = rig
    rig.matrix_world = Matrix.Translation((0.4, -0.2, 0.1)) @ Euler((0.3, 0.1, -0.8)).to_matrix().to_4x4()
    bpy.ops.object.mode_set(mode="EDIT")
    for side, word in SIDE_NAMES.items():
        source = hand(shot, side).data.bones
        suffix = ".LR"[0] + "LR"[side]
        place = (
            Matrix.Translation((1.0 - 2 * side, 0, 1)) @ turn.to_matrix().to_4x4() @ Matrix.Scale(scale, 4)
        )
        wrist = data.edit_bones.new(f"hand_{word}")
        wrist.head, wrist.tail = (
            (place @ source[f"hand{suffix}"].head_local),
            place @ source[f"hand{suffix}"].tail_local,
        )
        for finger in FINGERS:
            parent, head = wrist, place @ source[f"{finger}_01{suffix}"].head_local
            carried = Matrix.Identity(3)
            for k in (1, 2, 3):
                bone = source[f"{finger}_0{k}{suffix}"]
                flexion = bone.matrix_local.to_3x3().col[0]
                carried = carried @ Matrix.Rotation(bend, 3, flexion)
                made = data.edit_bones.new(f"{finger}_0{k}_{word}")
                made.head = head
                made.tail = head + place.to_3x3() @ (carried @ (bone.tail_local - bone.head_local))
                made.roll = 0.7 * k
                made.parent, parent, head = parent, made, Vector(made.tail)
    bpy.ops.object.mode_set(mode="OBJECT")
    return rig


def pointing(armature: bpy.types.Object, bone: str) -> np.ndarray:
    shown = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
    pose = shown.pose.bones[bone]
    direction = np.array(shown.matrix_world)[:3, :3] @ np.array(pose.tail - pose.head)
    return direction / np.linalg.norm(direction)


def largest_turn_deg(
    shot: bpy.types.Collection, rig: bpy.types.Object, sides: tuple[int, ...] = (LEFT, RIGHT)
) -> float:
    worst = 0.0
    for frame in FRAMES:
        go_to(frame)
        for side in sides:
            for finger in FINGERS:
                for k in (1, 2, 3):
                    ours = pointing(hand(shot, side), f"{finger}_0{k}{'.LR'[0]}{'LR'[side]}")
                    theirs = pointing(rig, f"{finger}_0{k}_{SIDE_NAMES[side]}")
                    worst = max(worst, float(np.degrees(np.arccos(np.clip(ours @ theirs, -1, 1)))))
    return worst


@pytest.mark.parametrize("bend", [0.0, 0.35])
def test_fingers_point_like_the_captured_ones_live_and_baked(shot: bpy.types.Collection, bend: float) -> None:
    rig = other_rig(shot, Euler((0.5, -0.9, 2.0)), bend)
    assert bpy.ops.duohand.retarget(target="Other", preset="UNREAL") == {"FINISHED"}
    assert largest_turn_deg(shot, rig) < 0.5
    assert bpy.ops.duohand.bake_retarget(target="Other") == {"FINISHED"}
    assert not [c for bone in rig.pose.bones for c in bone.constraints]
    assert not [item for item in bpy.data.objects if item.name.startswith("Duohand")]
    assert largest_turn_deg(shot, rig) < 0.5


@pytest.mark.parametrize("mode", ["XYZ", "ZYX", "AXIS_ANGLE"])
def test_baked_bones_keep_their_rotation_mode_and_keys_outside(shot: Any, mode: str) -> None:
    rig: Any = other_rig(shot, Euler((0.5, -0.9, 2.0)), 0.2)
    for bone in rig.pose.bones:
        bone.rotation_mode = mode
        bone.lock_rotation = (False, True, True)
    path = "rotation_axis_angle" if mode == "AXIS_ANGLE" else "rotation_euler"
    finger = rig.pose.bones["index_02_l"]
    for frame, value in ((-20, 0.2), (60, 0.7)):
        getattr(finger, path)[0] = value
        finger.keyframe_insert(path, frame=frame)
    bpy.ops.duohand.retarget(target="Other", preset="UNREAL")
    assert bpy.ops.duohand.bake_retarget(target="Other") == {"FINISHED"}
    assert largest_turn_deg(shot, rig) < 0.5
    assert {bone.rotation_mode for bone in rig.pose.bones} == {mode}
    for frame, value in ((-20, 0.2), (60, 0.7)):
        go_to(frame)
        turn = finger.matrix_basis.to_3x3()
        wanted = Euler((value, 0, 0)).to_matrix() if mode != "AXIS_ANGLE" else Matrix.Rotation(value, 3, "Y")
        assert np.allclose(np.array(turn), np.array(wanted), atol=1e-4)


def bake_said(name: str) -> list[str]:
    """What Bake reports."""
    live = importlib.import_module(f"{EXTENSION}.retarget.live")
    scene = bpy.context.scene
    return list(
        live.bake(scene, scene.objects[name], range(scene.frame_start, scene.frame_end + 1)).off.items()
    )


@pytest.mark.parametrize("what", ["driver", "constraint", "NLA", "none"])
def test_a_bone_that_shows_another_motion_than_was_baked_is_named(shot: Any, what: str) -> None:
    rig: Any = other_rig(shot, Euler((0.5, -0.9, 2.0)), 0.2)
    finger = rig.pose.bones["index_02_l"]
    if what == "driver":
        finger.rotation_mode = "XYZ"
        finger.driver_add("rotation_euler", 0).driver.expression = "0.3"
    elif what == "constraint":
        limit = finger.constraints.new("LIMIT_ROTATION")
        limit.name, limit.owner_space = "Knuckle", "LOCAL"
        limit.use_limit_x = limit.use_limit_y = limit.use_limit_z = True
    elif what == "NLA":
        finger.rotation_mode = "XYZ"
        finger.keyframe_insert("rotation_euler", frame=1)
        track = rig.animation_data.nla_tracks.new()
        track.strips.new("over", 1, rig.animation_data.action)
        rig.animation_data.action_influence = 0.3
    bpy.ops.duohand.retarget(target="Other", preset="UNREAL")
    off = dict(bake_said("Other"))
    if what == "none":
        assert off == {}
        return
    assert {"driver": "a driver", "constraint": "the constraint Knuckle", "NLA": "NLA"}[what] in off[
        "index_02_l"
    ]
    assert len(off) == 1 or what == "NLA"


def test_baking_onto_locked_curves_is_refused_and_nothing_changes(shot: Any) -> None:
    rig: Any = other_rig(shot, Euler((0, 0, 0)), 0.1)
    rig.pose.bones["ring_03_r"].keyframe_insert("rotation_quaternion", frame=4)
    for curve in all_curves(rig):
        curve.lock = True
    bpy.ops.duohand.retarget(target="Other", preset="UNREAL")
    with pytest.raises(RuntimeError, match=r"locked in the Graph Editor.*ring_03_r"):
        bpy.ops.duohand.bake_retarget(target="Other")
    assert rig.pose.bones["ring_03_r"].constraints and len(all_curves(rig)[0].keyframe_points) == 1


def test_another_character_with_the_same_action_does_not_get_the_hands(shot: Any) -> None:
    rig: Any = other_rig(shot, Euler((0, 0, 0)), 0.1)
    rig.pose.bones["hand_l"].keyframe_insert("rotation_quaternion", frame=4)
    twin: Any = rig.copy()
    bpy.context.scene.collection.objects.link(twin)
    bpy.ops.duohand.retarget(target="Other", preset="UNREAL")
    bpy.ops.duohand.bake_retarget(target="Other")
    assert largest_turn_deg(shot, rig) < 0.5
    assert {item.data_path for item in all_curves(twin)} == {'pose.bones["hand_l"].rotation_quaternion'}


def test_the_hands_rotation_is_retargeted(shot: bpy.types.Collection) -> None:
    rig = other_rig(shot, Euler((0.2, 0.4, -1.0)), 0.0)
    bpy.ops.duohand.retarget(target="Other", preset="UNREAL")
    for frame in FRAMES:
        go_to(frame)
        for side, word in SIDE_NAMES.items():
            ours, theirs = pointing(hand(shot, side), f"hand.{'LR'[side]}"), pointing(rig, f"hand_{word}")
            assert np.degrees(np.arccos(np.clip(ours @ theirs, -1, 1))) < 0.5


def test_fingers_alone_move_relative_to_the_targets_hand(shot: bpy.types.Collection) -> None:
    rig = other_rig(shot, Euler((0.2, 0.4, -1.0)), 0.2)
    bpy.context.scene.duohand_retarget.with_hand = False
    assert bpy.ops.duohand.retarget(target="Other", preset="UNREAL") == {"FINISHED"}
    rig.pose.bones["hand_r"].rotation_mode = "XYZ"

    def within_hand(armature: bpy.types.Object, wrist: str, finger: str) -> float:
        return float(pointing(armature, wrist) @ pointing(armature, finger))

    for frame, turn in zip(FRAMES, (0.0, 0.8, -0.5), strict=True):
        go_to(frame)
        rig.pose.bones["hand_r"].rotation_euler = (turn, turn, 0)
        bpy.context.view_layer.update()
        assert np.allclose(np.array(rig.pose.bones["hand_r"].rotation_euler), (turn, turn, 0))
        for finger in FINGERS:
            ours = within_hand(hand(shot, RIGHT), "hand.R", f"{finger}_02.R")
            assert within_hand(rig, "hand_r", f"{finger}_02_r") == pytest.approx(ours, abs=0.01)
    bpy.ops.duohand.release_retarget(target="Other")
    assert not [item for item in bpy.data.objects if item.name.startswith("Duohand")]


def test_one_hand_can_follow_alone(shot: bpy.types.Collection) -> None:
    rig = other_rig(shot, Euler((0, 0, 0)), 0.1)
    bpy.ops.duohand.retarget(target="Other", preset="UNREAL", hands="LEFT")
    assert largest_turn_deg(shot, rig, (LEFT,)) < 0.5
    assert not [c for bone in rig.pose.bones if bone.name.endswith("_r") for c in bone.constraints]


def test_retargeting_again_leaves_no_leftovers(shot: bpy.types.Collection) -> None:
    other_rig(shot, Euler((0, 0, 0)), 0.1)
    bpy.ops.duohand.retarget(target="Other", preset="UNREAL")
    count = len(bpy.data.objects)
    bpy.ops.duohand.retarget(target="Other", preset="GUESS")
    assert len(bpy.data.objects) == count


def test_the_map_can_be_edited_saved_and_loaded(shot: bpy.types.Collection, tmp_path: Path) -> None:
    rig = other_rig(shot, Euler((0, 0, 0)), 0.0)
    kept = bpy.context.scene.duohand_retarget
    kept.target, kept.preset = rig, "GUESS"
    assert bpy.ops.duohand.find_bones() == {"FINISHED"}
    assert len(kept.pairs) == 32
    for pair in kept.pairs:
        if pair.name.startswith("pinky_03"):
            pair.bone = ""
    bpy.ops.duohand.save_bone_map(filepath=str(tmp_path / "map.json"))
    kept.pairs.clear()
    bpy.ops.duohand.load_bone_map(filepath=str(tmp_path / "map.json"))
    assert len(kept.pairs) == 30 and kept.preset == "MAP"
    assert bpy.ops.duohand.retarget(preset="MAP") == {"FINISHED"}
    assert not rig.pose.bones["pinky_03_l"].constraints


def test_a_wrong_or_missing_rig_gives_a_readable_message(shot: bpy.types.Collection) -> None:
    other_rig(shot, Euler((0, 0, 0)), 0.0)
    with pytest.raises(RuntimeError, match="not a Mixamo rig"):
        bpy.ops.duohand.retarget(target="Other", preset="MIXAMO")
    with pytest.raises(RuntimeError, match="no armature"):
        bpy.ops.duohand.retarget(target="Nobody", preset="UNREAL")
    with pytest.raises(RuntimeError, match="follows no captured hand"):
        bpy.ops.duohand.bake_retarget(target="Other")


def test_every_presets_rig_can_follow(shot: bpy.types.Collection) -> None:
    from_unreal = dict(zip(RIGS["UNREAL"], RIGS["UNREAL"], strict=True))
    assert {"hand_l", "thumb_01_l", "pinky_03_r"} <= set(from_unreal)
    for preset in ("RIGIFY", "MIXAMO", "VRM", "SMPLX"):
        rig = other_rig(shot, Euler((0.1, 0.2, 0.3)), 0.1)
        for bone in rig.data.bones:
            bone.name = renamed(bone.name, preset)
        rig.name = preset
        assert bpy.ops.duohand.retarget(target=preset, preset=preset) == {"FINISHED"}
        assert sum(len(bone.constraints) for bone in rig.pose.bones) == 32


@pytest.mark.parametrize("rig", list(RIGS))
def test_known_rigs_are_mapped_by_name_or_refused(shot: bpy.types.Collection, rig: str) -> None:
    data = bpy.data.armatures.new("Other")
    other = bpy.data.objects.new("Other", data)
    bpy.context.scene.collection.objects.link(other)
    bpy.context.view_layer.objects.active = other
    bpy.ops.object.mode_set(mode="EDIT")
    for k, name in enumerate(RIGS[rig]):
        made = data.edit_bones.new(name)
        made.head, made.tail = (0, 0, 0.1 * k), (0, 0.05, 0.1 * k)
    bpy.ops.object.mode_set(mode="OBJECT")
    kept = bpy.context.scene.duohand_retarget
    assert bpy.ops.duohand.find_bones(target="Other") == {"FINISHED"}
    assert {f"{name}{side}" for name in SEGMENTS for side in SUFFIXES} <= set(kept.bone_map())
    for bone in list(data.bones):
        bone.name = f"Bone {data.bones.find(bone.name)}"
    with pytest.raises(RuntimeError, match="an index and a little finger"):
        bpy.ops.duohand.find_bones(target="Other")


def renamed(name: str, preset: str) -> str:
    part, side = name[:-2], name[-1]
    finger, _, k = part.partition("_")
    if preset == "RIGIFY":
        word = finger if finger == "thumb" else f"f_{finger}"
        return f"hand_fk.{side.upper()}" if part == "hand" else f"{word}.{k}.{side.upper()}"
    if preset == "MIXAMO":
        word = {"l": "Left", "r": "Right"}[side]
        return f"mixamorig:{word}Hand" + ("" if part == "hand" else f"{finger.capitalize()}{int(k)}")
    if preset == "VRM":
        word = "Little" if finger == "pinky" else finger.capitalize()
        return f"J_Bip_{side.upper()}_" + ("Hand" if part == "hand" else f"{word}{int(k)}")
    word = {"l": "left", "r": "right"}[side]
    return f"{word}_wrist" if part == "hand" else f"{word}_{finger}{int(k)}"


@pytest.mark.parametrize("hidden", ["shot", "rig", "both"])
def test_hidden_rigs_are_baked_or_refused_with_a_reason(shot: bpy.types.Collection, hidden: str) -> None:
    rig = other_rig(shot, Euler((0.5, -0.9, 2.0)), 0.1)
    aside = bpy.data.collections.new("Aside")
    bpy.context.scene.collection.children.link(aside)
    aside.objects.link(rig)
    bpy.context.scene.collection.objects.unlink(rig)
    bpy.ops.duohand.retarget(target="Other", preset="UNREAL")
    layers = bpy.context.view_layer.layer_collection.children
    layers["Aside"].exclude, layers[shot.name].exclude = hidden != "shot", hidden != "rig"
    try:
        bpy.ops.duohand.bake_retarget(target="Other")
    except RuntimeError as error:
        assert hidden != "shot" and "in no collection of this view layer" in str(error)
    layers["Aside"].exclude = layers[shot.name].exclude = False
    assert largest_turn_deg(shot, rig) < 0.5


def test_a_linked_rig_is_refused_with_the_reason(shot: bpy.types.Collection, tmp_path: Path) -> None:
    other_rig(shot, Euler((0, 0, 0)), 0.0)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "rig.blend"), copy=True)
    bpy.data.objects.remove(bpy.data.objects["Other"])
    with bpy.data.libraries.load(str(tmp_path / "rig.blend"), link=True) as (_, wanted):
        wanted.objects = ["Other"]
    bpy.context.scene.collection.objects.link(wanted.objects[0])
    with pytest.raises(RuntimeError, match="library override"):
        bpy.ops.duohand.retarget(target="Other", preset="UNREAL")


def test_baking_onto_an_override_uses_a_local_action(shot: bpy.types.Collection, tmp_path: Path) -> None:
    rig = other_rig(shot, Euler((0.2, 0, 0.5)), 0.2)
    wrist = rig.pose.bones["hand_l"]
    wrist.rotation_mode = "XYZ"
    wrist.keyframe_insert("rotation_euler", frame=1)
    character = bpy.data.collections.new("CHAR")
    bpy.context.scene.collection.objects.unlink(rig)
    character.objects.link(rig)
    library = tmp_path / "character.blend"
    bpy.data.libraries.write(str(library), {character}, fake_user=True)
    before = library.read_bytes()
    scene = empty_scene()
    load("two_hands")
    with bpy.data.libraries.load(str(library), link=True) as (_, wanted):
        wanted.collections = ["CHAR"]
    linked = wanted.collections[0]
    scene.collection.children.link(linked)
    override = linked.override_hierarchy_create(scene, bpy.context.view_layer, do_fully_editable=True)
    if linked.name in scene.collection.children and linked != override:
        scene.collection.children.unlink(linked)
    name = next(item.name for item in override.all_objects if item.type == "ARMATURE")
    bpy.ops.duohand.retarget(target=name, preset="UNREAL")
    bpy.ops.duohand.bake_retarget(target=name)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    scene = bpy.context.scene
    again = next(item for item in scene.objects if item.type == "ARMATURE" and item.duohand.side == "NONE")
    assert again.animation_data.action.library is None
    reopened = next(item for item in scene.collection.children_recursive if item.duohand.is_shot)
    assert largest_turn_deg(reopened, again) < 1.0
    assert library.read_bytes() == before


def armed_rig(shot: bpy.types.Collection) -> bpy.types.Object:
    """The Unreal-named rig, its hands at the ends of straight arms, a character that looks along -Y."""
    rig = other_rig(shot, Euler((0, 0, 0)), 0.0, 1.0)
    rig.matrix_world = Matrix.Translation((2.0, 1.0, 0.0)) @ Matrix.Rotation(0.4, 4, "Z")
    bpy.ops.object.mode_set(mode="EDIT")
    bones = rig.data.edit_bones
    for side, word in SIDE_NAMES.items():
        wrist = bones[f"hand_{word}"]
        out = Vector((0.4 if side == LEFT else -0.4, 0, 0))
        fore, upper = bones.new(f"lowerarm_{word}"), bones.new(f"upperarm_{word}")
        fore.tail, fore.head = wrist.head, wrist.head - out
        upper.tail, upper.head = fore.head, fore.head - out
        wrist.parent, fore.parent = fore, upper
    bpy.ops.object.mode_set(mode="OBJECT")
    return rig


def test_the_shot_is_placed_in_front_of_the_character_within_reach(
    shot: bpy.types.Collection,
) -> None:
    rig = armed_rig(shot)
    kept = bpy.context.scene.duohand_retarget
    kept.target, kept.preset, kept.with_location = rig, "UNREAL", True
    assert bpy.ops.duohand.place_at_armature() == {"FINISHED"}
    assert abs(shot.duohand.place.matrix_world.to_scale().x - 0.8 / 0.55) < 0.02
    assert bpy.ops.duohand.retarget(hands="BOTH") == {"FINISHED"}
    live = wrists_apart_m(shot, rig)
    assert live.max() < 0.01
    assert bpy.ops.duohand.bake_retarget(target="Other") == {"FINISHED"}
    assert not any(thing.name.startswith("Duohand") for thing in bpy.data.objects)
    assert wrists_apart_m(shot, rig).max() < 0.01


def wrists_apart_m(shot: bpy.types.Collection, rig: bpy.types.Object) -> np.ndarray:
    """How far the character's hands are from the captured ones."""
    found = []
    for frame in FRAMES:
        go_to(frame)
        shown = rig.evaluated_get(bpy.context.evaluated_depsgraph_get())
        for side, word in SIDE_NAMES.items():
            ours = hand(shot, side)
            wrist = ours.matrix_world @ ours.pose.bones[f"hand{'.LR'[0]}{'LR'[side]}"].head
            found.append((shown.matrix_world @ shown.pose.bones[f"hand_{word}"].head - wrist).length)
    return np.array(found)


def elbow_directions(shot: bpy.types.Collection, rig: bpy.types.Object) -> np.ndarray:
    """(frames, 2, 3) where the elbows point, across the lines from shoulder to wrist."""
    found = []
    for frame in range(1, 25):
        go_to(frame)
        shown = rig.evaluated_get(bpy.context.evaluated_depsgraph_get())
        for word in SIDE_NAMES.values():
            joints = [shown.pose.bones[f"{bone}_{word}"].head for bone in ("upperarm", "lowerarm", "hand")]
            shoulder, elbow, wrist = (np.array(shown.matrix_world @ joint) for joint in joints)
            found.append(across(elbow - shoulder, wrist - shoulder))
    return np.array(found).reshape(-1, 2, 3)


def across(vector: np.ndarray, axis: np.ndarray) -> np.ndarray:
    left = vector - (vector @ axis) / (axis @ axis) * axis
    return left / np.linalg.norm(left)


@pytest.mark.parametrize("known", ["all", "the second half", "none"])
def test_an_elbow_points_like_the_filmed_one_and_never_flips(tmp_path: Path, known: str) -> None:
    take = made("two_hands")
    arms = np.full((take.frame_count, 2, 2, 3), np.nan, np.float32)
    rows = {"all": slice(None), "the second half": slice(12, None), "none": slice(0)}[known]
    raised = np.array([0.0, -0.25, 0.05])  # elbows above the wrists
    arms[rows, :, 1] = take.wrist_cam_m[rows] + raised
    score = np.where(np.isfinite(arms[..., 0]), 0.9, 0).astype(np.float32)
    save_take(replace(take, arms_cam_m=arms, arms_score=score), tmp_path / "armed.npz")
    empty_scene()
    bpy.ops.duohand.load_take(filepath=str(tmp_path / "armed.npz"), place="ORIGIN")
    shot = next(item for item in bpy.context.scene.collection.children if item.duohand.is_shot)
    rig = armed_rig(shot)
    kept = bpy.context.scene.duohand_retarget
    kept.target, kept.preset, kept.with_location = rig, "UNREAL", True
    bpy.ops.duohand.place_at_armature()
    assert bpy.ops.duohand.retarget(preset="UNREAL", hands="BOTH") == {"FINISHED"}
    pointing_to = elbow_directions(shot, rig)
    up = pointing_to[..., 2]
    if known != "none":
        assert up[-8:].min() > 0.6
    if known != "all":
        assert up[:6].max() < -0.3
    steps = np.degrees(np.arccos(np.clip((pointing_to[1:] * pointing_to[:-1]).sum(-1), -1, 1)))
    assert steps.max() < 30
    bpy.ops.duohand.bake_retarget(target="Other")
    assert (
        np.degrees(np.arccos(np.clip((elbow_directions(shot, rig) * pointing_to).sum(-1), -1, 1))).max() < 2
    )
    assert not [item for item in (*bpy.data.objects, *bpy.data.actions) if item.name.startswith("Duohand")]


def with_arms_in_parts(body: Any) -> None:
    """Split upper arms and forearms of the Mixamo-like character in the middle, as Daz and MakeHuman have them."""
    bpy.context.view_layer.objects.active = body
    bpy.ops.object.mode_set(mode="EDIT")
    bones = body.data.edit_bones
    for side in ("Left", "Right"):
        for part, below in (("ForeArm", "Hand"), ("Arm", "ForeArm")):
            whole = bones[f"mixamorig:{side}{part}"]
            half = bones.new(f"mixamorig:{side}{part}Twist")
            half.head, half.tail = (whole.head + whole.tail) / 2, whole.tail
            half.parent, whole.tail = whole, half.head
            bones[f"mixamorig:{side}{below}"].parent = half
    bpy.ops.object.mode_set(mode="OBJECT")


def test_arms_of_several_bones_bend_at_the_elbow_alone(shot: Any) -> None:
    scene = bpy.context.scene
    body: Any = walkers.mixamo(scene)
    with_arms_in_parts(body)
    body.pose.bones["mixamorig:LeftForeArmTwist"].lock_ik_y = True
    scene.duohand_retarget.preset, scene.duohand_retarget.with_location = "MIXAMO", True
    assert bpy.ops.duohand.place_at_armature(target=body.name) == {"FINISHED"}
    bpy.ops.duohand.retarget(target=body.name, preset="MIXAMO")
    for baked in (False, True):
        if baked:
            bpy.ops.duohand.bake_retarget(target=body.name)
        for frame in FRAMES:
            go_to(frame)
            for side, word in ((LEFT, "Left"), (RIGHT, "Right")):
                captured = hand(shot, side)
                wrist = captured.matrix_world @ captured.pose.bones[0].head
                reached = body.matrix_world @ body.pose.bones[f"mixamorig:{word}Hand"].head
                assert (reached - wrist).length < 2e-3
                for part in ("Arm", "ForeArm"):
                    whole, half = (pointing(body, f"mixamorig:{word}{part}{end}") for end in ("", "Twist"))
                    assert whole @ half > 0.9999
                assert (
                    pointing(body, f"mixamorig:{word}Arm") @ pointing(body, f"mixamorig:{word}ForeArm") < 0.98
                )
    halves = [bone for bone in body.pose.bones if bone.name.endswith("Twist")]
    assert [bone.name for bone in halves if bone.lock_ik_y] == ["mixamorig:LeftForeArmTwist"]
    assert not any(bone.lock_ik_x or bone.lock_ik_z for bone in halves)
