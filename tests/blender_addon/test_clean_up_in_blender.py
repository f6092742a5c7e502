# SPDX-License-Identifier: GPL-3.0-or-later
"""Clean-up through the installed add-on: the motion played after each edit is the intended one."""

from pathlib import Path

import bpy
import numpy as np
import pytest

from inference_core.shared.skeleton import LEFT, RIGHT
from tests.blender_addon.scenes import bone_heads, empty_scene, go_to, hand, load


@pytest.fixture
def shot() -> bpy.types.Collection:
    empty_scene()
    return load("two_hands")


def played(armature: bpy.types.Object, frames: np.ndarray) -> np.ndarray:
    heads = []
    for frame in frames:
        go_to(float(frame))
        heads.append(bone_heads(armature))
    return np.array(heads)


def scene_frames() -> np.ndarray:
    scene = bpy.context.scene
    return np.arange(scene.frame_start, scene.frame_end + 1)


def all_curves(armature: bpy.types.Object) -> list[bpy.types.FCurve]:
    data = armature.animation_data
    action = data.action
    curves = (
        action.layers[0].strips[0].channelbag(data.action_slot).fcurves
        if hasattr(action, "layers")
        else action.fcurves
    )
    return list(curves)


def key_count(armature: bpy.types.Object) -> int:
    curves = all_curves(armature)
    return sum(len(curve.keyframe_points) for curve in curves if curve.data_path.startswith("pose"))


@pytest.mark.parametrize("bound_mm", [0.1, 1.0, 5.0])
def test_reduced_keys_stay_within_the_bound_on_every_frame(
    shot: bpy.types.Collection, bound_mm: float
) -> None:
    armature, frames = hand(shot, RIGHT), scene_frames()
    before, count = played(armature, frames), key_count(armature)
    assert bpy.ops.duohand.reduce_keys(max_error_mm=bound_mm) == {"FINISHED"}
    apart_mm = np.linalg.norm(played(armature, frames) - before, axis=-1) * 1000
    assert apart_mm.max() <= bound_mm + 0.01  # curves are stored in single precision
    assert key_count(armature) < count


def test_baking_reduced_keys_keeps_the_motion(
    shot: bpy.types.Collection,
) -> None:
    armature, frames = hand(shot, LEFT), scene_frames()
    count = key_count(armature)
    bpy.ops.duohand.reduce_keys(max_error_mm=1.0)
    before = played(armature, frames)
    assert bpy.ops.duohand.bake_keys() == {"FINISHED"}
    assert key_count(armature) == count
    assert np.abs(played(armature, frames) - before).max() < 1e-5


def test_reduction_by_angle_uses_degrees(shot: bpy.types.Collection) -> None:
    count = key_count(hand(shot, LEFT))
    assert bpy.ops.duohand.reduce_keys(measure="ANGLE", max_error_deg=1.0) == {"FINISHED"}
    assert key_count(hand(shot, LEFT)) < count


def test_hold_changes_only_its_range(shot: bpy.types.Collection) -> None:
    armature, frames = hand(shot, RIGHT), scene_frames()
    before, other = played(armature, frames), played(hand(shot, LEFT), frames)
    first, last = int(frames[5]), int(frames[12])
    assert bpy.ops.duohand.hold_range(hands="RIGHT", first=first, last=last) == {"FINISHED"}
    after = played(armature, frames)
    assert np.ptp(after[5:13], axis=0).max() < 1e-6
    np.testing.assert_allclose(after[:5], before[:5], atol=1e-6)
    np.testing.assert_allclose(after[13:], before[13:], atol=1e-6)
    np.testing.assert_allclose(played(hand(shot, LEFT), frames), other, atol=1e-7)


