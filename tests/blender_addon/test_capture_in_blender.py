# SPDX-License-Identifier: GPL-3.0-or-later
"""Capture through the installed add-on with fake engines: working ones, failing ones, deleted scenes."""

import importlib
import shutil
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

from inference_core.geometry.camera import default_camera
from inference_core.geometry.camera_path import with_camera_path
from inference_core.shared.errors import RequestError
from inference_core.shared.take import save_take
from tests.blender_addon.in_blender import EXTENSION
from tests.blender_addon.layouts import drawn
from tests.blender_addon.scenes import ROOT, empty_scene, made, take_file

FAKE = Path(__file__).with_name("fake_engine.py")
MOVIE = ROOT / "inference_core" / "demo" / "two_hands.mp4"


def module(name: str) -> ModuleType:
    return importlib.import_module(f"{EXTENSION}.{name}")


def preferences() -> Any:
    return module("preferences").addon_preferences()


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    found = empty_scene()
    preferences().log_folder = str(tmp_path / "logs")
    found.duohand.take_folder = str(tmp_path / "takes")
    yield found
    module("capture.runs").RUNS.abandon()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "shot é"
    folder.mkdir()
    image = bpy.data.images.new("made", 64, 48)
    image.filepath_raw, image.file_format = str(folder / "shot_0007.png"), "PNG"
    image.save()
    for number in (8, 9, 11):
        shutil.copy(folder / "shot_0007.png", folder / f"shot_{number:04d}.png")
    return folder / "shot_0007.png"


def use_engine(tmp_path: Path, behaviour: str) -> None:
    program = tmp_path / "engine"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} {FAKE} {behaviour}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    preferences().engine = str(program)


def start(scene: bpy.types.Scene) -> Any:
    module("capture.operators").start_capture(scene)
    return module("capture.runs").RUNS


def step_until_idle(runs: Any) -> list[Any]:
    outcomes: list[Any] = []
    end = time.monotonic() + 30
    while runs.state is not None:
        assert time.monotonic() < end
        outcomes += runs.step()
        time.sleep(0.01)
    return outcomes


def test_a_sequence_is_described_with_its_numbers(scene: bpy.types.Scene, pictures: Path) -> None:
    assert bpy.ops.duohand.choose_footage(filepath=str(pictures)) == {"FINISHED"}
    capture = scene.duohand
    assert (capture.width, capture.height) == (64, 48)
    assert (capture.first, capture.last, capture.is_sequence) == (7, 11, True)
    assert not capture.problem


def test_a_movie_is_described_with_its_rate_and_length(scene: bpy.types.Scene) -> None:
    scene.duohand.footage = str(MOVIE)
    assert scene.duohand.problem == ""
    assert scene.duohand.fps > 0 and scene.duohand.last > 24
    assert f"{scene.duohand.width} x {scene.duohand.height}" in scene.duohand.facts_text


@pytest.mark.parametrize("name", ["gone.mov", "text.mp4", "empty folder"])
def test_files_that_are_not_footage_are_named(scene: bpy.types.Scene, tmp_path: Path, name: str) -> None:
    (tmp_path / "text.mp4").write_text("not a movie")
    (tmp_path / "empty folder").mkdir()
    scene.duohand.footage = str(tmp_path / name)
    assert name in scene.duohand.problem
    assert not bpy.ops.duohand.capture.poll()


def test_a_movie_that_only_the_engine_can_read_can_be_captured(
    scene: bpy.types.Scene, tmp_path: Path
) -> None:
    recording = tmp_path / "recording.webm"
    recording.write_bytes(b"\x1aE\xdf\xa3" + bytes(100))
    scene.duohand.footage = str(recording)
    assert scene.duohand.problem == ""
    assert "the engine may" in scene.duohand.facts_text


def test_a_number_within_the_name_makes_a_sequence(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path
) -> None:
    for number, picture in enumerate(
        sorted(item for item in pictures.parent.iterdir() if item.suffix == ".png")
    ):
        shutil.copy(picture, tmp_path / f"shot_{number:04d}_beauty.png")
    (tmp_path / "._shot_0099_beauty.png").write_bytes(b"left by macOS")
    scene.duohand.footage = str(tmp_path / "shot_0000_beauty.png")
    assert (scene.duohand.first, scene.duohand.is_sequence) == (0, True)
    assert 2 < scene.duohand.last < 99


