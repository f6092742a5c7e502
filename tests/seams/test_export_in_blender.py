# SPDX-License-Identifier: GPL-3.0-or-later
"""What is exported is what is seen: files read back by Blender and by assimp."""

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import bpy
import numpy as np
import pytest

from tests.blender_addon import scenes
from tests.full_disk import full_disk

MOTION_TOLERANCE_M = 0.1e-3
ROWS = (0, 5, 11, 17, 23)


def shown_heads(shot, take):
    frames = scenes.row_frames(take)
    found = {}
    for row in ROWS:
        scenes.go_to(frames[row])
        for side in range(2):
            found[row, side] = scenes.bone_heads(scenes.hand(shot, side))
    return found


def read_fbx(path):
    """The Python importer where there is one; it is told not to move the motion by a frame."""
    if (
        hasattr(bpy.ops.import_scene, "fbx")
        and "anim_offset" in bpy.ops.import_scene.fbx.get_rna_type().properties
    ):
        bpy.ops.import_scene.fbx(filepath=str(path), anim_offset=0)
    else:
        bpy.ops.wm.fbx_import(filepath=str(path), anim_offset=0)


def read_heads():
    """Side -> (16, 3) world places of the imported bones' heads at the present frame."""
    found = {}
    for thing in bpy.context.scene.objects:
        if thing.type == "ARMATURE":
            side = 0 if "hand.L" in thing.pose.bones else 1
            suffix = ".LR"[side + 1]
            names = [f"hand.{suffix}"] + [
                f"{finger}_0{k}.{suffix}"
                for finger in ("index", "middle", "pinky", "ring", "thumb")
                for k in (1, 2, 3)
            ]
            world = np.array(thing.matrix_world)
            heads = np.array([thing.pose.bones[name].head for name in names])
            found[side] = heads @ world[:3, :3].T + world[:3, 3]
    return found


def bone_counts():
    return [len(thing.data.bones) for thing in bpy.context.scene.objects if thing.type == "ARMATURE"]


@pytest.mark.parametrize("preset", ["BLENDER", "UNREAL", "UNITY", "MAYA"])
def test_fbx_keeps_sixteen_bones_and_the_motion(preset, tmp_path):
    scenes.empty_scene()
    take, shot = scenes.made("two_hands"), scenes.load("two_hands")
    before = shown_heads(shot, take)
    path = tmp_path / "hands.fbx"
    assert bpy.ops.duohand.export_fbx(filepath=str(path), preset=preset) == {"FINISHED"}
    scenes.empty_scene()
    read_fbx(path)
    assert bone_counts() == [16, 16]
    assert_same_motion(before)


def test_glb_keeps_sixteen_bones_and_the_motion(tmp_path):
    scenes.empty_scene()
    take, shot = scenes.made("two_hands"), scenes.load("two_hands")
    before = shown_heads(shot, take)
    path = tmp_path / "hands.glb"
    assert bpy.ops.duohand.export_glb(filepath=str(path)) == {"FINISHED"}
    scenes.empty_scene()
    bpy.ops.import_scene.gltf(filepath=str(path), bone_heuristic="BLENDER")
    assert bone_counts() == [16, 16]
    assert_same_motion(before, offset=find_offset(before))


def test_a_moved_shot_is_exported_in_place(tmp_path):
    scene = scenes.empty_scene()
    scene.cursor.location, scene.cursor.rotation_euler = (1, 2, 3), (0.3, 0.2, 1)
    take, shot = scenes.made("two_hands"), scenes.load("two_hands", place="CURSOR")
    before = shown_heads(shot, take)
    path = tmp_path / "hands.fbx"
    assert bpy.ops.duohand.export_fbx(filepath=str(path)) == {"FINISHED"}
    scenes.empty_scene()
    read_fbx(path)
    assert_same_motion(before)


