# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects held by captured hands, keyed, saved, exported and taken back."""

from pathlib import Path

import bpy
import numpy as np
import pytest

from tests.blender_addon import scenes, walkers
from tests.blender_addon.test_clean_up_in_blender import all_curves


@pytest.fixture
def shot() -> bpy.types.Collection:
    scenes.empty_scene()
    found = scenes.load("two_hands")
    ball = bpy.data.objects.new("Ball", bpy.data.meshes.new("Ball"))
    ball.location, ball.scale = (0.0, 0.5, 0.05), (2, 2, 2)
    bpy.context.scene.collection.objects.link(ball)
    return found


def places(name: str = "Ball") -> np.ndarray:
    found = []
    for frame in range(1, 25):
        bpy.context.scene.frame_set(frame)
        graph = bpy.context.evaluated_depsgraph_get()
        found.append(np.array(bpy.data.objects[name].evaluated_get(graph).matrix_world))
    return np.array(found)


def hand_matrices(shot: bpy.types.Collection, side: int) -> np.ndarray:
    found = []
    armature = scenes.hand(shot, side)
    for frame in range(1, 25):
        bpy.context.scene.frame_set(frame)
        bone = armature.pose.bones[f"hand.{'LR'[side]}"]
        found.append(np.array(armature.matrix_world @ bone.matrix))
    return np.array(found)


def grips() -> None:
    bpy.ops.duohand.add_grip(prop="Ball", hand="LEFT", first=4, last=14)
    bpy.ops.duohand.add_grip(prop="Ball", hand="RIGHT", first=10, last=20)
    assert bpy.ops.duohand.bake_grips(prop="Ball") == {"FINISHED"}


def within(shot: bpy.types.Collection, side: int, rows: slice) -> float:
    """How far (m, or in matrix entries) the ball moves in the hand."""
    found = np.linalg.inv(hand_matrices(shot, side)[rows]) @ places()[rows]
    return float(np.abs(found - found[0]).max())


def test_a_prop_is_passed_on_held_by_both_hands_and_put_down(
    shot: bpy.types.Collection, tmp_path: Path
) -> None:
    before = [hand_matrices(shot, side) for side in (0, 1)]
    rested = places()[0]
    grips()
    assert within(shot, 0, slice(3, 14)) < 1e-3 and within(shot, 1, slice(9, 20)) < 1e-3
    after = places()
    assert np.abs(after[:3] - rested).max() < 1e-5 and np.abs(after[20:] - after[19]).max() < 1e-5
    assert np.allclose(np.linalg.norm(after[:, :3, 0], axis=-1), 2, atol=1e-4)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    assert np.abs(places() - after).max() < 1e-6
    assert bpy.ops.duohand.release_grips(prop="Ball") == {"FINISHED"}
    again = next(item for item in bpy.context.scene.collection.children if item.duohand.is_shot)
    assert np.abs(places() - rested).max() < 1e-5
    for side in (0, 1):
        assert np.abs(hand_matrices(again, side) - before[side]).max() < 1e-5


@pytest.mark.parametrize("owner", ["prop", "hand"])
def test_grips_of_locked_curves_are_refused_before_anything_changes(
    shot: bpy.types.Collection, owner: str
) -> None:
    grips()
    before = places()
    thing = bpy.data.objects["Ball"] if owner == "prop" else scenes.hand(shot, 1)
    for curve in all_curves(thing):
        curve.lock = "location" in curve.data_path
    with pytest.raises(RuntimeError, match="locked in the Graph Editor"):
        bpy.ops.duohand.bake_grips(prop="Ball")
    assert np.abs(places() - before).max() < 1e-6


def test_keying_again_starts_from_the_objects_own_motion(shot: bpy.types.Collection) -> None:
    grips()
    first = places()
    assert bpy.ops.duohand.bake_grips(prop="Ball") == {"FINISHED"}
    assert np.abs(places() - first).max() < 1e-5
    assert (
        len([item for item in bpy.data.actions if "with props" in item.name]) == 2
    )  # the ball, and the hand that was led


def add_object(name: str, at: tuple[float, float, float]) -> bpy.types.Object:
    made = bpy.data.objects.new(name, bpy.data.meshes.new(name))
    made.location = at
    bpy.context.scene.collection.objects.link(made)
    return made


def in_hand(shot: bpy.types.Collection, name: str, side: int, rows: slice) -> float:
    """How far (m, or in matrix entries) an object moves in the hand."""
    found = np.linalg.inv(hand_matrices(shot, side)[rows]) @ places(name)[rows]
    return float(np.abs(found - found[0]).max())