def test_capture_brings_the_engines_take_into_the_scene(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path
) -> None:
    use_engine(tmp_path, str(take_file("two_hands")))
    scene.duohand.footage = str(pictures)
    scene.duohand.start_frame = 31
    assert bpy.ops.duohand.capture() == {"FINISHED"}
    armatures = [item for item in scene.objects if item.type == "ARMATURE"]
    assert len(armatures) == 2
    assert scene.frame_start == 31
    assert (tmp_path / "takes" / "shot.npz").is_file()


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("killed", "SIGKILL"),
        ("rubbish", "not a message"),
        ("other_protocol", "protocol 99"),
        ("good", "take"),
    ],
)
def test_a_bad_engine_gives_a_readable_message_and_harms_no_scene(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path, behaviour: str, said: str
) -> None:
    use_engine(tmp_path, behaviour)
    scene.duohand.footage = str(pictures)
    with pytest.raises(RuntimeError, match=said):
        bpy.ops.duohand.capture()
    assert not [item for item in scene.objects if item.type == "ARMATURE"]


def test_without_an_engine_the_button_says_why_it_is_disabled(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path
) -> None:
    preferences().engine = str(tmp_path / "nowhere")
    scene.duohand.footage = str(pictures)
    with pytest.raises(RuntimeError, match="no engine"):
        bpy.ops.duohand.capture()


def test_a_scene_deleted_during_the_run_does_no_harm(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path
) -> None:
    other = bpy.data.scenes.new("Other")
    other.duohand.take_folder = scene.duohand.take_folder
    other.duohand.footage = str(pictures)
    use_engine(tmp_path, str(take_file("two_hands")))
    runs = start(other)
    bpy.data.scenes.remove(other)
    (outcome,) = step_until_idle(runs)
    assert "Other is gone" in outcome.text and "shot.npz" in outcome.text
    assert not [item for item in bpy.data.objects if item.type == "ARMATURE"]


def test_another_file_loaded_during_the_run_does_no_harm(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path
) -> None:
    use_engine(tmp_path, str(take_file("two_hands")))
    scene.duohand.footage = str(pictures)
    runs = start(scene)
    empty_scene()
    (outcome,) = step_until_idle(runs)
    assert "Load Take reads it" in outcome.text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"use_range": True, "first": 9, "last": 8}, "ends at 8, before its first frame, 9"),
        ({"use_scene_camera": True}, "no camera to parent the hands to"),
    ],
)
def test_what_cannot_end_well_is_refused_before_the_engine_starts(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    use_engine(tmp_path, str(take_file("two_hands")))
    scene.duohand.footage = str(pictures)
    for name, value in settings.items():
        setattr(scene.duohand, name, value)
    with pytest.raises(RequestError, match=said):
        start(scene)
    assert module("capture.runs").RUNS.state is None


def test_a_take_that_cannot_be_brought_in_is_named_and_not_tried_again(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path
) -> None:
    use_engine(tmp_path, str(take_file("two_hands")))
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    scene.camera, scene.duohand.use_scene_camera, scene.duohand.footage = camera, True, str(pictures)
    runs = start(scene)
    bpy.data.objects.remove(camera)
    (outcome,) = step_until_idle(runs)
    assert outcome.is_error and "no camera" in outcome.text and "shot.npz: Load Take reads it" in outcome.text


@pytest.mark.parametrize("frame", [2**31 - 1, -(2**31)])
def test_a_start_frame_that_blender_cannot_show_is_brought_within_its_bounds(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path, frame: int
) -> None:
    use_engine(tmp_path, str(take_file("two_hands")))
    scene.duohand.footage, scene.duohand.start_frame = str(pictures), frame
    (outcome,) = step_until_idle(start(scene))
    assert not outcome.is_error


def test_a_folder_beside_a_file_that_was_never_saved_is_the_add_ons_own(scene: bpy.types.Scene) -> None:
    files = module("take.files")
    scene.duohand.take_folder = "//takes"
    assert files.takes_folder_of(scene) == module("preferences").takes_folder()


def test_a_take_comes_into_its_scene_after_its_file_was_opened_again(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path
) -> None:
    use_engine(tmp_path, str(take_file("two_hands")))
    scene.duohand.footage, scene.name = str(pictures), "Mine"
    runs = start(scene)
    for name in ("one.blend", "two.blend"):
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / name))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "one.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "two.blend"))
    (outcome,) = step_until_idle(runs)
    assert not outcome.is_error
    assert len([item for item in bpy.data.scenes["Mine"].objects if item.type == "ARMATURE"]) == 2


