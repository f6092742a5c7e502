# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses of hands to the pose library and back: same hand, other hand, other file, Euler angles, Blender's own tools."""

from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from inference_core.shared.skeleton import LEFT, RIGHT
from tests.blender_addon.scenes import empty_scene, go_to, hand, load


@pytest.fixture
def shot() -> Any:
    empty_scene()
    return load("two_hands", start_frame=1, set_rate=True)


def turns(armature: bpy.types.Object, frame: float) -> np.ndarray:
    """(16, 4) rotations of the bones as played, w >= 0."""
    go_to(frame)
    found = np.array([bone.matrix_basis.to_quaternion() for bone in armature.pose.bones])
    return found * np.where(found[:, :1] < 0, -1, 1)


def save(frame: int, hands: str, **options: Any) -> bpy.types.Action:
    bpy.context.scene.frame_set(frame)
    assert bpy.ops.duohand.save_pose(hands=hands, **options) == {"FINISHED"}
    return bpy.context.scene.duohand_poses.pose


def test_a_pose_is_saved_as_an_asset_with_a_picture(shot: Any) -> None:
    action = save(5, "LEFT", pose_name="Fist")
    assert (action.name, action.use_fake_user) == ("Fist", True)
    assert {tag.name for tag in action.asset_data.tags} == {"hand", "left"}
    size = tuple(action.preview.image_size)
    picture = np.empty(size[0] * size[1] * 4, np.float32)
    action.preview.image_pixels_float.foreach_get(picture)
    covered = (picture.reshape(*size, 4)[..., 3] > 0.5).mean()
    assert 0.1 < covered < 0.7
    assert action.frame_range[0] == action.frame_range[1]


def test_applying_a_pose_keeps_the_wrist(shot: Any) -> None:
    armature = hand(shot, LEFT)
    wanted, before = turns(armature, 5), turns(armature, 18)
    save(5, "LEFT")
    go_to(18)
    assert bpy.ops.duohand.apply_pose(hands="LEFT") == {"FINISHED"}
    after = turns(armature, 18)
    np.testing.assert_allclose(after[1:], wanted[1:], atol=1e-5)
    np.testing.assert_allclose(after[0], before[0], atol=1e-5)
    assert np.abs(before[1:] - wanted[1:]).max() > 0.1


def test_a_pose_fades_in_and_out_around_its_frame(shot: Any) -> None:
    armature = hand(shot, LEFT)
    before = {frame: turns(armature, frame) for frame in range(1, 25)}
    save(5, "LEFT")
    go_to(18)
    assert bpy.ops.duohand.apply_pose(hands="LEFT", blend=3) == {"FINISHED"}
    moved = {frame: np.abs(turns(armature, frame) - before[frame]).max() for frame in range(1, 25)}
    assert [frame for frame, amount in moved.items() if amount > 1e-4] == list(range(15, 22))


def test_the_wrists_rotation_is_applied_on_request(shot: Any) -> None:
    armature = hand(shot, RIGHT)
    wanted = turns(armature, 3)
    save(3, "RIGHT", with_wrist=True)
    go_to(20)
    assert bpy.ops.duohand.apply_pose(hands="RIGHT", with_wrist=True) == {"FINISHED"}
    np.testing.assert_allclose(turns(armature, 20), wanted, atol=1e-5)


def test_a_pose_is_mirrored_for_the_other_hand(shot: Any) -> None:
    left, right = hand(shot, LEFT), hand(shot, RIGHT)
    wanted = turns(left, 5)
    save(5, "LEFT")
    go_to(5)
    assert bpy.ops.duohand.apply_pose(hands="RIGHT") == {"FINISHED"}
    # In a mirror: what bends bends, and a finger spreads to the other side.
    np.testing.assert_allclose(turns(right, 5)[1:], wanted[1:] * [1, 1, -1, -1], atol=1e-5)


