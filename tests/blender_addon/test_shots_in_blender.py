# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing is lost silently: two clips, updates in place, linked shots, moved projects."""

import hashlib
import importlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from inference_core.shared.take import load_take, save_take
from tests.blender_addon import scenes
from tests.blender_addon.in_blender import EXTENSION


def shots() -> list[Any]:
    return [
        item
        for item in bpy.context.scene.collection.children_recursive
        if item.duohand.is_shot and item.objects
    ]


def take_of(folder: Path, footage: str, name: str = "", rows: int = 24) -> Path:
    """A take file that says it was made from that footage."""
    take = scenes.made("two_hands")
    path = folder / f"{name or Path(footage).stem}.npz"
    save_take(replace(take, meta={**take.meta, "footage": {"path": footage}}), path)
    return path


def load(path: Path, **options: Any) -> Any:
    assert bpy.ops.duohand.load_take(filepath=str(path), **options) == {"FINISHED"}
    return shots()


def request_path(scene: Any, footage: Path, coming: tuple[str, ...] = ()) -> Path:
    request = importlib.import_module(f"{EXTENSION}.capture.request")
    return request.take_path(scene, str(footage), coming)


@pytest.mark.parametrize(
    ("one", "other"),
    [("take_01.mp4", "take_02.mp4"), ("GX010123.MP4", "GX010124.MP4"), ("a/clip.mov", "b/clip.mov")],
)
def test_two_clips_give_two_takes_and_two_shots(tmp_path: Path, one: str, other: str) -> None:
    scene = scenes.empty_scene()
    scene.duohand.take_folder = str(tmp_path / "takes")
    found: list[Path] = []
    for footage in (one, other):
        path = request_path(scene, tmp_path / footage)
        take_of(path.parent, str(tmp_path / footage), path.stem)
        load(path)
        found.append(path)
    assert len(set(found)) == 2 and len(shots()) == 2
    assert not {request_path(scene, tmp_path / footage) for footage in (one, other)} & set(found)
    load(found[0])
    assert len(shots()) == 2
    assert sorted(item.name for item in shots()) == sorted(
        [Path(one).stem, Path(other).stem if one[0] != "a" else "clip.001"]
    )


def test_a_take_that_is_still_being_captured_keeps_its_name(tmp_path: Path) -> None:
    scene = scenes.empty_scene()
    scene.duohand.take_folder = str(tmp_path)
    first = request_path(scene, tmp_path / "a" / "clip.mov")
    second = request_path(scene, tmp_path / "b" / "clip.mov", (str(first),))
    assert first != second


def test_a_capture_that_was_stopped_goes_on_under_its_name(tmp_path: Path) -> None:
    scene = scenes.empty_scene()
    scene.duohand.take_folder = str(tmp_path)
    take_of(tmp_path, str(tmp_path / "clip.mov"))
    stopped = request_path(scene, tmp_path / "clip.mov")
    stopped.with_name(f"{stopped.name}.partial").mkdir()
    assert request_path(scene, tmp_path / "clip.mov") == stopped == tmp_path / "clip_2.npz"


@pytest.mark.parametrize("rotation_mode", ["QUATERNION", "XYZ"])
def test_edited_motion_is_kept_as_an_action_when_the_take_is_loaded_again(
    tmp_path: Path, rotation_mode: str
) -> None:
    scenes.empty_scene()
    path = take_of(tmp_path, str(tmp_path / "clip.mov"))
    (shot,) = load(path, rotation_mode=rotation_mode)
    load(path)
    bpy.context.scene.render.fps = 60
    bpy.context.view_layer.objects.active = scenes.hand(shot, 0)
    bpy.ops.duohand.follow_rate()
    load(path)
    assert not [item for item in bpy.data.actions if item.use_fake_user]
    bpy.ops.duohand.offset_wrist(hands="LEFT", location=(0.0, 0.0, 0.05))
    scenes.go_to(5)
    edited = scenes.bone_heads(scenes.hand(shot, 0))
    load(path)
    (kept,) = [item for item in bpy.data.actions if item.use_fake_user]
    scenes.go_to(5)
    assert np.abs(scenes.bone_heads(scenes.hand(shot, 0)) - edited).max() > 0.04
    load(path)
    assert [item for item in bpy.data.actions if item.use_fake_user] == [kept]
    scenes.hand(shot, 0).animation_data.action = kept
    scenes.go_to(5)
    np.testing.assert_allclose(scenes.bone_heads(scenes.hand(shot, 0)), edited, atol=1e-6)