def test_the_take_goes_to_its_own_scene_whichever_is_shown(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path
) -> None:
    other = bpy.data.scenes.new("Other")
    other.duohand.take_folder, other.duohand.footage = scene.duohand.take_folder, str(pictures)
    use_engine(tmp_path, str(take_file("two_hands")))
    (outcome,) = step_until_idle(start(other))
    assert not outcome.is_error
    assert len([item for item in other.objects if item.type == "ARMATURE"]) == 2
    assert not scene.objects


def test_saving_and_undo_during_the_run_do_no_harm(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path
) -> None:
    use_engine(tmp_path, str(take_file("two_hands")))
    scene.duohand.footage = str(pictures)
    bpy.ops.ed.undo_push(message="before")
    runs = start(scene)
    scene.collection.objects.link(bpy.data.objects.new("unwanted", None))
    bpy.ops.ed.undo_push(message="unwanted")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    assert bpy.ops.ed.undo() == {"FINISHED"}
    (outcome,) = step_until_idle(runs)
    assert not outcome.is_error, outcome.text
    assert "unwanted" not in bpy.context.scene.objects
    assert len([item for item in bpy.context.scene.objects if item.type == "ARMATURE"]) == 2


@pytest.mark.parametrize("mishap", ["undo", "delete"])
def test_a_partly_loaded_take_is_completed_after_undo_and_deletion(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path, mishap: str
) -> None:
    use_engine(tmp_path, str(take_file("two_hands")))
    scene.duohand.footage = str(pictures)
    module("capture.landing").STEP_S, usual = 0.0, module("capture.landing").STEP_S
    try:
        bpy.ops.ed.undo_push(message="before")
        scene.collection.objects.link(bpy.data.objects.new("more", None))
        bpy.ops.ed.undo_push(message="more")
        runs = start(scene)
        end = time.monotonic() + 20
        while not (hands := [item for item in bpy.data.objects if item.type == "ARMATURE"]):
            runs.step()
            assert time.monotonic() < end
        module("capture.landing").STEP_S = usual
        if mishap == "undo":
            bpy.ops.ed.undo()
        else:
            bpy.data.objects.remove(hands[0])
        (outcome,) = step_until_idle(runs)
    finally:
        module("capture.landing").STEP_S = usual
    assert not outcome.is_error, outcome.text
    hands = [item for item in bpy.context.scene.objects if item.type == "ARMATURE"]
    assert sorted(item.duohand.side for item in hands) == ["LEFT", "RIGHT"]
    assert all(item.animation_data.action.frame_range[1] > 20 for item in hands)