def test_the_exported_skin_matches_the_viewport(tmp_path):
    scenes.empty_scene()
    take, shot = scenes.made("two_hands"), scenes.load("two_hands")
    scenes.go_to(scenes.row_frames(take)[11])
    before = [scenes.skin_vertices(scenes.hand(shot, side)) for side in range(2)]
    path = tmp_path / "hands.fbx"
    assert bpy.ops.duohand.export_fbx(filepath=str(path)) == {"FINISHED"}
    scenes.empty_scene()
    read_fbx(path)
    scenes.go_to(scenes.row_frames(take)[11])
    graph = bpy.context.evaluated_depsgraph_get()
    skins = sorted(
        (thing for thing in bpy.context.scene.objects if thing.type == "MESH"), key=lambda thing: thing.name
    )
    for skin, wanted in zip(skins, before, strict=True):
        shown = skin.evaluated_get(graph)
        points = np.array([shown.matrix_world @ vertex.co for vertex in shown.data.vertices])
        assert np.linalg.norm(points - wanted, axis=1).max() < MOTION_TOLERANCE_M


@pytest.mark.parametrize("sides", ["LEFT", "RIGHT"])
def test_a_single_side_can_be_exported(sides, tmp_path):
    scenes.empty_scene()
    scenes.load("half_absent")
    path = tmp_path / "hand.fbx"
    assert bpy.ops.duohand.export_fbx(filepath=str(path), sides=sides) == {"FINISHED"}
    scenes.empty_scene()
    read_fbx(path)
    assert bone_counts() == [16]
    assert set(read_heads()) == {("LEFT", "RIGHT").index(sides)}


needs_assimp = pytest.mark.skipif(
    shutil.which("assimp") is None, reason="assimp is missing: apt-get install assimp-utils"
)


@needs_assimp
@pytest.mark.parametrize(
    ("preset", "up"), [("BLENDER", 1), ("UNREAL", 2), ("UNITY", 1), ("MAYA", 1)], ids=lambda item: str(item)
)
@pytest.mark.parametrize("unit_scale", [1.0, 0.01])
def test_assimp_reads_each_presets_units_and_axes(preset, up, unit_scale, tmp_path):
    scene = scenes.empty_scene()
    scene.unit_settings.scale_length = unit_scale
    shot = scenes.load("one_frame")
    skins = [scenes.hand(shot, side).duohand.skin for side in (0, 1)]
    points_m = np.array([vertex.co for skin in skins for vertex in skin.data.vertices]) * unit_scale
    path = tmp_path / "hands.fbx"
    assert bpy.ops.duohand.export_fbx(filepath=str(path), preset=preset) == {"FINISHED"}
    told = subprocess.run(["assimp", "info", str(path)], capture_output=True, text=True, check=True).stdout
    low, high = (
        np.array([float(value) for value in re.search(rf"{edge} point\s+\((.+)\)", told)[1].split()])
        for edge in ("Minimum", "Maximum")
    )
    assert setting(path, "UpAxis", "<i") == up and setting(path, "UpAxisSign", "<i") == 1
    metres = setting(path, "UnitScaleFactor", "<d") / 100
    assert np.ptp([low[0], high[0]]) * metres == pytest.approx(np.ptp(points_m[:, 0]), rel=1e-3)
    # The hands lie palm down at rest: how thick they are, and which side is up, tells the axis.
    assert (low[up] * metres, high[up] * metres) == pytest.approx(
        (points_m[:, 2].min(), points_m[:, 2].max()), rel=1e-3, abs=1e-4
    )


def setting(path: Path, name: str, form: str) -> float:
    """A number among the global settings of a binary FBX file: the last value of the property of that name."""
    content = path.read_bytes()
    after = content.index(struct.pack("<cI", b"S", len(name)) + name.encode())
    kind = b"D" if form == "<d" else b"I"
    start = content.index(kind, content.index(b"S\x00\x00\x00\x00", after)) + 1
    return struct.unpack_from(form, content, start)[0]


