# SPDX-License-Identifier: GPL-3.0-or-later
"""The footage's rate and the scene's: defaults, display, and the effect of a later change."""

import importlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from inference_core.shared.take import save_take
from tests.blender_addon import scenes
from tests.blender_addon.in_blender import EXTENSION
from tests.blender_addon.layouts import drawn


def load(folder: Path, name: str, footage: str = "", **options: Any) -> Any:
    """The shot of the made take, said to be made from that footage."""
    take = scenes.made(name)
    footage = footage or str(folder / f"{name}.mp4")
    path = folder / f"{name}.npz"
    save_take(replace(take, meta={**take.meta, "footage": {"path": footage}}), path)
    assert bpy.ops.duohand.load_take(filepath=str(path), place="ORIGIN", **options) == {"FINISHED"}
    return next(
        item
        for item in bpy.context.scene.collection.children
        if item.duohand.is_shot and Path(bpy.path.abspath(item.duohand.take_path)).name == path.name
    )


def rate() -> float:
    return bpy.context.scene.render.fps / bpy.context.scene.render.fps_base


def heads(shot: Any, seconds: np.ndarray) -> np.ndarray:
    """(N, 16, 3) the right hand's joints at seconds of the take."""
    found = []
    for second in seconds:
        scenes.go_to(1 + second * rate())
        found.append(scenes.bone_heads(scenes.hand(shot, 1)))
    return np.array(found)


def test_only_a_file_without_animation_gets_the_footages_rate(tmp_path) -> None:
    scenes.empty_scene()
    load(tmp_path, "at_30_fps")
    assert rate() == 30
    load(tmp_path, "at_60_fps")
    assert rate() == 30
    scene = scenes.empty_scene()
    thing = bpy.data.objects.new("thing", None)
    scene.collection.objects.link(thing)
    thing.keyframe_insert("location", frame=1)
    load(tmp_path, "at_30_fps")
    assert rate() == 24


@pytest.mark.parametrize(
    ("timing", "rates", "last"), [("MATCH", 30, 30), ("SECONDS", 24, 1 + 29 / 30 * 24), ("FRAMES", 24, 30)]
)
def test_the_chosen_timing_is_used(timing, rates, last, tmp_path) -> None:
    scenes.empty_scene()
    shot = load(tmp_path, "at_30_fps", timing=timing)
    assert rate() == rates
    assert scenes.hand(shot, 0).animation_data.action.frame_range[1] == pytest.approx(last, abs=1e-4)


def test_the_panel_shows_both_rates_and_the_default_timing() -> None:
    scene = scenes.empty_scene()
    scene.duohand.footage = str(scenes.takes_folder() / "counted.mp4")
    scene.render.fps = 25
    assert "Scene 25, footage 24 frames a second" in drawn("DUOHAND_PT_capture")
    assert scene.duohand.timing == "MATCH"
    scenes.load("two_hands")
    assert scene.duohand.timing == "SECONDS"
    scene.duohand.timing = "FRAMES"
    request = importlib.import_module(f"{EXTENSION}.capture.request")
    assert request.apply_settings(scene).timing == "FRAMES"


@pytest.mark.parametrize("then", [48, 25, 12])
def test_keys_follow_a_later_change_of_the_scenes_rate(then, tmp_path) -> None:
    scene = scenes.empty_scene()
    shot = load(tmp_path, "half_absent")
    seconds = np.array([0.0, 0.2, 0.5, 22 / 24])
    before = heads(shot, seconds)
    marker = scene.timeline_markers[0].frame
    locked = scenes.hand(shot, 1).duohand.locked.add()
    locked.first, locked.last = 9, 13
    assert not any("Laid out at" in text for text in drawn("DUOHAND_PT_take"))
    scene.render.fps = then
    assert f"Laid out at 24 frames a second; the scene has {then}" in drawn("DUOHAND_PT_take")
    assert bpy.ops.duohand.follow_rate() == {"FINISHED"}
    assert not any("Laid out at" in text for text in drawn("DUOHAND_PT_take"))
    np.testing.assert_allclose(heads(shot, seconds), before, atol=2e-5)
    assert scene.frame_end == round(1 + 23 * then / 24)
    assert scene.timeline_markers[0].frame == round(1 + (marker - 1) * then / 24)
    assert (locked.first, locked.last) == (round(1 + 8 * then / 24), round(1 + 12 * then / 24))
    raw = next(iter(scenes.hand(shot, 1).animation_data.nla_tracks)).strips[0]
    assert raw.action.frame_range[1] == pytest.approx(1 + 23 * then / 24, abs=1e-4)
    assert raw.frame_start == pytest.approx(1) and raw.scale == pytest.approx(1)
    assert (
        bpy.ops.duohand.next_uncertain() == {"FINISHED"}
        and scene.frame_current == scene.timeline_markers[0].frame
    )


@pytest.mark.parametrize("shares", ["the action", "the slot"])
def test_other_curves_in_a_hands_action_do_not_move(shares, tmp_path) -> None:
    scene = scenes.empty_scene()
    shot = load(tmp_path, "two_hands")
    hand = scenes.hand(shot, 1)
    other = bpy.data.objects.new("Other", None)
    scene.collection.objects.link(other)
    action = hand.animation_data.action
    other.animation_data_create().action = action
    if hasattr(action, "slots"):
        own = shares == "the slot"
        other.animation_data.action_slot = (
            hand.animation_data.action_slot if own else action.slots.new(id_type="OBJECT", name="Other")
        )
    for frame in (1, 21):
        other.location.x = frame
        other.keyframe_insert("location", frame=frame)
    seconds = np.array([0.1, 0.6])
    before = heads(shot, seconds)
    scene.render.fps = 48
    assert bpy.ops.duohand.follow_rate() == {"FINISHED"}
    np.testing.assert_allclose(heads(shot, seconds), before, atol=2e-5)
    scenes.go_to(21)
    assert other.location.x == pytest.approx(21)


def test_the_plate_follows_a_change_of_rate(tmp_path) -> None:
    scene = scenes.empty_scene()
    footage = tmp_path / "counted.mp4"
    shutil.copy(scenes.takes_folder() / "counted.mp4", footage)
    shot = load(tmp_path, "two_hands", str(footage))
    scene.render.fps = 60
    assert bpy.ops.duohand.follow_rate() == {"FINISHED"}
    camera = shot.duohand.camera
    for second in (0.0, 0.25, 0.75):
        scenes.go_to(1 + second * 60)
        user = camera.data.background_images[0].image_user
        assert scene.frame_current - user.frame_start + 1 + user.frame_offset == round(second * 24) + 1


def test_matching_the_rate_moves_other_shots_and_reports_it(tmp_path) -> None:
    scenes.empty_scene()
    shot = load(tmp_path, "two_hands")
    seconds = np.array([0.1, 0.6])
    before = heads(shot, seconds)
    load(tmp_path, "at_60_fps", timing="MATCH")
    assert rate() == 60
    np.testing.assert_allclose(heads(shot, seconds), before, atol=2e-5)