def test_a_pose_that_is_not_keyed_stays_when_the_same_motion_is_captured_again(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_engine(tmp_path, str(take_file("two_hands")))
    scene.duohand.footage = str(pictures)
    assert bpy.ops.duohand.capture() == {"FINISHED"}
    hands = [item for item in scene.objects if item.type == "ARMATURE"]
    bones = [item.pose.bones[f"index_02.{item.duohand.side[0]}"] for item in hands]
    for bone in bones:
        bone.rotation_quaternion = (0.8, 0.6, 0.0, 0.0)
    bpy.context.view_layer.update()
    monkeypatch.setattr(module("capture.landing"), "STEP_S", 0.0)
    assert bpy.ops.duohand.capture() == {"FINISHED"}
    bpy.context.view_layer.update()
    for bone in bones:
        assert tuple(bone.rotation_quaternion) == pytest.approx((0.8, 0.6, 0.0, 0.0), abs=1e-6)


def test_footage_that_was_moved_is_named_before_anything_starts(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path
) -> None:
    use_engine(tmp_path, "good")
    scene.duohand.footage = str(pictures)
    pictures.rename(pictures.with_name("elsewhere.png"))
    with pytest.raises(RuntimeError, match="does not exist any more"):
        bpy.ops.duohand.capture()


def test_a_folder_that_cannot_be_written_is_named(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path
) -> None:
    use_engine(tmp_path, "good")
    scene.duohand.footage = str(pictures)
    (tmp_path / "file").write_text("in the way")
    scene.duohand.take_folder = str(tmp_path / "file" / "takes")
    with pytest.raises(RuntimeError, match="Choose another one for takes"):
        bpy.ops.duohand.capture()
    scene.duohand.take_folder = str(tmp_path)
    preferences().log_folder = str(tmp_path / "file" / "logs")
    with pytest.raises(RuntimeError, match="Choose another log folder"):
        bpy.ops.duohand.capture()


def test_an_unsolved_clip_gives_no_lens(scene: bpy.types.Scene) -> None:
    scene.duohand.footage, scene.duohand.lens = str(MOVIE), "CLIP"
    with pytest.raises(Exception, match="Choose the movie clip"):
        module("capture.request").lens_of(scene, (1280, 720))
    scene.duohand.clip = bpy.data.movieclips.load(str(MOVIE))
    with pytest.raises(Exception, match="is not solved"):
        module("capture.request").lens_of(scene, (1280, 720))


def test_a_tracked_clips_lens_is_read_in_pixels(scene: bpy.types.Scene) -> None:
    clip = bpy.data.movieclips.load(str(MOVIE))
    width, height = clip.size
    camera = clip.tracking.camera
    camera.sensor_width, camera.focal_length, camera.principal_point = 20.0, 31.0, (0.1, -0.2)
    lens = module("capture.request").lens_of_tracking(camera, width, height)
    x, y = camera.principal_point_pixels
    focal = camera.focal_length_pixels
    assert lens.intrinsics_px == pytest.approx((focal, focal, x, height - y))


def test_two_captures_queue(scene: bpy.types.Scene, pictures: Path, tmp_path: Path) -> None:
    use_engine(tmp_path, str(take_file("two_hands")))
    scene.duohand.footage = str(pictures)
    scene.duohand.new_shot = True
    runs = start(scene)
    start(scene)
    assert runs.waiting == 1
    assert len(step_until_idle(runs)) == 2
    assert len([item for item in scene.objects if item.type == "ARMATURE"]) == 4


def test_each_clip_of_a_list_becomes_a_shot(scene: bpy.types.Scene, pictures: Path, tmp_path: Path) -> None:
    use_engine(tmp_path, str(take_file("two_hands")))
    folder = tmp_path / "clips"
    shutil.copytree(pictures.parent, folder / "inner")
    for name in ("one.mp4", "two.mp4", "._two.mp4", "notes.txt"):
        shutil.copy(MOVIE, folder / name)
    for picture in (folder / "inner").iterdir():
        picture.rename(folder / picture.name)
    scene.duohand.footage = str(MOVIE)
    assert bpy.ops.duohand.add_clips(directory=str(folder)) == {"FINISHED"}
    assert [Path(clip.footage).name for clip in scene.duohand.clips] == [
        "one.mp4",
        "two.mp4",
        "shot_0007.png",
    ]
    assert bpy.ops.duohand.add_clips(directory=str(folder), files=[{"name": "two.mp4"}]) == {"FINISHED"}
    assert len(scene.duohand.clips) == 3
    bpy.ops.duohand.remove_clip(index=0)
    assert "Capture Hands of 3 Clips" in drawn("DUOHAND_PT_capture")
    scene.duohand.set_markers = False
    assert bpy.ops.duohand.capture() == {"FINISHED"}
    shots = sorted(item.name for item in scene.collection.children if item.duohand.is_shot)
    assert shots == ["shot", "two", "two_hands"]
    assert sorted(item.name for item in (tmp_path / "takes").iterdir()) == [f"{name}.npz" for name in shots]
    assert not scene.timeline_markers
    requests = module("capture.request")
    assert requests.capture_request(scene, {}, scene.duohand.clips[1].footage).fps == 24
    assert requests.capture_request(scene).fps is None


def test_a_missing_clip_is_named_before_anything_starts(scene: bpy.types.Scene, tmp_path: Path) -> None:
    use_engine(tmp_path, str(take_file("two_hands")))
    scene.duohand.footage = str(MOVIE)
    scene.duohand.clips.add().footage = str(tmp_path / "gone.mp4")
    with pytest.raises(RuntimeError, match=r"gone\.mp4 does not exist"):
        bpy.ops.duohand.capture()
    assert module("capture.runs").RUNS.state is None


def test_choosing_several_files_fills_the_clip_list(scene: bpy.types.Scene, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(MOVIE, tmp_path / name)
    files = [{"name": "a.mp4"}, {"name": "b.mp4"}]
    bpy.ops.duohand.choose_footage(filepath=str(tmp_path / "a.mp4"), directory=str(tmp_path), files=files)
    assert Path(scene.duohand.footage).name == "a.mp4"
    assert [Path(clip.footage).name for clip in scene.duohand.clips] == ["b.mp4"]


def test_captured_hands_are_selected_but_not_while_something_else_is_edited(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path
) -> None:
    use_engine(tmp_path, str(take_file("two_hands")))
    scene.duohand.footage = str(pictures)
    mine = bpy.data.objects.new("mine", bpy.data.meshes.new("mine"))
    scene.collection.objects.link(mine)
    bpy.context.view_layer.objects.active = mine
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.duohand.capture()
    assert bpy.context.view_layer.objects.active == mine and bpy.context.mode == "EDIT_MESH"
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.duohand.capture()
    assert {item.duohand.side for item in bpy.context.selected_objects} == {"LEFT", "RIGHT"}


def test_the_panel_says_why_its_button_is_disabled(scene: bpy.types.Scene, tmp_path: Path) -> None:
    preferences().engine = str(tmp_path / "nowhere")
    assert "Choose footage first" in drawn("DUOHAND_PT_capture")
    scene.duohand.footage = str(MOVIE)
    assert any("There is no engine" in text for text in drawn("DUOHAND_PT_capture"))
    for panel in ("review", "view", "take", "clean_up", "export"):
        assert "Capture or load a take first" in drawn(f"DUOHAND_PT_{panel}"), panel


def test_the_status_bar_shows_stage_frames_and_queue() -> None:
    jobs, progress = module("engine.job"), module("capture.progress")
    state = jobs.JobState(jobs.Phase.RUNNING, stage="detect", done=34, total=120, seconds_left=40)
    assert progress.status_text(state, 2).endswith("34 of 120, 0:40 left, 2 more waiting")


def test_escape_stops_the_run_and_its_operator(
    scene: bpy.types.Scene, pictures: Path, tmp_path: Path
) -> None:
    use_engine(tmp_path, "until_cancelled")
    scene.duohand.footage = str(pictures)
    start(scene)
    operator_class = module("capture.operators").DUOHAND_OT_capture
    said: list[tuple[set[str], str]] = []
    removed: list[object] = []
    operator = SimpleNamespace(
        _timer="a timer",
        report=lambda kind, text: said.append((kind, text)),
        _report=lambda *arguments: operator_class._report(operator, *arguments),
        _drop_timer=lambda context: operator_class._drop_timer(operator, context),
    )
    manager = SimpleNamespace(event_timer_remove=removed.append)
    sidebar = SimpleNamespace(type="UI", x=800, y=0, width=200, height=600)
    screen = SimpleNamespace(areas=[SimpleNamespace(type="VIEW_3D", regions=[sidebar])])
    context = SimpleNamespace(window_manager=manager, window=SimpleNamespace(screen=screen))
    event = SimpleNamespace(type="TIMER", value="NOTHING")
    runs = module("capture.runs").RUNS
    end = time.monotonic() + 20
    while not runs.state.done:
        assert operator_class.modal(operator, context, event) == {"PASS_THROUGH"}
        assert time.monotonic() < end
    elsewhere = SimpleNamespace(type="ESC", value="PRESS", mouse_x=10, mouse_y=10)
    assert operator_class.modal(operator, context, elsewhere) == {"PASS_THROUGH"}
    assert "CANCEL" not in runs.state.phase.name
    over = SimpleNamespace(type="ESC", value="PRESS", mouse_x=850, mouse_y=10)
    assert operator_class.modal(operator, context, over) == {"RUNNING_MODAL"}
    begun = time.monotonic()
    while operator_class.modal(operator, context, event) != {"FINISHED"}:
        assert time.monotonic() - begun < 10
        time.sleep(0.01)
    assert said == [({"INFO"}, "Capture cancelled; capturing again resumes it")]
    assert removed == ["a timer"]


@pytest.mark.parametrize(
    ("lens", "values", "expected"),
    [
        ("DEFAULT", {}, {}),
        ("FOV", {"fov": np.radians(75)}, {"fov_deg": 75.0}),
        ("FOCAL", {"focal_mm": 50.0, "sensor_mm": 24.0}, {"focal_mm": 50.0, "sensor_mm": 24.0}),
    ],
)
def test_the_lens_reaches_the_engine(
    scene: bpy.types.Scene, pictures: Path, lens: str, values: dict[str, float], expected: dict[str, float]
) -> None:
    scene.duohand.footage, scene.duohand.lens = str(pictures), lens
    for name, value in values.items():
        setattr(scene.duohand, name, value)
    request = module("capture.request").capture_request(scene)
    for name in ("fov_deg", "focal_mm", "sensor_mm"):
        assert getattr(request, name) == (pytest.approx(expected[name]) if name in expected else None)


def test_the_lens_by_the_hands_is_set_when_asked_for(scene: bpy.types.Scene, tmp_path: Path) -> None:
    scene.duohand.footage = str(MOVIE)
    assert not bpy.ops.duohand.use_lens_by_hands.poll()
    lens = {"fov_deg": 83.0, "low_deg": 65.0, "high_deg": 101.0}
    meta = {"footage": {"path": str(MOVIE)}, "camera": {"source": "not known", "by_hands": lens}}
    save_take(replace(made("two_hands"), meta=meta), tmp_path / "told.npz")
    assert bpy.ops.duohand.load_take(filepath=str(tmp_path / "told.npz")) == {"FINISHED"}
    assert scene.duohand.lens == "DEFAULT"
    assert "Use Lens by Hands" in drawn("DUOHAND_PT_footage")
    assert bpy.ops.duohand.use_lens_by_hands() == {"FINISHED"}
    assert scene.duohand.lens == "FOV" and np.degrees(scene.duohand.fov) == pytest.approx(83)


def test_a_take_that_does_not_tell_its_lens_sets_none(scene: bpy.types.Scene, tmp_path: Path) -> None:
    scene.duohand.footage = str(MOVIE)
    save_take(replace(made("two_hands"), meta={"footage": {"path": str(MOVIE)}}), tmp_path / "silent.npz")
    bpy.ops.duohand.load_take(filepath=str(tmp_path / "silent.npz"))
    with pytest.raises(RuntimeError, match="does not tell"):
        bpy.ops.duohand.use_lens_by_hands()
    assert scene.duohand.lens == "DEFAULT"


def test_a_known_hand_length_reaches_the_engine(scene: bpy.types.Scene, pictures: Path) -> None:
    capture_request = module("capture.request").capture_request
    scene.duohand.footage, scene.duohand.hand_length_mm = str(pictures), 172.0
    assert capture_request(scene).hand_length_mm is None
    scene.duohand.use_hand_length = True
    assert capture_request(scene).hand_length_mm == pytest.approx(172)


@pytest.mark.parametrize(("fit", "expected"), [("AUTO", 60.0), ("HORIZONTAL", 60.0), ("VERTICAL", 75.178)])
def test_the_scenes_camera_gives_its_angle_across_the_wider_side(
    scene: bpy.types.Scene, pictures: Path, fit: str, expected: float
) -> None:
    data = bpy.data.cameras.new("Camera")
    data.sensor_fit = fit
    data.angle = np.radians(60)
    scene.camera = bpy.data.objects.new("Camera", data)
    scene.duohand.footage, scene.duohand.lens = str(pictures), "CAMERA"
    lens = module("capture.request").lens_of(scene, scene.duohand.facts.size_px)
    assert lens.fov_deg == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("timing", "frame_of_third"), [("FRAMES", 13.0), ("SECONDS", 15.0)])
def test_the_motion_of_the_scenes_camera_reaches_the_engine_in_metres(
    scene: bpy.types.Scene, timing: str, frame_of_third: float
) -> None:
    scene.unit_settings.system, scene.unit_settings.scale_length = "METRIC", 0.01
    parent = bpy.data.objects.new("Rig", None)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    for thing in (parent, camera):
        scene.collection.objects.link(thing)
    camera.parent, parent.scale = parent, (2, 2, 2)
    camera.rotation_euler = (np.pi / 2, 0, 0)  # looks along +Y
    for frame, x in ((1, 0.0), (101, 500.0)):
        camera.location.x = x
        camera.keyframe_insert("location", frame=frame)
    for curve in module("scene.fcurves").active_channels(camera).fcurves:
        for key in curve.keyframe_points:
            key.interpolation = "LINEAR"
    scene.camera, scene.frame_current = camera, 7
    scene.duohand.footage, scene.duohand.lens = str(MOVIE), "CAMERA"
    scene.duohand.timing, scene.duohand.start_frame = timing, 11
    scene.render.fps = round(2 * scene.duohand.rate)
    capture_request, apply_settings = (
        getattr(module("capture.request"), name) for name in ("capture_request", "apply_settings")
    )
    assert capture_request(scene).camera_path is None
    scene.duohand.use_camera_motion = True
    standing = default_camera((960, 540))
    moving = with_camera_path(standing, Path(capture_request(scene).camera_path), range(100))
    np.testing.assert_allclose(moving.T_world_cam[2, :3, 3], [0.1 * (frame_of_third - 1), 0, 0], atol=1e-6)
    np.testing.assert_allclose(moving.T_world_cam[2, :3, :3], np.eye(3), atol=1e-6)
    assert scene.frame_current == 7
    assert np.array_equal(apply_settings(scene).place, np.eye(4))


def test_a_clip_without_a_camera_that_follows_it_gives_no_motion(scene: bpy.types.Scene) -> None:
    scene.duohand.footage, scene.duohand.lens = str(MOVIE), "CLIP"
    scene.duohand.clip = bpy.data.movieclips.load(str(MOVIE))
    write = module("capture.camera_motion").write_camera_path
    with pytest.raises(Exception, match="a clip alone has no scale"):
        write(scene, 1, Path("unused.json"))


def test_the_camera_that_follows_the_clip_gives_its_motion(scene: bpy.types.Scene, tmp_path: Path) -> None:
    scene.duohand.footage, scene.duohand.lens = str(MOVIE), "CLIP"
    scene.duohand.clip = bpy.data.movieclips.load(str(MOVIE))
    for name in ("Other", "Tracked"):
        camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
        scene.collection.objects.link(camera)
    camera.location = (1, 2, 3)
    solver: Any = camera.constraints.new("CAMERA_SOLVER")
    solver.use_active_clip, solver.clip = False, scene.duohand.clip
    module("capture.camera_motion").write_camera_path(scene, 1, tmp_path / "path.json")
    poses = with_camera_path(default_camera((960, 540)), tmp_path / "path.json", range(100)).T_world_cam
    np.testing.assert_allclose(poses[5, :3, 3], [1, -3, 2], atol=1e-6)


def test_a_scene_without_a_camera_says_so(scene: bpy.types.Scene, pictures: Path) -> None:
    scene.duohand.footage, scene.duohand.lens = str(pictures), "CAMERA"
    with pytest.raises(Exception, match="no perspective camera") as caught:
        module("capture.request").capture_request(scene)
    assert type(caught.value).__name__ == RequestError.__name__


def test_the_range_is_inclusive_for_people_and_exclusive_for_the_engine(
    scene: bpy.types.Scene, pictures: Path
) -> None:
    scene.duohand.footage, scene.duohand.use_range = str(pictures), True
    scene.duohand.first, scene.duohand.last, scene.duohand.step = 8, 10, 2
    assert module("capture.request").capture_request(scene).frames == "8:11:2"


def test_check_engine_stores_the_engines_answer(scene: bpy.types.Scene, tmp_path: Path) -> None:
    use_engine(tmp_path, "hello")
    assert bpy.ops.duohand.check_engine() == {"FINISHED"}
    assert preferences().engine_facts == "Duohand 9.9 on cpu"
    use_engine(tmp_path, "crash_at_start")
    with pytest.raises(RuntimeError, match="no module named torch"):
        bpy.ops.duohand.check_engine()
    assert preferences().engine_facts == ""


def test_the_add_on_contains_the_engines_wheel(scene: bpy.types.Scene) -> None:
    wheel = Path(module("install.operators").core_requirement())
    assert wheel.is_file() and wheel.name.startswith("duohand-")


def test_an_engine_is_not_installed_without_permission_to_go_online(
    scene: bpy.types.Scene, tmp_path: Path
) -> None:
    preferences().wheels = ""
    if not bpy.app.online_access:
        with pytest.raises(RuntimeError, match="may not go online"):
            bpy.ops.duohand.install_engine()
    preferences().wheels = str(tmp_path)
    assert bpy.ops.duohand.install_engine.poll()
    preferences().wheels = ""


_CAMERA_ENGINE = """#!{python}
import json, shutil, sys
clip = sys.argv[sys.argv.index("--record") + 1]
assert sys.argv[1:6] == ["-I", "-m", "inference_core", "live", "0"] and "--json" in sys.argv
if {fails}:
    sys.exit("duohand: There is no camera 0: this machine has none.")
print(json.dumps(dict(type="page", value="http://127.0.0.1:1/x/")), flush=True)
sys.stdin.read()
if {films}:
    shutil.copy({movie!r}, clip)
"""


def use_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool = False, films: bool = True
) -> Any:
    """The recording of this Blender, with a camera there and a program in the engine's place."""
    program = tmp_path / "engine"
    program.write_text(
        _CAMERA_ENGINE.format(python=sys.executable, fails=fails, films=films, movie=str(MOVIE))
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    preferences().engine = str(program)
    monkeypatch.setattr(module("capture.camera"), "cameras_here", lambda: [0])
    return module("capture.camera").CAMERA


def step_camera(camera: Any, done: Any) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        camera.step()
        time.sleep(0.01)


def test_a_recording_becomes_the_footage(
    scene: bpy.types.Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = use_camera(tmp_path, monkeypatch)
    assert bpy.ops.duohand.record_camera(capture=False) == {"FINISHED"}
    step_camera(camera, lambda: "browser" in camera.text)
    assert not bpy.ops.duohand.record_camera.poll()
    assert bpy.ops.duohand.end_recording() == {"FINISHED"}
    step_camera(camera, lambda: not camera.runs)
    assert Path(scene.duohand.footage).parent == tmp_path / "takes" and not camera.is_error
    assert scene.duohand.last > 24 and camera.text.startswith("Recorded: camera-")
    assert not bpy.ops.duohand.end_recording.poll()


def test_a_recording_leaves_one_that_began_in_the_same_second(
    scene: bpy.types.Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = use_camera(tmp_path, monkeypatch)
    monkeypatch.setattr(time, "strftime", lambda form: form.replace("%Y%m%d-%H%M%S", "now"))
    earlier = tmp_path / "takes" / "camera-now.mp4"
    earlier.parent.mkdir()
    earlier.write_bytes(b"by another Blender")
    assert bpy.ops.duohand.record_camera(capture=False) == {"FINISHED"}
    step_camera(camera, lambda: "browser" in camera.text)
    camera.stop()
    step_camera(camera, lambda: not camera.runs)
    assert earlier.read_bytes() == b"by another Blender"
    assert Path(scene.duohand.footage).name == "camera-now_2.mp4"


def test_a_recording_is_captured_if_requested(
    scene: bpy.types.Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = use_camera(tmp_path, monkeypatch)
    assert bpy.ops.duohand.record_camera() == {"FINISHED"}
    step_camera(camera, lambda: "browser" in camera.text)
    camera.stop()
    use_engine(tmp_path, str(take_file("two_hands")))
    step_camera(camera, lambda: not camera.runs)
    outcomes = step_until_idle(module("capture.runs").RUNS)
    assert [outcome.is_error for outcome in outcomes] == [False]
    assert len([item for item in scene.objects if item.type == "ARMATURE"]) == 2


@pytest.mark.parametrize(
    ("kind", "said"), [("fails", "no camera 0"), ("films nothing", "Nothing was recorded")]
)
def test_a_failed_recording_is_reported_and_keeps_the_footage(
    scene: bpy.types.Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, said: str
) -> None:
    scene.duohand.footage = str(MOVIE)
    camera = use_camera(tmp_path, monkeypatch, fails=kind == "fails", films=False)
    assert bpy.ops.duohand.record_camera() == {"FINISHED"}
    if kind != "fails":
        step_camera(camera, lambda: "browser" in camera.text)
        camera.stop()
    step_camera(camera, lambda: not camera.runs)
    assert said in camera.text and camera.is_error == (kind == "fails")
    assert scene.duohand.footage == str(MOVIE)


def test_recording_is_disabled_without_an_engine_or_a_camera(
    scene: bpy.types.Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_camera(tmp_path, monkeypatch)
    camera = module("capture.camera")
    assert camera.camera_problem() == "" and bpy.ops.duohand.record_camera.poll()
    monkeypatch.setattr(camera, "cameras_here", list)
    assert "no camera" in camera.camera_problem() and not bpy.ops.duohand.record_camera.poll()
    monkeypatch.setattr(camera, "cameras_here", lambda: None)  # only trying tells
    assert camera.camera_problem() == ""
    preferences().engine = str(tmp_path / "nothing")
    assert "no engine" in camera.camera_problem()