def test_pictures_of_the_same_sequence_are_the_same_footage(tmp_path: Path) -> None:
    paths = importlib.import_module(f"{EXTENSION}.scene.paths")
    keys = {paths.footage_key(str(tmp_path / name)) for name in ("s_0001.png", "s_0044.png", "s_####.png")}
    assert len(keys) == 1
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    assert paths.footage_key("//../clip.mov") == paths.footage_key(str(tmp_path.parent / "clip.mov"))
    assert paths.footage_name("s_0044.png") == "s"
    assert paths.footage_key("MVI_0042.mov") != paths.footage_key("MVI_0043.mov")


def test_an_update_keeps_the_shots_settings_and_edits() -> None:
    scene = scenes.empty_scene()
    scenes.load("two_hands", scale=100.0, rotation_mode="XYZ", correctives=False, start_frame=11)
    (shot,) = shots()
    other = bpy.data.objects.new("mine", bpy.data.cameras.new("mine"))
    carrier = bpy.data.objects.new("stage", None)
    for thing in (other, carrier):
        scene.collection.objects.link(thing)
    place = shot.duohand.place
    place.parent, place.location, place.scale = carrier, (1, 2, 3), (2, 2, 2)
    shot.duohand.camera.data.clip_end = 7777.0
    scene.camera = other
    scene.frame_start, scene.frame_end, scene.frame_current = 3, 900, 50
    scene.render.resolution_x, scene.render.resolution_percentage = 4096, 50
    hand = scenes.hand(shot, 1)
    hand.keyframe_insert("scale", frame=20)
    scenes.load("two_hands")
    assert shots() == [shot]
    assert (place.parent, tuple(place.location), tuple(place.scale)) == (carrier, (1, 2, 3), (2, 2, 2))
    assert (scene.camera, scene.frame_start, scene.frame_end, scene.frame_current) == (other, 3, 900, 50)
    assert (scene.render.resolution_x, scene.render.resolution_percentage) == (4096, 50)
    assert (shot.duohand.scale, shot.duohand.start_frame) == (100.0, 11)
    assert hand.pose.bones["hand.R"].rotation_mode == "XYZ"
    assert hand.duohand.skin.data.shape_keys is None
    assert shot.duohand.camera.data.clip_end == 7777.0
    fcurves = importlib.import_module(f"{EXTENSION}.scene.fcurves")
    assert fcurves.active_channels(hand).fcurves.find("scale", index=0) is not None


def test_an_update_keeps_the_plates_opacity_and_other_plates(tmp_path: Path) -> None:
    movie = tmp_path / "clip.mp4"
    shutil.copy(scenes.ROOT / "inference_core" / "demo" / "two_hands.mp4", movie)
    scenes.empty_scene()
    (shot,) = load(take_of(tmp_path, str(movie)))
    backgrounds = shot.duohand.camera.data.background_images
    backgrounds[0].alpha = 0.25
    mine = backgrounds.new()
    mine.image = bpy.data.images.new("reference", 8, 8)
    load(take_of(tmp_path, str(movie)))
    assert backgrounds[0].alpha == pytest.approx(0.25)
    assert [item.image.name for item in backgrounds] == ["clip.mp4", "reference"]


def test_the_range_follows_the_take_unless_the_user_changed_it(tmp_path: Path) -> None:
    scene = scenes.empty_scene()
    load(take_of(tmp_path, "one.mp4"))
    scene.frame_end = 224
    load(take_of(tmp_path, "two.mp4"))
    assert (scene.frame_start, scene.frame_end) == (1, 224)


