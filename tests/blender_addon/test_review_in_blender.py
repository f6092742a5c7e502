# SPDX-License-Identifier: GPL-3.0-or-later
"""Review finds the worst frames of the current keys, names their shot, and wraps around."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from inference_core.shared import quaternions
from inference_core.shared.take import Take, save_take
from tests.blender_addon import scenes
from tests.blender_addon.in_blender import EXTENSION
from tests.blender_addon.layouts import drawn

RIGHT = 1


def damaged(**changes: Any) -> Take:
    """Two hands, sure throughout but for what is changed."""
    take = scenes.made("two_hands")
    return replace(take, confidence=np.full(take.present.shape, 0.9, np.float32), **changes)


def flipped(row: int) -> Take:
    """The right hand turned over on one frame, and as sure there as anywhere."""
    take = scenes.made("two_hands")
    turns = take.root_wxyz.copy()
    turns[row, RIGHT] = quaternions.multiply(turns[row, RIGHT], quaternions.exp(np.array([2.8, 0.0, 0.0])))
    return damaged(root_wxyz=turns)


def leaping(row: int) -> Take:
    """The right hand a third nearer to the camera on one frame."""
    wrist = scenes.made("two_hands").wrist_cam_m.copy()
    wrist[row, RIGHT] *= 0.67
    return damaged(wrist_cam_m=wrist)


def unsure(rows: slice, worst: int) -> Take:
    take = damaged()
    take.confidence[rows, RIGHT], take.confidence[worst, RIGHT] = 0.4, 0.09
    return take


def load(take: Take, folder: Path, footage: str = "clip.mp4") -> Any:
    path = folder / f"{Path(footage).stem}.npz"
    save_take(replace(take, meta={**take.meta, "footage": {"path": footage}}), path)
    assert bpy.ops.duohand.load_take(filepath=str(path), place="ORIGIN") == {"FINISHED"}
    bpy.context.view_layer.objects.active = None
    return next(item for item in bpy.context.scene.collection.children if item.name == Path(footage).stem)


def verdict(shot: Any) -> str:
    doubts = importlib.import_module(f"{EXTENSION}.review.doubts")
    curves = importlib.import_module(f"{EXTENSION}.scene.hand_curves")
    rig = next(rig for rig in curves.hand_rigs(shot) if rig.side == RIGHT)
    return str(doubts.verdict_here(rig, bpy.context.scene.frame_current)[0])


@pytest.mark.parametrize(
    ("make", "text"), [(flipped, "flips"), (leaping, "jumps in depth")], ids=["flip", "leap"]
)
def test_a_confident_glitch_of_one_frame_is_marked_and_found(make, text, tmp_path) -> None:
    scene = scenes.empty_scene()
    shot = load(make(12), tmp_path)
    assert [(item.frame, item.name) for item in scene.timeline_markers] == [(13, f"clip: right {text}")]
    assert bpy.ops.duohand.next_uncertain() == {"FINISHED"}
    assert scene.frame_current == 13 and verdict(shot) == text
    scene.frame_set(14)
    assert verdict(shot) == "good"


def test_corrected_frames_are_no_longer_doubtful(tmp_path) -> None:
    scene = scenes.empty_scene()
    shot = load(flipped(12), tmp_path)
    curves = importlib.import_module(f"{EXTENSION}.scene.fcurves").active_channels(scenes.hand(shot, RIGHT))
    for index in range(4):
        keys = curves.fcurves.find('pose.bones["hand.R"].rotation_quaternion', index=index).keyframe_points
        keys[12].co.y = (keys[11].co.y + keys[13].co.y) / 2
    assert bpy.ops.duohand.next_uncertain() == {"CANCELLED"}
    scene.frame_set(13)
    assert verdict(shot) == "good"


def pushed_down(shot: Any) -> tuple[Any, Any]:
    """The right hand's track and strip once its action is pushed down in the NLA."""
    data = scenes.hand(shot, RIGHT).animation_data
    action = data.action
    track = data.nla_tracks.new()
    strip = track.strips.new("motion", int(action.frame_range[0]), action)
    data.action = None
    return track, strip