def test_mark_absent_hides_the_hand_and_fill_gap_restores_it(shot: bpy.types.Collection) -> None:
    armature, frames = hand(shot, RIGHT), scene_frames()
    before = played(armature, frames)
    first, last = int(frames[6]), int(frames[10])
    bpy.ops.duohand.delete_range(hands="RIGHT", first=first, last=last)
    go_to(float(frames[8]))
    skin = armature.duohand.skin.evaluated_get(bpy.context.evaluated_depsgraph_get())
    assert skin.hide_viewport and armature["presence"] == 0
    bpy.ops.duohand.refill_range(hands="RIGHT", first=first, last=last)
    go_to(float(frames[8]))
    assert armature["presence"] == 2
    after = played(armature, frames)
    np.testing.assert_allclose(after[:6], before[:6], atol=1e-6)
    assert np.abs(after - before).max() < 0.03


def test_a_range_at_the_end_cannot_be_filled_and_the_reason_is_given(shot: bpy.types.Collection) -> None:
    frames = scene_frames()
    with pytest.raises(RuntimeError, match="both sides"):
        bpy.ops.duohand.refill_range(first=int(frames[-5]), last=int(frames[-1]))


def test_swapping_sides_twice_is_the_identity(shot: bpy.types.Collection) -> None:
    frames = scene_frames()
    left, right = hand(shot, LEFT), hand(shot, RIGHT)
    before = played(left, frames), played(right, frames)
    first, last = int(frames[4]), int(frames[9])
    bpy.ops.duohand.swap_sides(first=first, last=last)
    after = played(left, frames), played(right, frames)
    np.testing.assert_allclose(after[0][4:10, 0], before[1][4:10, 0], atol=1e-5)
    np.testing.assert_allclose(after[1][4:10, 0], before[0][4:10, 0], atol=1e-5)
    np.testing.assert_allclose(after[0][:4], before[0][:4], atol=1e-6)
    bpy.ops.duohand.swap_sides(first=first, last=last)
    np.testing.assert_allclose(played(left, frames), before[0], atol=1e-5)
    np.testing.assert_allclose(played(right, frames), before[1], atol=1e-5)


def test_a_swapped_fist_stays_a_fist(shot: bpy.types.Collection) -> None:
    frames = scene_frames()
    left, right = hand(shot, LEFT), hand(shot, RIGHT)

    go_to(float(frames[7]))
    before = [np.array(right.pose.bones[f"{name}_02.R"].rotation_quaternion) for name in ("index", "thumb")]
    bpy.ops.duohand.swap_sides(first=int(frames[0]), last=int(frames[-1]))
    go_to(float(frames[7]))
    after = [np.array(left.pose.bones[f"{name}_02.L"].rotation_quaternion) for name in ("index", "thumb")]
    np.testing.assert_allclose(np.abs(after), np.abs(before), atol=1e-5)
    assert all(new[0] * new[1] * old[0] * old[1] >= 0 for new, old in zip(after, before, strict=True))


def test_the_smoothing_slider_starts_at_the_solves_strength(
    shot: bpy.types.Collection,
) -> None:
    scene, frames, armature = bpy.context.scene, scene_frames(), hand(shot, RIGHT)
    before = played(armature, frames)
    assert scene.duohand_smoothing == pytest.approx(0.5)
    scene.duohand_smoothing = 0.5
    np.testing.assert_allclose(played(armature, frames), before, atol=1e-6)
    for strength in (0.51, 0.49, 0.8, 0.2, 0.5):
        scene.duohand_smoothing = strength
        assert scene.duohand_smoothing == pytest.approx(strength)
    np.testing.assert_allclose(played(armature, frames), before, atol=1e-5)


def test_less_smoothing_restores_the_raw_shake_at_most(shot: bpy.types.Collection) -> None:
    armature, frames = hand(shot, RIGHT), scene_frames()
    before = played(armature, frames)
    assert bpy.ops.duohand.smooth(strength=0.0) == {"FINISHED"}
    moved = np.linalg.norm(played(armature, frames)[:, 0] - before[:, 0], axis=-1)
    assert 1e-4 < moved.max() < 0.0101


