# SPDX-License-Identifier: GPL-3.0-or-later
"""What an animator made stays: keys beside the take, hands of an edit that fails, other shots and their takes."""

import importlib
import shutil
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.shared.take import save_take
from tests.blender_addon import walkers
from tests.blender_addon.in_blender import EXTENSION
from tests.blender_addon.scenes import ROOT, empty_scene, go_to, hand, load, made
from tests.blender_addon.test_capture_in_blender import start, step_until_idle
from tests.blender_addon.test_clean_up_in_blender import all_curves

MOVIE = ROOT / "inference_core" / "demo" / "two_hands.mp4"
FAKE = Path(__file__).with_name("fake_engine.py")
BEFORE, AFTER = -7, 40  # frames beside the take's 1 to 24


def module(name: str) -> Any:
    return importlib.import_module(f"{EXTENSION}.{name}")


@pytest.fixture
def shot() -> Any:
    empty_scene()
    return load("two_hands")


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    """A scene whose captures all give the same take."""
    found: Any = empty_scene()
    preferences = module("preferences").addon_preferences()
    program = tmp_path / "engine"
    take = replace(made("two_hands"), meta={"footage": {"path": str(MOVIE)}})
    save_take(take, tmp_path / "given.npz")
    program.write_text(f"#!/bin/sh\nexec {sys.executable} {FAKE} {tmp_path / 'given.npz'}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    preferences.engine, preferences.log_folder = str(program), str(tmp_path / "logs")
    found.duohand.take_folder, found.duohand.footage = str(tmp_path / "takes"), str(MOVIE)
    yield found
    module("capture.runs").RUNS.abandon()
    preferences.engine = ""


def shots_of(scene: Any) -> list[Any]:
    return [item for item in scene.collection.children_recursive if item.duohand.is_shot]


def motion_keys(armature: Any) -> dict[tuple[str, int], np.ndarray]:
    """Frames and values of the keys of every curve that moves a bone."""
    return {
        (curve.data_path, curve.array_index): np.array([point.co for point in curve.keyframe_points])
        for curve in all_curves(armature)
        if curve.data_path.startswith("pose")
    }


def pose_beside(armature: Any) -> None:
    """Key another pose before the take's first frame, and one after its last."""
    for frame, height in ((BEFORE, 0.3), (AFTER, -0.2)):
        for bone in armature.pose.bones:
            bone.location = (0, 0, height if bone.parent is None else 0)
            bone.rotation_quaternion = (0.8, 0.6, 0, 0)
            if bone.parent is None:
                bone.keyframe_insert("location", frame=frame)
            bone.keyframe_insert("rotation_quaternion", frame=frame)


EDITS: dict[str, dict[str, Any]] = {
    "hold_range": {"first": 3, "last": 5},
    "smooth": {"strength": 0.9},
    "offset_wrist": {"location": (0, 0, 0.1), "first": 20, "last": 24, "blend": 2},
    "delete_range": {"first": 3, "last": 5},
    "swap_sides": {"first": 3, "last": 5},
    "reduce_keys": {"max_error_mm": 1.0},
    "bake_keys": {},
}


@pytest.mark.parametrize("operator", EDITS)
def test_keys_beside_the_take_survive_edits_of_it(shot: Any, operator: str) -> None:
    frames = (BEFORE, -3, 32, AFTER, AFTER + 5)
    for side in (LEFT, RIGHT):
        pose_beside(hand(shot, side))

    def beside() -> np.ndarray:
        curves = [curve for curve in all_curves(hand(shot, RIGHT)) if curve.data_path.startswith("pose")]
        return np.array([[curve.evaluate(frame) for frame in frames] for curve in curves])

    before, count = beside(), len(all_curves(hand(shot, RIGHT)))
    assert getattr(bpy.ops.duohand, operator)(hands="BOTH", **EDITS[operator]) == {"FINISHED"}
    ends = [0, 3, 4]  # between the take and a key, the motion leads from the one to the other
    np.testing.assert_allclose(beside()[:, ends], before[:, ends], atol=1e-6)
    if operator in ("hold_range", "bake_keys"):
        np.testing.assert_allclose(beside(), before, atol=1e-5)
    assert len(all_curves(hand(shot, RIGHT))) == count


def test_handles_of_keys_beside_the_take_stay(shot: Any) -> None:
    right = hand(shot, RIGHT)
    pose_beside(right)
    curve = next(item for item in all_curves(right) if item.data_path.endswith("location"))
    last = curve.keyframe_points[-1]
    last.interpolation, last.handle_left_type, last.handle_left = "SINE", "FREE", (35.0, 1.0)
    bpy.ops.duohand.hold_range(hands="RIGHT", first=3, last=5)
    curve = next(item for item in all_curves(right) if item.data_path.endswith("location"))
    last = curve.keyframe_points[-1]
    assert (last.interpolation, last.handle_left_type, tuple(last.handle_left)) == ("SINE", "FREE", (35, 1))


@pytest.mark.parametrize("operator", [*EDITS, "refill_range", "redo_part", "euler_filter", "lock_range"])
def test_an_edit_that_fails_on_one_hand_changes_neither(shot: Any, operator: str) -> None:
    bpy.ops.duohand.offset_wrist(location=(0, 0, 0.1), first=4, last=5)
    next(item for item in all_curves(hand(shot, RIGHT)) if "index_01" in item.data_path).lock = True
    before = motion_keys(hand(shot, LEFT))
    given = EDITS.get(operator, {} if operator == "euler_filter" else {"first": 3, "last": 5})
    if operator == "lock_range":
        assert bpy.ops.duohand.lock_range(**given) == {"FINISHED"}  # it keys nothing
        return
    with pytest.raises(RuntimeError, match="locked in the Graph Editor"):
        getattr(bpy.ops.duohand, operator)(hands="BOTH", **given)
    after = motion_keys(hand(shot, LEFT))
    assert before.keys() == after.keys()
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_a_hand_is_not_marked_absent_if_the_other_cannot_be() -> None:
    empty_scene()
    shot = load("two_hands")
    bpy.ops.duohand.delete_range(hands="RIGHT", first=8, last=24)
    before = motion_keys(hand(shot, LEFT))
    with pytest.raises(RuntimeError, match="holds all motion"):
        bpy.ops.duohand.delete_range(hands="BOTH", first=1, last=7)
    assert all(np.array_equal(value, before[name]) for name, value in motion_keys(hand(shot, LEFT)).items())


def test_a_swap_leaves_both_hands_where_one_is_locked(shot: Any) -> None:
    bpy.ops.duohand.lock_range(hands="LEFT", first=5, last=8)

    def wrists(side: int) -> np.ndarray:
        found = []
        for frame in range(5, 9):
            go_to(frame)
            found.append(np.array(hand(shot, side).pose.bones[0].matrix))
        return np.array(found)

    before = wrists(LEFT), wrists(RIGHT)
    assert bpy.ops.duohand.swap_sides(first=3, last=12) == {"FINISHED"}
    np.testing.assert_allclose(wrists(LEFT), before[0], atol=1e-6)
    np.testing.assert_allclose(wrists(RIGHT), before[1], atol=1e-6)


def test_a_solved_range_that_cannot_be_keyed_on_one_hand_changes_neither() -> None:
    empty_scene()
    shot = load("solved", start_frame=1, set_rate=True)
    room = module("contact.range_solve")
    solve = room.prepared(shot, room.Touch("touch", 60, 70, "index", "index", 4), None)
    shutil.copy(solve.request.take, solve.request.out)
    next(item for item in all_curves(hand(shot, RIGHT)) if "index_01" in item.data_path).lock = True
    before = motion_keys(hand(shot, LEFT))
    with pytest.raises(RequestError, match="locked in the Graph Editor"):
        room.brought_back(solve)
    assert all(np.array_equal(value, before[name]) for name, value in motion_keys(hand(shot, LEFT)).items())
    solve.forget_files()


@pytest.mark.parametrize("when", ["during the capture", "while it is brought in"])
def test_a_shot_unlinked_during_a_capture_is_updated_not_doubled(scene: Any, when: str) -> None:
    step_until_idle(start(scene))
    (shot,) = shots_of(scene)
    bpy.ops.duohand.lock_range(hands="BOTH", first=3, last=5)
    runs = start(scene)
    landing = module("capture.landing")
    usual = landing.STEP_S
    if when == "while it is brought in":
        landing.STEP_S = 0.0
        end = time.monotonic() + 20
        while not (runs._landings and runs._landings[0][0]._steps):
            runs.step()
            assert time.monotonic() < end
    landing.STEP_S = usual
    scene.collection.children.unlink(shot)
    (outcome,) = step_until_idle(runs)
    assert not outcome.is_error, outcome.text
    assert shots_of(scene) == [shot]
    assert len(hand(shot, LEFT).duohand.locked) == 1


def test_a_new_shot_of_the_same_footage_gets_a_take_of_its_own(scene: Any, tmp_path: Path) -> None:
    scene.duohand.new_shot = True
    runs = start(scene)
    start(scene)
    step_until_idle(runs)
    step_until_idle(start(scene))
    takes = [item.duohand.take_path for item in shots_of(scene)]
    assert len(set(takes)) == 3
    scene.duohand.new_shot = False
    bpy.context.view_layer.objects.active = hand(shots_of(scene)[1], LEFT)
    runs = start(scene)
    bpy.context.view_layer.objects.active = hand(shots_of(scene)[2], LEFT)
    step_until_idle(runs)
    now = [item.duohand.take_path for item in shots_of(scene)]
    assert (now[0], now[2]) == (takes[0], takes[2]) and now[1] not in takes


def reopened(tmp_path: Path) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shots.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shots.blend"))


def undone(tmp_path: Path) -> None:
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("unwanted", None))
    bpy.ops.ed.undo_push(message="unwanted")
    assert bpy.ops.ed.undo() == {"FINISHED"}