def test_motion_pushed_down_in_the_nla_is_reviewed(tmp_path) -> None:
    scene = scenes.empty_scene()
    shot = load(flipped(12), tmp_path)
    pushed_down(shot)
    scene.frame_set(1)
    assert bpy.ops.duohand.next_uncertain() == {"FINISHED"}
    assert scene.frame_current == 13 and verdict(shot) == "flips"
    assert "Right: flips" in drawn("DUOHAND_PT_review")


def test_the_captured_motion_is_reviewed_among_other_strips(tmp_path) -> None:
    scene = scenes.empty_scene()
    shot = load(flipped(12), tmp_path)
    _, strip = pushed_down(shot)
    data = scenes.hand(shot, RIGHT).animation_data
    copy = data.nla_tracks.new().strips.new("later", 200, strip.action)  # the same again, at another time
    layer = bpy.data.actions.new("layer")  # an animator's own, above
    data.nla_tracks.new().strips.new("layer", 1, layer)
    assert copy.frame_start == 200
    assert bpy.ops.duohand.next_uncertain() == {"FINISHED"}
    assert scene.frame_current == 13


@pytest.mark.parametrize("how", ["track", "strip", "star"])
def test_muted_motion_is_reported(how, tmp_path) -> None:
    scenes.empty_scene()
    shot = load(flipped(12), tmp_path)
    track, strip = pushed_down(shot)
    other = scenes.hand(shot, RIGHT).animation_data.nla_tracks.new()
    if how == "track":
        track.mute = True
    elif how == "strip":
        strip.mute = True
    else:
        other.is_solo = True
    with pytest.raises(RuntimeError, match="muted in the NLA"):
        bpy.ops.duohand.next_uncertain()
    assert any("muted in the NLA" in text for text in drawn("DUOHAND_PT_review"))
    bpy.context.view_layer.objects.active = scenes.hand(shot, RIGHT)
    with pytest.raises(RuntimeError, match="muted in the NLA"):
        bpy.ops.duohand.hold_range(first=3, last=5)


def test_consecutive_captured_motions_are_reviewed_separately(tmp_path) -> None:
    scene = scenes.empty_scene()
    shot = load(flipped(12), tmp_path)
    track, strip = pushed_down(shot)
    data = scenes.hand(shot, RIGHT).animation_data
    above = data.nla_tracks.new().strips.new("second", 1, strip.action.copy())
    if hasattr(above, "action_slot"):
        above.action_slot = above.action.slots[0]
    assert bpy.ops.duohand.next_uncertain() == {"FINISHED"}  # the upper one covers the lower
    assert scene.frame_current == 13
    above.action_frame_end = 10
    with pytest.raises(RuntimeError, match="Two captured motions"):
        bpy.ops.duohand.next_uncertain()
    track.mute = True
    assert bpy.ops.duohand.next_uncertain() == {"FINISHED"}


def test_split_strips_are_reviewed_as_one(tmp_path) -> None:
    scene = scenes.empty_scene()
    shot = load(flipped(12), tmp_path)
    track, strip = pushed_down(shot)
    strip.action_frame_end = strip.frame_end = 10
    rest = track.strips.new("rest", 10, strip.action)
    if hasattr(rest, "action_slot"):
        rest.action_slot = strip.action_slot
    rest.action_frame_start, rest.frame_start = 10, 10
    assert bpy.ops.duohand.next_uncertain() == {"FINISHED"}
    assert scene.frame_current == 13


def test_solo_on_raw_or_captured_motion_mutes_nothing(tmp_path) -> None:
    scene = scenes.empty_scene()
    shot = load(flipped(12), tmp_path)
    track, _ = pushed_down(shot)
    raw = scenes.hand(shot, RIGHT).animation_data.nla_tracks[0]
    for starred in (raw, track):
        starred.is_solo = True
        scene.frame_set(1)
        assert bpy.ops.duohand.next_uncertain() == {"FINISHED"}
        assert scene.frame_current == 13
        starred.is_solo = False


