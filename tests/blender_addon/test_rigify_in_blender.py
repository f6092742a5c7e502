# SPDX-License-Identifier: GPL-3.0-or-later
"""Retargeting onto the human rig that Blender's own Rigify generates: its deforming fingers point as captured."""

import importlib
from collections.abc import Iterator

import bpy
import numpy as np
import pytest

from inference_core.shared.skeleton import FINGERS, LEFT, RIGHT
from tests.blender_addon.scenes import empty_scene, go_to, hand, load

FRAMES = (2, 9, 17)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rigify() -> Iterator[None]:
    addon_utils = importlib.import_module("addon_utils")
    addon_utils.enable("rigify", default_set=True)
    yield
    addon_utils.disable("rigify", default_set=True)


def generated_rig() -> bpy.types.Object:
    bpy.ops.object.armature_human_metarig_add()
    bpy.ops.pose.rigify_generate()
    return bpy.context.object


def pointing(armature: bpy.types.Object, bone: str) -> np.ndarray:
    shown = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
    direction = np.array(shown.matrix_world)[:3, :3] @ np.array(shown.pose.bones[bone].y_axis)
    return direction / np.linalg.norm(direction)


def largest_turn_deg(shot: bpy.types.Collection, rig: bpy.types.Object) -> float:
    worst = 0.0
    for frame in FRAMES:
        go_to(frame)
        for side in (LEFT, RIGHT):
            for finger in FINGERS:
                theirs = finger if finger == "thumb" else f"f_{finger}"
                for k in (1, 2, 3):
                    ours = pointing(hand(shot, side), f"{finger}_0{k}.{'LR'[side]}")
                    other = pointing(rig, f"DEF-{theirs}.0{k}.{'LR'[side]}")
                    worst = max(worst, float(np.degrees(np.arccos(np.clip(ours @ other, -1, 1)))))
    return worst


def test_a_generated_rigs_fingers_follow_by_either_hand_control_live_and_baked(rigify: None) -> None:
    scene = empty_scene()
    rig = generated_rig()
    shot = load("two_hands")
    for switch, control in ((0.0, "hand_ik.L"), (1.0, "hand_fk.L")):
        for side in "LR":
            rig.pose.bones[f"upper_arm_parent.{side}"]["IK_FK"] = switch
        assert bpy.ops.duohand.retarget(target=rig.name, preset="RIGIFY") == {"FINISHED"}
        assert control in [pair.bone for pair in scene.duohand_retarget.pairs]
        assert largest_turn_deg(shot, rig) < 1.0
    assert bpy.ops.duohand.bake_retarget(target=rig.name) == {"FINISHED"}
    assert largest_turn_deg(shot, rig) < 1.0
    action = rig.animation_data.action
    assert action.frame_range[1] == scene.frame_end


def test_names_alone_tell_a_generated_rigs_finger_controls(rigify: None) -> None:
    empty_scene()
    rig = generated_rig()
    load("two_hands")
    assert bpy.ops.duohand.retarget(target=rig.name, preset="GUESS") == {"FINISHED"}
    found = {pair.name: pair.bone for pair in bpy.context.scene.duohand_retarget.pairs}
    assert found["index_01.L"] == "f_index.01.L" and found["thumb_03.R"] == "thumb.03.R"
    assert len(found) == 32