@needs_assimp
@pytest.mark.parametrize("kind", ["fbx", "glb"])
def test_assimp_reads_sixteen_bones_a_hand_and_the_motion(kind, tmp_path):
    scenes.empty_scene()
    scenes.load("two_hands")
    path = tmp_path / f"hands.{kind}"
    assert getattr(bpy.ops.duohand, f"export_{kind}")(filepath=str(path)) == {"FINISHED"}
    told = subprocess.run(["assimp", "info", str(path)], capture_output=True, text=True, check=True).stdout
    assert int(re.search(r"Bones:\s+(\d+)", told)[1]) == 32
    assert int(re.search(r"Animations:\s+(\d+)", told)[1]) == 1
    assert int(re.search(r"Animation Channels:\s+(\d+)", told)[1]) >= 32


def test_usd_and_bvh_are_written_and_read_back(tmp_path):
    scenes.empty_scene()
    take, shot = scenes.made("two_hands"), scenes.load("two_hands")
    before = shown_heads(shot, take)
    assert bpy.ops.duohand.export_usd(filepath=str(tmp_path / "hands.usdc")) == {"FINISHED"}
    assert bpy.ops.duohand.export_bvh(filepath=str(tmp_path / "hands.bvh")) == {"FINISHED"}
    assert sorted(path.name for path in tmp_path.glob("*.bvh")) == ["hands_left.bvh", "hands_right.bvh"]
    scenes.empty_scene()
    bpy.ops.wm.usd_import(filepath=str(tmp_path / "hands.usdc"))
    assert bone_counts() == [16, 16]
    scenes.empty_scene()
    bpy.ops.import_anim.bvh(filepath=str(tmp_path / "hands_left.bvh"), axis_forward="Y", axis_up="Z")
    assert bone_counts() == [16]
    assert before


def test_bvh_is_y_up_and_in_place(tmp_path):
    scene = scenes.empty_scene()
    scene.cursor.location, scene.cursor.rotation_euler = (1, 2, 3), (0.3, 0.2, 1)
    take, shot = scenes.made("two_hands"), scenes.load("two_hands", place="CURSOR")
    before = shown_heads(shot, take)
    assert bpy.ops.duohand.export_bvh(filepath=str(tmp_path / "hands.bvh")) == {"FINISHED"}
    scenes.empty_scene()
    for side in ("left", "right"):
        bpy.ops.import_anim.bvh(
            filepath=str(tmp_path / f"hands_{side}.bvh")
        )  # y up is what it takes by itself
    assert_same_motion(before)


@pytest.mark.parametrize("kind", ["glb", "bvh", "usda"])
def test_a_rate_with_a_base_keeps_its_seconds(kind, tmp_path):
    scene = scenes.empty_scene()
    scene.render.fps, scene.render.fps_base = 17, 17 / 16.33
    scenes.load("right_only", timing="FRAMES")
    path = tmp_path / f"hand.{kind}"
    assert getattr(bpy.ops.duohand, f"export_{kind[:3]}")(filepath=str(path)) == {"FINISHED"}
    wanted = (scene.frame_end - scene.frame_start) / 16.33
    assert seconds_in(path) == pytest.approx(wanted, abs=1e-3)


def seconds_in(path):
    if path.suffix == ".glb":
        content = path.read_bytes()
        told = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
        inputs = {sampler["input"] for item in told["animations"] for sampler in item["samplers"]}
        ends = [(told["accessors"][index]["min"][0], told["accessors"][index]["max"][0]) for index in inputs]
        return max(end for _, end in ends) - min(start for start, _ in ends)
    text = path.read_text()
    if path.suffix == ".bvh":
        frames, step = re.search(r"Frames:\s+(\d+)", text)[1], re.search(r"Frame Time:\s+([\d.]+)", text)[1]
        return (int(frames) - 1) * float(step)
    start, end, rate = (
        float(re.search(rf"{word}\s*=\s*([\d.]+)", text)[1])
        for word in ("startTimeCode", "endTimeCode", "timeCodesPerSecond")
    )
    return (end - start) / rate