def test_a_linked_shot_is_refused_and_its_library_untouched(tmp_path: Path) -> None:
    scenes.empty_scene()
    scenes.load("two_hands")
    (shot,) = shots()
    library = tmp_path / "shot.blend"
    bpy.data.libraries.write(str(library), {shot})
    digest = hashlib.sha256(library.read_bytes()).hexdigest()
    scene = scenes.empty_scene()
    with bpy.data.libraries.load(str(library), link=True) as (_, wanted):
        wanted.collections = [shot_name(library)]
    scene.collection.children.link(wanted.collections[0])
    before = len(bpy.data.actions)
    with pytest.raises(RuntimeError, match="linked from"):
        bpy.ops.duohand.load_take(filepath=str(scenes.take_file("two_hands")))
    assert len(bpy.data.actions) == before and hashlib.sha256(library.read_bytes()).hexdigest() == digest
    assert bpy.ops.duohand.load_take(filepath=str(scenes.take_file("two_hands")), existing="NEW") == {
        "FINISHED"
    }
    assert len(shots()) == 2


def shot_name(library: Path) -> str:
    with bpy.data.libraries.load(str(library)) as (there, _):
        return there.collections[0]


def test_a_moved_project_finds_its_take_and_footage(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for name in ("footage", "duohand"):
        (project / name).mkdir(parents=True)
    movie = project / "footage" / "clip.mp4"
    shutil.copy(scenes.ROOT / "inference_core" / "demo" / "two_hands.mp4", movie)
    take = take_of(project / "duohand", str(movie))
    scene = scenes.empty_scene()
    load(take)
    scene.duohand.footage = str(movie)
    bpy.ops.wm.save_as_mainfile(filepath=str(project / "shot.blend"))
    moved = tmp_path / "moved" / "here"
    moved.parent.mkdir()
    project.rename(moved)
    bpy.ops.wm.open_mainfile(filepath=str(moved / "shot.blend"))
    (shot,) = shots()
    kept = shot.duohand
    assert (kept.take_path, kept.footage) == ("//duohand/clip.npz", "//footage/clip.mp4")
    image = kept.camera.data.background_images[0].image
    assert Path(bpy.path.abspath(image.filepath)) == moved / "footage" / "clip.mp4"
    assert bpy.ops.duohand.save_take(filepath=str(moved / "edited.npz")) == {"FINISHED"}
    assert len(load(moved / "duohand" / "clip.npz")) == 1
    assert bpy.context.scene.duohand.footage == "//footage/clip.mp4"
    assert not bpy.context.scene.duohand.problem


def test_a_missing_take_can_be_chosen_in_a_field(tmp_path: Path) -> None:
    scenes.empty_scene()
    (shot,) = load(take_of(tmp_path, "gone.mp4"))
    files = importlib.import_module(f"{EXTENSION}.take.files")
    assert files.missing(shot, "footage") and not files.missing(shot, "take_path")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = (tmp_path / "gone.npz").rename(elsewhere / "renamed.npz")
    with pytest.raises(RuntimeError, match="no take"):
        bpy.ops.duohand.save_take(filepath=str(tmp_path / "out.npz"))
    shot.duohand.take_path = str(moved)
    assert bpy.ops.duohand.save_take(filepath=str(tmp_path / "out.npz")) == {"FINISHED"}
    assert np.isfinite(load_take(tmp_path / "out.npz").wrist_cam_m).any()


def test_saving_a_copy_elsewhere_keeps_the_open_files_paths(tmp_path: Path) -> None:
    scenes.empty_scene()
    (shot,) = load(take_of(tmp_path, "clip.mp4"))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    (tmp_path / "copies" / "deep").mkdir(parents=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "copies" / "deep" / "copy.blend"), copy=True)
    assert shot.duohand.take_path == "//clip.npz"
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "copies" / "deep" / "copy.blend"))
    assert Path(bpy.path.abspath(shots()[0].duohand.take_path)).resolve() == tmp_path / "clip.npz"