def test_motion_that_plays_at_other_times_is_reported(tmp_path) -> None:
    scenes.empty_scene()
    shot = load(flipped(12), tmp_path)
    _, strip = pushed_down(shot)
    strip.frame_start += 10
    with pytest.raises(RuntimeError, match="shifted or stretched"):
        bpy.ops.duohand.next_uncertain()


def test_next_goes_to_the_worst_frame_of_each_span_and_wraps_around(tmp_path) -> None:
    scene = scenes.empty_scene()
    take = unsure(slice(8, 20), 17)
    take.confidence[2, 0] = 0.2
    load(take, tmp_path)
    scene.frame_set(1)
    went: list[int] = []
    for backward in (False, False, False, True, True):
        assert bpy.ops.duohand.next_uncertain(backward=backward) == {"FINISHED"}
        went.append(scene.frame_current)
    assert went == [3, 18, 3, 18, 3]


def test_next_visits_all_shots_unless_one_is_active(tmp_path) -> None:
    scene = scenes.empty_scene()
    first = load(flipped(5), tmp_path, "one.mp4")
    load(flipped(15), tmp_path, "two.mp4")
    doubts = importlib.import_module(f"{EXTENSION}.review.doubts").doubts
    assert [(item.rig.shot.name, item.frame) for item in doubts(bpy.context)] == [("one", 6), ("two", 16)]
    bpy.context.view_layer.objects.active = scenes.hand(first, RIGHT)
    assert [item.rig.shot.name for item in doubts(bpy.context)] == ["one"]
    scene.frame_set(6)
    texts = drawn("DUOHAND_PT_review")
    assert [text for text in texts if text in ("one", "two")] == ["one", "two"]
    assert "Right: flips" in texts and "Right: good" in texts


def test_a_hand_can_be_activated_from_the_panel(tmp_path) -> None:
    scene = scenes.empty_scene()
    shot = load(unsure(slice(8, 20), 17), tmp_path)
    scene.frame_set(18)
    hand = scenes.hand(shot, RIGHT)
    operator = importlib.import_module(f"{EXTENSION}.review.operators").DUOHAND_OT_select_hand
    asked = type("Asked", (), {"armature": hand.name})()
    assert operator.description(bpy.context, asked).startswith("9% sure")
    assert bpy.ops.duohand.select_hand(armature=hand.name) == {"FINISHED"}
    assert bpy.context.view_layer.objects.active == hand and bpy.context.selected_objects == [hand]


def test_confidence_curves_are_hidden_in_the_graph_editor(tmp_path) -> None:
    scenes.empty_scene()
    shot = load(damaged(), tmp_path)
    channels = importlib.import_module(f"{EXTENSION}.scene.fcurves").active_channels(scenes.hand(shot, RIGHT))
    hidden = {curve.data_path for curve in channels.fcurves if curve.hide}
    assert hidden == {'["confidence"]', '["presence"]'}


def test_timeline_bars_show_the_worst_of_their_frames(tmp_path) -> None:
    scenes.empty_scene()
    shot = load(unsure(slice(8, 20), 17), tmp_path)
    curves = importlib.import_module(f"{EXTENSION}.scene.hand_curves")
    timeline = importlib.import_module(f"{EXTENSION}.review.timeline")
    rig = next(rig for rig in curves.hand_rigs(shot) if rig.side == RIGHT)
    every = timeline.hand_bars(rig, curves.read_wrist(rig), 1000)
    assert len(every.start) == 24 and every.height.argmin() == 17
    few = timeline.hand_bars(rig, curves.read_wrist(rig), 6)
    assert len(few.start) == 6 and few.start[0] == 0.5 and few.end[-1] == 24.5
    assert few.height.min() == every.height.min()
    places, colours = timeline.corners(few, (10.0, 2.0), 5.0, 20.0)
    assert places.shape == (36, 2) and colours.shape == (36, 4)
    assert places[:, 0].min() == 11.0 and places[:, 1].max() == pytest.approx(5 + 20 * 0.9, abs=1e-4)