def test_smoothing_keeps_edits_and_motion_outside_the_range(shot: bpy.types.Collection) -> None:
    scene, armature, frames = bpy.context.scene, hand(shot, RIGHT), scene_frames()
    before = played(armature, frames)
    whole = {"first": int(frames[0]), "last": int(frames[-1])}
    bpy.ops.duohand.offset_wrist(hands="RIGHT", location=(0.1, 0, 0), **whole)
    scene.use_preview_range = True
    scene.frame_preview_start, scene.frame_preview_end = int(frames[8]), int(frames[15])
    scene.duohand_smoothing = 0.9
    after = played(armature, frames) - [0.1, 0, 0]
    np.testing.assert_allclose(after[:8], before[:8], atol=1e-5)
    np.testing.assert_allclose(after[16:], before[16:], atol=1e-5)
    assert 1e-5 < np.abs(after[8:16] - before[8:16]).max() < 0.05
    scene.use_preview_range = False


def test_holding_a_locked_range_is_not_reported_as_done(shot: bpy.types.Collection) -> None:
    frames = scene_frames()
    first, last = int(frames[5]), int(frames[9])
    bpy.ops.duohand.lock_range(first=first, last=last)
    with pytest.raises(RuntimeError, match="locked"):
        bpy.ops.duohand.hold_range(first=first, last=last)


def test_motion_pushed_down_in_the_nla_is_cleaned_up(shot: bpy.types.Collection) -> None:
    armature, frames = hand(shot, RIGHT), scene_frames()
    data = armature.animation_data
    action, slot = data.action, getattr(data, "action_slot", None)
    track = data.nla_tracks.new()
    strip = track.strips.new("pushed", int(action.frame_range[0]), action)
    if slot is not None:
        strip.action_slot = slot
    data.action = None
    assert bpy.ops.duohand.hold_range(hands="RIGHT", first=int(frames[3]), last=int(frames[8])) == {
        "FINISHED"
    }
    assert np.ptp(played(armature, frames)[3:9], axis=0).max() < 1e-6
    strip.frame_start, strip.frame_end = strip.frame_start + 7, strip.frame_end + 7
    with pytest.raises(RuntimeError, match="NLA"):
        bpy.ops.duohand.hold_range(hands="RIGHT", first=int(frames[3]), last=int(frames[8]))


def test_more_smoothing_means_less_shake(shot: bpy.types.Collection) -> None:
    frames, shakes = scene_frames(), []
    for strength in (0.0, 0.4, 0.9):
        bpy.ops.duohand.smooth(strength=strength)
        wrist = played(hand(shot, RIGHT), frames)[:, 0]
        shakes.append(np.abs(np.diff(wrist, 2, axis=0)).mean())
    assert shakes[0] > shakes[1] > shakes[2]


def test_a_locked_range_survives_smoothing_and_loading(shot: bpy.types.Collection) -> None:
    armature, frames = hand(shot, RIGHT), scene_frames()
    first, last = int(frames[5]), int(frames[9])
    bpy.ops.duohand.hold_range(hands="RIGHT", first=first, last=last)
    bpy.ops.duohand.lock_range(hands="RIGHT", first=first, last=last)
    kept = played(armature, frames)[5:10]
    bpy.ops.duohand.smooth(strength=0.8)
    np.testing.assert_allclose(played(armature, frames)[5:10], kept, atol=1e-6)
    shot = load("two_hands")
    np.testing.assert_allclose(played(hand(shot, RIGHT), frames)[5:10], kept, atol=1e-6)
    assert bpy.ops.duohand.unlock_range(first=first, last=last) == {"FINISHED"}
    assert len(hand(shot, RIGHT).duohand.locked) == 0


def test_offset_wrist_moves_by_the_given_amount(shot: bpy.types.Collection) -> None:
    armature, frames = hand(shot, RIGHT), scene_frames()
    before = played(armature, frames)
    bpy.ops.duohand.offset_wrist(
        hands="RIGHT", location=(0.1, 0.02, -0.03), first=int(frames[0]), last=int(frames[-1])
    )
    np.testing.assert_allclose(
        played(armature, frames) - before, np.broadcast_to([0.1, 0.02, -0.03], before.shape), atol=1e-5
    )