def collection_deleted(tmp_path: Path) -> None:
    """As Delete in the Outliner does, which leaves the hands."""
    shot: Any = bpy.data.collections["asked for"]
    for thing in list(shot.objects):
        bpy.context.scene.collection.objects.link(thing)
    bpy.data.collections.remove(shot)


def copied(tmp_path: Path) -> None:
    """The other shots refer to the same take."""
    for other in shots_of(bpy.context.scene):
        other.duohand.take_path = bpy.data.collections["asked for"].duohand.take_path


@pytest.mark.parametrize("then", [None, copied, undone, reopened, collection_deleted])
def test_captures_go_to_the_shot_that_they_were_started_for(scene: Any, tmp_path: Path, then: Any) -> None:
    scene.duohand.new_shot = True
    for _ in range(3):
        step_until_idle(start(scene))
    scene.duohand.new_shot = False
    one, other = shots_of(scene)[1:]
    one.name, place, elsewhere = "called something", one.duohand.place.name, hand(other, LEFT).name
    bpy.context.view_layer.objects.active = hand(one, LEFT)
    runs = start(scene)
    start(scene)
    one.name = "asked for"
    bpy.ops.ed.undo_push(message="before")
    if then is not None:
        then(tmp_path)
    scene = bpy.context.scene
    before = takes_by_place(scene)
    outcomes: list[Any] = []
    for _ in range(2):
        bpy.context.view_layer.objects.active = bpy.data.objects[elsewhere]
        outcomes.append(step_until_one_ends(runs))
    assert not [outcome.text for outcome in outcomes if outcome.is_error] and runs.state is None
    now = takes_by_place(scene)
    assert now.pop(place).endswith("two_hands_5.npz")
    before.pop(place, None)
    assert len(now) == 2 and now == before