@pytest.mark.parametrize("kind", ["fbx", "glb", "bvh"])
def test_exported_size_does_not_depend_on_the_scenes_unit(kind, tmp_path):
    lengths = []
    for unit in (1.0, 0.01):
        scene = scenes.empty_scene()
        scene.unit_settings.scale_length = unit
        shot = scenes.load("right_only")
        seen = scenes.bone_heads(scenes.hand(shot, 1))
        assert np.linalg.norm(seen[0] - seen[4]) * unit == pytest.approx(0.09, abs=0.02)
        path = tmp_path / f"{unit}.{kind}"
        assert getattr(bpy.ops.duohand, f"export_{kind[:3]}")(filepath=str(path)) == {"FINISHED"}
        scenes.empty_scene()
        importer = {
            "fbx": lambda file: read_fbx(file),
            "glb": lambda file: bpy.ops.import_scene.gltf(filepath=str(file), bone_heuristic="BLENDER"),
            "bvh": lambda file: bpy.ops.import_anim.bvh(filepath=str(file)),
        }[kind]
        importer(path)
        heads = read_heads()[1]
        lengths.append(float(np.linalg.norm(heads[0] - heads[4])))
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-3)


def test_usd_with_a_unit_scale_is_refused_with_a_workaround(tmp_path):
    scene = scenes.empty_scene()
    scene.unit_settings.scale_length = 0.01
    scenes.load("right_only")
    with pytest.raises(RuntimeError, match="Unit Scale"):
        bpy.ops.duohand.export_usd(filepath=str(tmp_path / "hand.usda"))
    assert not list(tmp_path.iterdir())


def test_exporting_keeps_selection_visibility_and_scenes(tmp_path):
    scene = scenes.empty_scene()
    shot = scenes.load("half_absent")
    left, right = (scenes.hand(shot, side) for side in range(2))
    bpy.context.view_layer.objects.active = right
    left.select_set(False)
    left.hide_set(True)
    scenes.go_to(10)
    hidden = left.duohand.skin.hide_viewport
    assert hidden
    assert bpy.ops.duohand.export_fbx(filepath=str(tmp_path / "hands.fbx")) == {"FINISHED"}
    assert list(bpy.data.scenes) == [scene]
    assert scene.frame_current == 10
    assert bpy.context.view_layer.objects.active == right
    assert left.hide_get() and not left.select_get()
    scenes.go_to(11)
    assert left.duohand.skin.hide_viewport
    scenes.go_to(2)
    assert not left.duohand.skin.hide_viewport


def test_missing_folders_and_hands_give_readable_errors(tmp_path):
    scenes.empty_scene()
    scenes.load("right_only")
    with pytest.raises(RuntimeError, match="has no left hand"):
        bpy.ops.duohand.export_fbx(filepath=str(tmp_path / "x.fbx"), sides="LEFT")
    with pytest.raises(RuntimeError, match="There is no folder"):
        bpy.ops.duohand.export_fbx(filepath=str(tmp_path / "nowhere" / "x.fbx"))


@pytest.mark.parametrize("kind", ["fbx", "glb", "usd", "usda", "usdz", "bvh"])
def test_a_disk_that_fills_up_costs_no_earlier_file_and_shows_no_traceback(kind, tmp_path):
    scenes.empty_scene()
    scenes.load("two_hands")
    path = tmp_path / f"hands.{kind}"
    sides = "LEFT"  # whose BVH has the name as given
    path.write_text("the earlier export")
    with full_disk(2000), pytest.raises(RuntimeError, match=r"hands\.\w+ could not be written: ") as said:
        getattr(bpy.ops.duohand, f"export_{kind[:3]}")(filepath=str(path), sides=sides)
    message = str(said.value).split("hands.", 1)[1]
    assert "Traceback" not in message and "line " not in message
    assert path.read_text() == "the earlier export"
    assert list(tmp_path.iterdir()) == [path]


def find_offset(before):
    """glTF counts seconds from 0: the importer may start the motion at frame 0."""
    return 0 if bpy.context.scene.frame_start == 1 else -1


def assert_same_motion(before, offset=0):
    for (row, side), wanted in before.items():
        scenes.go_to(row + 1 + offset)
        assert np.abs(read_heads()[side] - wanted).max() < MOTION_TOLERANCE_M, (row, side)