def test_clean_up_works_with_euler_angles() -> None:
    empty_scene()
    shot = load("two_hands", rotation_mode="ZXY")
    frames = scene_frames()
    before = played(hand(shot, LEFT), frames)
    assert bpy.ops.duohand.bake_keys() == {"FINISHED"}
    np.testing.assert_allclose(played(hand(shot, LEFT), frames), before, atol=1e-5)
    with pytest.raises(RuntimeError, match="ZXY"):
        bpy.ops.duohand.reduce_keys(max_error_mm=1.0)


@pytest.mark.parametrize("mode", ["ZXY", "QUATERNION"])
def test_the_euler_filter_removes_jumps_and_keeps_the_motion(mode: str) -> None:
    empty_scene()
    shot = load("two_hands", rotation_mode=mode)
    armature, frames = hand(shot, LEFT), scene_frames()
    before = played(armature, frames)
    curves = bone_curves(armature, "index_01.L")
    second = "XYZ".index(mode[1]) if mode == "ZXY" else -1
    for index, curve in enumerate(curves):
        for point in curve.keyframe_points[5:9]:  # the same rotations, written the other way
            angle = point.co[1]
            flipped = -angle if mode == "QUATERNION" else np.pi - angle if index == second else angle + np.pi
            point.co[1] = flipped
        curve.update()
    assert largest_step(curves) > 0.5
    assert bpy.ops.duohand.euler_filter(hands="LEFT") == {"FINISHED"}
    assert largest_step(curves) < 0.5
    np.testing.assert_allclose(played(armature, frames), before, atol=1e-5)


def bone_curves(armature: bpy.types.Object, bone: str) -> list[bpy.types.FCurve]:
    return [curve for curve in all_curves(armature) if bone in curve.data_path and "rot" in curve.data_path]


def largest_step(curves: list[bpy.types.FCurve]) -> float:
    values = np.array([[point.co[1] for point in curve.keyframe_points] for curve in curves])
    return float(np.abs(np.diff(values)).max())


def test_linked_hands_are_refused_with_the_reason(tmp_path: Path) -> None:
    empty_scene()
    name = load("two_hands").name
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    scene = empty_scene()
    with bpy.data.libraries.load(str(tmp_path / "shot.blend"), link=True) as (_, wanted):
        wanted.collections = [name]
    scene.collection.children.link(wanted.collections[0])
    scene.frame_set(3)
    for operator in ("hold_range", "swap_sides", "smooth", "reduce_keys", "bake_keys"):
        with pytest.raises(RuntimeError, match="linked"):
            getattr(bpy.ops.duohand, operator)()
    with pytest.raises(RuntimeError, match="linked"):
        bpy.ops.duohand.lock_range()
    assert bpy.ops.duohand.save_take(filepath=str(tmp_path / "again.npz")) == {"FINISHED"}


def test_hidden_and_excluded_hands_are_cleaned_up(shot: bpy.types.Collection) -> None:
    layer = bpy.context.view_layer.layer_collection.children[shot.name]
    layer.exclude = True
    count = key_count(hand(shot, LEFT))
    assert bpy.ops.duohand.reduce_keys(max_error_mm=1.0) == {"FINISHED"}
    assert key_count(hand(shot, LEFT)) < count
    layer.exclude = False
    shot.hide_viewport = True
    assert bpy.ops.duohand.bake_keys() == {"FINISHED"}
    assert key_count(hand(shot, LEFT)) == count


def test_hands_of_other_scenes_are_not_changed(shot: bpy.types.Collection) -> None:
    other = bpy.data.scenes.new("Other")
    counts = [key_count(hand(shot, side)) for side in (LEFT, RIGHT)]
    with bpy.context.temp_override(scene=other, view_layer=other.view_layers[0]):
        assert not bpy.ops.duohand.reduce_keys.poll()
    assert [key_count(hand(shot, side)) for side in (LEFT, RIGHT)] == counts