def takes_by_place(scene: Any) -> dict[str, str]:
    return {item.duohand.place.name: item.duohand.take_path for item in shots_of(scene)}


def step_until_one_ends(runs: Any) -> Any:
    end = time.monotonic() + 30
    while not (outcomes := runs.step()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return outcomes[0]


@pytest.mark.parametrize("others", [0, 1])
def test_a_capture_for_a_shot_that_was_deleted_meanwhile_changes_no_other(
    scene: Any, tmp_path: Path, others: int
) -> None:
    scene.duohand.new_shot = True
    for _ in range(1 + others):
        step_until_idle(start(scene))
    scene.duohand.new_shot = False
    shot = shots_of(scene)[0]
    bpy.context.view_layer.objects.active = hand(shot, LEFT)
    runs = start(scene)
    name = shot.name
    bpy.data.batch_remove([*shot.objects, shot])
    before = [item.duohand.take_path for item in shots_of(scene)]
    (outcome,) = step_until_idle(runs)
    take = tmp_path / "takes" / f"two_hands_{2 + others}.npz"
    assert outcome.is_error and f"The shot {name} is gone" in outcome.text and take.is_file()
    assert f"{take}: Load Take reads it" in outcome.text
    assert [item.duohand.take_path for item in shots_of(scene)] == before
    assert load_file(take) == {"FINISHED"} and len(shots_of(scene)) == max(1, others)


def load_file(path: Path) -> set[str]:
    return bpy.ops.duohand.load_take(filepath=str(path))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def given_next(tmp_path: Path, name: str) -> None:
    """Let the engine give another take from now on."""
    take = replace(made(name), meta={"footage": {"path": str(MOVIE)}})
    save_take(take, tmp_path / "given.npz")


def test_an_undone_capture_leaves_the_shot_the_take_that_it_had(scene: Any, tmp_path: Path) -> None:
    step_until_idle(start(scene))
    bpy.ops.ed.undo_push(message="first")
    before = bytes_of(tmp_path / "takes")
    given_next(tmp_path, "right_only")
    step_until_idle(start(scene))
    bpy.ops.ed.undo_push(message="second")
    assert bytes_of(tmp_path / "takes").items() > before.items()
    assert bpy.ops.ed.undo() == {"FINISHED"}
    (shot,) = shots_of(bpy.context.scene)
    assert Path(shot.duohand.take_path).read_bytes() in before.values()


def taken_from(blend: Path) -> Path:
    """The take of the only shot of a .blend that is opened."""
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    (shot,) = shots_of(bpy.context.scene)
    return Path(module("scene.paths").take_file(shot))


@pytest.mark.parametrize("other", ["a new file", "saved under another name", "opened without saving"])
def test_files_in_one_folder_keep_their_own_takes(scene: Any, tmp_path: Path, other: str) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    one, two = folder / "one.blend", folder / "two.blend"
    scene.duohand.take_folder = ""
    bpy.ops.wm.save_as_mainfile(filepath=str(one))
    step_until_idle(start(scene))
    bpy.ops.wm.save_as_mainfile(filepath=str(one))
    before = bytes_of(folder / "duohand")
    given_next(tmp_path, "right_only")
    if other == "a new file":
        empty_scene()
    if other != "opened without saving":
        bpy.ops.wm.save_as_mainfile(filepath=str(two))
    if other == "a new file":
        bpy.context.scene.duohand.footage = str(MOVIE)
    step_until_idle(start(bpy.context.scene))
    if other != "opened without saving":
        bpy.ops.wm.save_as_mainfile(filepath=str(two))
        assert taken_from(two).parent == folder / "duohand" and taken_from(two).name not in before
    assert taken_from(one).read_bytes() == before["two_hands.npz"]
    copied = tmp_path / "elsewhere"
    shutil.copytree(folder, copied)
    shutil.rmtree(folder)
    for blend in copied.glob("*.blend"):
        there = taken_from(blend)
        assert there.parent == copied / "duohand" and there.is_file()


def test_a_capture_in_another_scene_leaves_the_firsts_take(scene: Any, tmp_path: Path) -> None:
    step_until_idle(start(scene))
    (shot,) = shots_of(scene)
    taken = Path(shot.duohand.take_path)
    written = taken.stat().st_mtime_ns
    other: Any = bpy.data.scenes.new("Other")
    other.duohand.take_folder, other.duohand.footage = scene.duohand.take_folder, str(MOVIE)
    runs = start(other)
    step_until_idle(runs)
    assert taken.stat().st_mtime_ns == written
    assert shots_of(other)[0].duohand.take_path != shot.duohand.take_path


def test_runs_started_in_the_same_second_have_logs_of_their_own(scene: Any) -> None:
    preferences = module("preferences").addon_preferences()
    assert len({preferences.new_log("capture") for _ in range(3)}) == 3


@pytest.mark.parametrize("mode", ["EDIT", "SCULPT"])
def test_a_skin_that_is_being_edited_is_not_replaced_by_a_capture(scene: Any, mode: str) -> None:
    step_until_idle(start(scene))
    (shot,) = shots_of(scene)
    edited = hand(shot, LEFT).duohand.skin
    data = edited.data
    bpy.context.view_layer.objects.active = edited
    bpy.ops.object.mode_set(mode=mode)
    (outcome,) = step_until_idle(start(scene))
    assert edited.mode == mode and edited.data == data
    assert (
        outcome.is_error and "Go back to Object Mode" in outcome.text and "Load Take reads it" in outcome.text
    )
    bpy.ops.object.mode_set(mode="OBJECT")
    (outcome,) = step_until_idle(start(scene))
    assert not outcome.is_error, outcome.text


@pytest.mark.parametrize("what", ["vertices", "weights", "corrective"])
def test_an_edited_skin_is_kept_when_the_take_is_loaded_again(shot: Any, what: str) -> None:
    skin = hand(shot, LEFT).duohand.skin
    if what == "vertices":
        skin.data.vertices[5].co.x += 0.01
    elif what == "weights":
        skin.vertex_groups[0].add([3, 4], 0.3, "REPLACE")
    else:
        skin.data.shape_keys.key_blocks[9].data[3].co.x += 0.01
    edited = skin.data
    load("two_hands")
    assert skin.data != edited and edited.name == f"{skin.name} edited"
    load("two_hands")
    assert [mesh for mesh in bpy.data.meshes if mesh.use_fake_user] == [edited]


def test_a_skin_that_was_only_looked_at_is_replaced(shot: Any, tmp_path: Path) -> None:
    bpy.context.view_layer.objects.active = hand(shot, LEFT).duohand.skin
    for mode in ("EDIT", "WEIGHT_PAINT", "OBJECT"):
        bpy.ops.object.mode_set(mode=mode)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    load("two_hands")
    assert not [mesh for mesh in bpy.data.meshes if mesh.use_fake_user]


def test_marked_contacts_move_along_with_the_rate(shot: Any) -> None:
    item = shot.duohand.touches.add()
    item.kind, item.first, item.last = "touch", 5, 9
    bpy.context.scene.render.fps *= 2
    assert bpy.ops.duohand.follow_rate() == {"FINISHED"}
    assert (item.first, item.last) == (9, 17)


def test_a_pose_that_is_not_keyed_yet_stays_as_a_capture_comes_in(scene: Any) -> None:
    prop = bpy.data.objects.new("prop", None)
    scene.collection.objects.link(prop)
    prop.keyframe_insert("location", frame=1)
    scene.frame_set(7)
    prop.location.x = 3.0
    for _ in range(2):  # a new shot, then an update
        (outcome,) = step_until_idle(start(scene))
        assert not outcome.is_error, outcome.text
        bpy.context.view_layer.update()
        assert prop.location.x == 3.0 and scene.frame_current == 7
        (shot,) = shots_of(scene)
        bones = [hand(shot, side).pose.bones for side in (LEFT, RIGHT)]
        shown = np.array([item["hand." + "LR"[side]].matrix for side, item in enumerate(bones)])
        bones[RIGHT]["hand.R"].location.x += 1.0
    go_to(6)
    go_to(7)
    again = np.array([item["hand." + "LR"[side]].matrix for side, item in enumerate(bones)])
    np.testing.assert_allclose(shown[LEFT], again[LEFT], atol=1e-6)
    np.testing.assert_allclose(shown[RIGHT, :3, :3], again[RIGHT, :3, :3], atol=1e-6)
    assert np.linalg.norm(shown[RIGHT, :3, 3] - again[RIGHT, :3, 3]) == pytest.approx(1.0, abs=1e-5)


def edit(owner: Any) -> tuple[str, float]:
    """Move a key of the owner's action; which curve it is on, and to what value."""
    curve = max(all_curves(owner), key=lambda item: len(item.keyframe_points))
    curve.keyframe_points[3].co.y = value = curve.keyframe_points[3].co.y + 0.25
    curve.update()
    return curve.data_path, value


def kept_actions() -> list[Any]:
    return [item for item in bpy.data.actions if item.use_fake_user]


def holds(action: Any, owner: Any, edited: tuple[str, float]) -> bool:
    curves = module("scene.fcurves").channels_of(action, owner).fcurves
    return any(
        point.co.y == pytest.approx(edited[1], abs=1e-6)
        for curve in curves
        if curve.data_path == edited[0]
        for point in curve.keyframe_points
    )


@pytest.mark.parametrize("then", ["join_hands", "separate_hands"])
def test_what_was_edited_on_a_joined_body_is_kept_when_it_is_joined_again_or_separated(then: str) -> None:
    body = walkers.mixamo(empty_scene())
    walkers.walk(body, walkers.mixamo_names())
    shot = load("two_hands")
    for _ in range(2):
        assert bpy.ops.duohand.join_hands(target=body.name, preset="MIXAMO") == {"FINISHED"}
    assert kept_actions() == []
    owners = (body, hand(shot, LEFT))
    edited = [edit(owner) for owner in owners]
    options = {"preset": "MIXAMO"} if then == "join_hands" else {}
    assert getattr(bpy.ops.duohand, then)(target=body.name, **options) == {"FINISHED"}
    for owner, one in zip(owners, edited, strict=True):
        (kept,) = [item for item in kept_actions() if item.name == f"{owner.name} edited"]
        assert holds(kept, owner, one) and not list(kept.keys())
        assert not holds(owner.animation_data.action, owner, one)


@pytest.mark.parametrize("then", ["bake_grips", "release_grips"])
def test_what_was_edited_on_a_held_object_is_kept_when_its_grips_are_keyed_again_or_cleared(
    shot: Any, then: str
) -> None:
    ball = bpy.data.objects.new("Ball", None)
    bpy.context.scene.collection.objects.link(ball)
    bpy.ops.duohand.add_grip(prop="Ball", hand="LEFT", first=4, last=14)
    for _ in range(2):
        assert bpy.ops.duohand.bake_grips(prop="Ball") == {"FINISHED"}
    assert kept_actions() == []
    edited = edit(ball)
    assert getattr(bpy.ops.duohand, then)(prop="Ball") == {"FINISHED"}
    (kept,) = kept_actions()
    assert kept.name == "Ball edited" and holds(kept, ball, edited)


IN_A_RANGE: dict[str, dict[str, Any]] = {
    "hold_range": {},
    "smooth": {"strength": 0.9},
    "offset_wrist": {"location": (0, 0, 0.1)},
    "delete_range": {},
    "swap_sides": {},
    "refill_range": {},
    "redo_part": {"part": "HAND"},
}


def keys_after(armature: Any, frame: float) -> dict[tuple[str, int], list[Any]]:
    """All that the keys after the frame hold, of every curve that moves a bone, but for handles that Blender sets."""

    def held(point: Any) -> tuple[Any, ...]:
        kinds = point.handle_left_type, point.handle_right_type
        handles = [
            tuple(place)
            for kind, place in zip(kinds, (point.handle_left, point.handle_right), strict=True)
            if not kind.startswith("AUTO")
        ]
        return tuple(point.co), kinds, handles, point.interpolation, point.type

    return {
        (curve.data_path, curve.array_index): [
            held(point) for point in curve.keyframe_points if point.co.x > frame
        ]
        for curve in all_curves(armature)
        if curve.data_path.startswith("pose")
    }


def tune(armature: Any) -> None:
    """An animator's own keys on the wrist: few, eased, marked, one between two frames of the take."""
    for curve in all_curves(armature):
        if not curve.data_path.startswith('pose.bones["hand.'):
            continue
        points = curve.keyframe_points
        for index in reversed(range(10, 22)):
            points.remove(points[index])
        value = curve.evaluate(15.5)
        point = points.insert(15.5, value + 0.01)
        point.interpolation, point.type = "BEZIER", "EXTREME"
        point.handle_left_type = point.handle_right_type = "FREE"
        point.handle_left, point.handle_right = (14.0, value), (17.0, value + 0.02)
        curve.update()


@pytest.mark.parametrize("operator", IN_A_RANGE)
def test_keys_of_the_animators_own_stay_beside_an_edited_range(shot: Any, operator: str) -> None:
    for side in (LEFT, RIGHT):
        tune(hand(shot, side))
    right = hand(shot, RIGHT)
    before, count = keys_after(right, 11), len(motion_keys(right))
    options = {"first": 3, "last": 5, **IN_A_RANGE[operator]}
    changed_before = motion_keys(right)
    assert getattr(bpy.ops.duohand, operator)(hands="BOTH", **options) == {"FINISHED"}
    now = motion_keys(right)
    assert any(not np.array_equal(now[path], changed_before[path]) for path in now) and len(now) == count
    assert keys_after(right, 11) == before


def test_a_part_that_is_redone_leaves_the_keys_of_other_bones(shot: Any) -> None:
    right = hand(shot, RIGHT)
    assert bpy.ops.duohand.reduce_keys(max_error_mm=1.0) == {"FINISHED"}
    before = motion_keys(right)
    assert bpy.ops.duohand.redo_part(hands="RIGHT", part="INDEX", first=3, last=5) == {"FINISHED"}
    now = motion_keys(right)
    changed = {path for path, _ in now if not np.array_equal(now[path, _], before[path, _])}
    assert changed == {f'pose.bones["index_0{k}.R"].rotation_quaternion' for k in (1, 2, 3)}