@pytest.mark.parametrize("order", ["XYZ", "ZYX"])
def test_poses_work_with_euler_angles(order: str) -> None:
    empty_scene()
    shot = load("two_hands", start_frame=1, set_rate=True, rotation_mode=order)
    left = hand(shot, LEFT)
    wanted = turns(left, 5)
    action = save(5, "LEFT")
    go_to(18)
    assert bpy.ops.duohand.apply_pose(hands="LEFT") == {"FINISHED"}
    np.testing.assert_allclose(turns(left, 18)[1:], wanted[1:], atol=1e-4)
    for bone in left.pose.bones:  # as Blender's own pose library applies it
        bone.rotation_euler = (0, 0, 0)
    left.pose.apply_pose_from_action(action)
    found = np.array([bone.matrix_basis.to_quaternion() for bone in left.pose.bones])
    np.testing.assert_allclose(np.abs((found * wanted).sum(-1))[1:], 1, atol=1e-5)


def test_a_pose_from_another_file_is_applied_without_leftovers(tmp_path: Path) -> None:
    empty_scene()
    shot = load("two_hands", start_frame=1, set_rate=True)
    wanted = turns(hand(shot, LEFT), 5)
    save(5, "LEFT", pose_name="Point")
    library = str(tmp_path / "poses.blend")
    bpy.ops.wm.save_as_mainfile(filepath=library)
    empty_scene()
    shot = load("two_hands", start_frame=1, set_rate=True)
    go_to(18)
    options = {"hands": "BOTH", "pose": "Point", "library": library}
    assert bpy.ops.duohand.apply_pose(**options) == {"FINISHED"}
    np.testing.assert_allclose(turns(hand(shot, LEFT), 18)[1:], wanted[1:], atol=1e-5)
    assert "Point" not in bpy.data.actions and not bpy.data.libraries
    with pytest.raises(RuntimeError, match="has no pose Gone"):
        bpy.ops.duohand.apply_pose(**{**options, "pose": "Gone"})
    with pytest.raises(RuntimeError, match="cannot be read"):
        bpy.ops.duohand.apply_pose(**{**options, "library": str(tmp_path / "gone.blend")})


def test_inapplicable_poses_are_refused_with_the_reason(shot: Any) -> None:
    with pytest.raises(RuntimeError, match="No pose is chosen"):
        bpy.ops.duohand.apply_pose(hands="LEFT")
    save(5, "LEFT")
    assert bpy.ops.duohand.lock_range(hands="RIGHT", first=10, last=12) == {"FINISHED"}
    with pytest.raises(RuntimeError, match="locked on frame 11"):
        bpy.ops.duohand.apply_pose(hands="RIGHT", first=11, last=11)
    other = bpy.data.actions.new("No hand")
    with pytest.raises(RuntimeError, match="keys no bone"):
        bpy.ops.duohand.apply_pose(hands="LEFT", pose=other.name)


def test_an_absent_hand_cannot_be_saved_or_posed() -> None:
    empty_scene()
    load("half_absent", start_frame=1, set_rate=True)
    save(10, "RIGHT")
    go_to(10)
    with pytest.raises(RuntimeError, match="absent on this frame"):
        bpy.ops.duohand.save_pose(hands="LEFT")
    with pytest.raises(RuntimeError, match="absent on frame 10"):
        bpy.ops.duohand.apply_pose(hands="LEFT")


def test_poses_are_read_from_motion_pushed_down_in_the_nla(shot: Any) -> None:
    armature = hand(shot, LEFT)
    wanted = turns(armature, 5)
    save(5, "LEFT")
    data = armature.animation_data
    action = data.action
    data.nla_tracks.new().strips.new("motion", int(action.frame_range[0]), action)
    data.action = None
    go_to(18)
    assert bpy.ops.duohand.apply_pose(hands="LEFT") == {"FINISHED"}
    np.testing.assert_allclose(turns(armature, 18)[1:], wanted[1:], atol=1e-5)