def test_several_props_are_held_at_once_and_one_after_another(shot: bpy.types.Collection) -> None:
    """The right hand is led by the ball, then leads the cup, whose lid the left hand takes."""
    cup, lid = add_object("Cup", (0.1, 0.5, 0.0)), add_object("Lid", (0.1, 0.5, 0.1))
    lid.parent, lid.matrix_parent_inverse = cup, cup.matrix_basis.inverted()
    bpy.ops.duohand.add_grip(prop="Lid", hand="LEFT", first=12, last=16)
    bpy.ops.duohand.add_grip(prop="Cup", hand="RIGHT", first=11, last=20)
    grips()
    bpy.ops.duohand.add_grip(prop="Lid", hand="LEFT", first=18, last=20)
    for prop in ("Cup", "Ball"):
        assert bpy.ops.duohand.bake_grips(prop=prop) == {"FINISHED"}
        assert in_hand(shot, "Ball", 0, slice(3, 14)) < 1e-3 and in_hand(shot, "Ball", 1, slice(9, 20)) < 1e-3
        assert in_hand(shot, "Cup", 1, slice(10, 20)) < 1e-3
    assert in_hand(shot, "Lid", 0, slice(11, 16)) < 1e-3
    ball = places()
    assert bpy.ops.duohand.release_grips(prop="Cup") == {"FINISHED"}
    assert np.abs(places() - ball).max() < 1e-5 and np.abs(np.diff(places("Cup"), axis=0)).max() < 1e-6


def hand_in_ball(body: bpy.types.Object, bone: str, frames: range) -> np.ndarray:
    """The hand bone's matrix in the ball's axes (F, 4, 4)."""
    found = []
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        graph = bpy.context.evaluated_depsgraph_get()
        hand = body.evaluated_get(graph)
        ball = np.array(bpy.data.objects["Ball"].evaluated_get(graph).matrix_world)
        found.append(np.linalg.inv(ball) @ np.array(hand.matrix_world @ hand.pose.bones[bone].matrix))
    return np.array(found)


def test_a_character_holds_a_prop_with_both_hands() -> None:
    """Hands brought to its wrists hold the prop; then its arms follow them."""
    scene = scenes.empty_scene()
    body = walkers.mixamo(scene)
    walkers.walk(body, walkers.mixamo_names())
    own = body.animation_data.action
    shot = scenes.load("two_hands")
    scene.frame_start, scene.frame_end = 1, 24
    before = hand_matrices(shot, 0)
    assert bpy.ops.duohand.join_hands(target=body.name, preset="MIXAMO") == {"FINISHED"}
    scene.frame_set(15)
    ball = add_object("Ball", tuple(scenes.bone_heads(scenes.hand(shot, 0))[0]))
    ball.scale = (1, 1, 1)
    bpy.ops.duohand.add_grip(prop="Ball", hand="RIGHT", first=15, last=19)
    bpy.ops.duohand.add_grip(prop="Ball", hand="LEFT", first=17, last=21)
    assert bpy.ops.duohand.bake_grips(prop="Ball") == {"FINISHED"}
    scene.duohand_body.wrists, scene.duohand_body.placing = "HANDS", "PLACED"
    assert bpy.ops.duohand.join_hands(target=body.name, preset="MIXAMO") == {"FINISHED"}
    for bone, frames in (("mixamorig:RightHand", range(15, 20)), ("mixamorig:LeftHand", range(17, 22))):
        held = hand_in_ball(body, bone, frames)
        assert np.linalg.norm(held[:, :3, 3] - held[:1, :3, 3], axis=-1).max() < 1e-3
    assert bpy.ops.duohand.release_grips(prop="Ball") == {"FINISHED"}
    assert bpy.ops.duohand.separate_hands(target=body.name) == {"FINISHED"}
    assert body.animation_data.action == own and np.abs(hand_matrices(shot, 0) - before).max() < 1e-5
    assert not [action for action in bpy.data.actions if "with" in action.name]


def test_an_object_with_delta_transforms_is_refused(shot: bpy.types.Collection) -> None:
    bpy.data.objects["Ball"].delta_location = (0.1, 0, 0)
    with pytest.raises(RuntimeError, match="Object > Apply > Deltas"):
        grips()


def test_a_held_prop_survives_fbx(shot: bpy.types.Collection, tmp_path: Path) -> None:
    grips()
    before = places()[:, :3, 3]
    for thing in bpy.data.objects:
        thing.select_set(thing.name == "Ball")
    path = str(tmp_path / "ball.fbx")
    bpy.ops.export_scene.fbx(
        filepath=path,
        use_selection=True,
        bake_anim_simplify_factor=0.0,
        bake_anim_use_all_actions=False,
        bake_anim_use_nla_strips=False,
    )
    scenes.empty_scene()
    bpy.ops.import_scene.fbx(filepath=path, anim_offset=0.0)
    assert np.abs(places("Ball")[:, :3, 3] - before).max() < 1e-3


def test_grips_that_cannot_be_keyed_are_refused_with_the_reason(shot: bpy.types.Collection) -> None:
    with pytest.raises(RuntimeError, match="Add a grip"):
        bpy.ops.duohand.bake_grips(prop="Ball")
    bpy.ops.duohand.add_grip(prop="Ball", hand="LEFT", first=4, last=400)
    with pytest.raises(RuntimeError, match="not inside the scene's range"):
        bpy.ops.duohand.bake_grips(prop="Ball")
    with pytest.raises(RuntimeError, match="There is no object"):
        bpy.ops.duohand.bake_grips(prop="Nothing")
