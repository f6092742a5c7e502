# SPDX-License-Identifier: GPL-3.0-or-later
"""Captured hands onto bodies that walk: wrists, elbows, time, and what stays as it was."""

import importlib
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Vector

from inference_core.shared.take import save_take
from tests.blender_addon import scenes, walkers
from tests.blender_addon.test_clean_up_in_blender import all_curves

LAST = 40
STILL_ARMS = ("rigify ik", "rigify poles")


def a_walker(kind: str) -> tuple[bpy.types.Object, str, dict[str, str]]:
    """The character that walks in an empty scene, its preset, and its bones: shoulders, elbows, wrists as they show."""
    scene = scenes.empty_scene()
    if kind.startswith("rigify"):
        importlib.import_module("addon_utils").enable("rigify", default_set=True)
        body = walkers.rigify(scene)
        walkers.walk(body, walkers.rigify_names())
        if kind != "rigify":
            walkers.use_ik_arms(body, with_poles=kind == "rigify poles")
        shown = {f"{part}.{s}": f"ORG-{part}.{s}" for part in ("upper_arm", "forearm", "hand") for s in "LR"}
        return body, "RIGIFY", shown
    body = walkers.mixamo(scene, twists=2 if kind == "twisted" else 0)
    walkers.walk(body, walkers.mixamo_names())
    words = {"upper_arm": "Arm", "forearm": "ForeArm", "hand": "Hand"}
    shown = {
        f"{part}.{s}": f"mixamorig:{side}{word}"
        for part, word in words.items()
        for s, side in (("L", "Left"), ("R", "Right"))
    }
    return body, "MIXAMO", shown


def joints(
    body: bpy.types.Object, names: dict[str, str], frames: range = range(1, LAST + 1)
) -> dict[str, np.ndarray]:
    """Places (F, 3) of the bones' heads in the world."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        shown = body.evaluated_get(bpy.context.evaluated_depsgraph_get())
        for name, bone in names.items():
            found[name].append(np.array(shown.matrix_world @ shown.pose.bones[bone].head))
    return {name: np.array(points) for name, points in found.items()}


def captured_wrists(shot: bpy.types.Collection, frames: range = range(1, 25)) -> dict[str, np.ndarray]:
    found: dict[str, list[np.ndarray]] = {"L": [], "R": []}
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        for side, suffix in enumerate("LR"):
            found[suffix].append(scenes.bone_heads(scenes.hand(shot, side))[0])
    return {suffix: np.array(points) for suffix, points in found.items()}


def elbow_side(upper: np.ndarray, fore: np.ndarray, hand: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The elbow's offset (F, 3) from the line between shoulder and wrist, and its direction."""
    along = hand - upper
    along = along / np.linalg.norm(along, axis=-1, keepdims=True)
    across = (fore - upper) - ((fore - upper) * along).sum(-1, keepdims=True) * along
    return across, across / np.linalg.norm(across, axis=-1, keepdims=True)


def carried_side(upper: np.ndarray, fore: np.ndarray, hand: np.ndarray, new_hand: np.ndarray) -> np.ndarray:
    """The elbow's direction (F, 3), carried along as the arm swings by the shortest way to another wrist (F, 3)."""
    _, side = elbow_side(upper, fore, hand)
    swings = [
        Vector(was).rotation_difference(Vector(now))
        for was, now in zip(hand - upper, new_hand - upper, strict=True)
    ]
    return np.array([swing @ Vector(one) for swing, one in zip(swings, side, strict=True)])


def curves(body: bpy.types.Object) -> list[tuple[float, ...]]:
    """Every key of the body's action."""
    action = body.animation_data.action
    if hasattr(action, "layers"):
        every = [
            c
            for layer in action.layers
            for strip in layer.strips
            for bag in strip.channelbags
            for c in bag.fcurves
        ]
    else:
        every = list(action.fcurves)
    return sorted((c.data_path, c.array_index, *point.co) for c in every for point in c.keyframe_points)


def joined(body: bpy.types.Object, preset: str, **values: object) -> bpy.types.Collection:
    shot = scenes.load("two_hands")
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 1, LAST
    for name, value in values.items():
        setattr(bpy.context.scene.duohand_body, name, value)
    assert bpy.ops.duohand.join_hands(target=body.name, preset=preset) == {"FINISHED"}
    return shot


@pytest.mark.parametrize("kind", ["mixamo", pytest.param("rigify", marks=pytest.mark.slow)])
def test_hands_are_moved_to_the_wrists_that_a_body_keeps(kind: str) -> None:
    body, preset, names = a_walker(kind)
    before, keys = joints(body, names), curves(body)
    action = body.animation_data.action
    shot = joined(body, preset)
    after = joints(body, names)
    for name in names:
        assert np.abs(after[name] - before[name]).max() < 1e-5
    wrists = captured_wrists(shot)
    for suffix in "LR":
        assert np.linalg.norm(wrists[suffix] - after[f"hand.{suffix}"][:24], axis=-1).max() < 1e-3
    assert body.animation_data.action != action
    assert not [item for item in bpy.data.objects if item.name.startswith("Duohand")]
    assert bpy.ops.duohand.separate_hands(target=body.name) == {"FINISHED"}
    assert body.animation_data.action == action and curves(body) == keys


@pytest.mark.parametrize(
    "kind",
    [
        "mixamo",
        "twisted",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("rigify", *STILL_ARMS)),
    ],
)
def test_arms_follow_the_hands_within_reach_and_elbows_do_not_flip(kind: str) -> None:
    body, preset, names = a_walker(kind)
    before = joints(body, names)
    shot = joined(body, preset, wrists="HANDS", blend=4)
    after = joints(body, names)
    wrists = captured_wrists(shot)
    for suffix in "LR":
        upper, fore, hand = (after[f"{part}.{suffix}"] for part in ("upper_arm", "forearm", "hand"))
        assert np.abs(upper - before[f"upper_arm.{suffix}"]).max() < 1e-5
        assert np.linalg.norm(wrists[suffix] - hand[:24], axis=-1).max() < 1e-3
        across, side = elbow_side(upper, fore, hand)
        turned = np.degrees(np.arccos(np.clip((side[1:] * side[:-1]).sum(-1), -1, 1)))
        assert turned[np.linalg.norm(across, axis=-1)[1:] > 0.02].max() < 40
        swung = carried_side(*(before[f"{part}.{suffix}"] for part in ("upper_arm", "forearm", "hand")), hand)
        strayed = np.degrees(np.arccos(np.clip((side * swung).sum(-1), -1, 1)))[6:20].max()
        assert strayed < (5 if kind in STILL_ARMS else 30)  # the elbows of arms that swing are smoothed
        assert np.abs(after[f"hand.{suffix}"][30:] - before[f"hand.{suffix}"][30:]).max() < 1e-4


def test_only_the_range_changes() -> None:
    body, preset, names = a_walker("mixamo")
    before = joints(body, names)
    scenes.load("two_hands")
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, LAST
    scene.duohand_body.wrists, scene.duohand_body.blend = "HANDS", 3
    assert bpy.ops.duohand.join_hands(target=body.name, preset=preset, first=8, last=18) == {"FINISHED"}
    after = joints(body, names)
    rows = np.r_[0:7, 18:LAST]
    for name in names:
        assert np.abs(after[name] - before[name])[rows].max() < 1e-5
    assert np.abs(after["hand.L"] - before["hand.L"])[10:14].max() > 1e-3


def test_bodies_in_euler_angles_keep_their_motion_outside_the_range() -> None:
    body, preset, names = a_walker("mixamo")
    for bone in body.pose.bones:
        bone.rotation_mode = "ZXY"
    walkers.walk(body, walkers.mixamo_names())
    before = joints(body, names)
    scenes.load("two_hands")
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 1, LAST
    bpy.context.scene.duohand_body.wrists = "HANDS"
    bpy.ops.duohand.join_hands(target=body.name, preset=preset, first=8, last=18)
    after = joints(body, names)
    assert np.abs(after["hand.R"] - before["hand.R"])[np.r_[0:7, 18:LAST]].max() < 1e-5
    assert {bone.rotation_mode for bone in body.pose.bones} == {"ZXY"}


def test_the_time_offset_of_a_close_up_is_found_and_used(tmp_path: Path) -> None:
    body, preset, names = a_walker("mixamo")
    walkers.walk(body, walkers.mixamo_names(), range(1, 121))
    places = joints(body, {**names, "chest": "mixamorig:Spine2"}, range(1, 121))
    take = scenes.made("two_hands")
    rows = np.arange(60) % take.frame_count
    found = {}
    for name in (
        "root_wxyz",
        "pose_wxyz",
        "present",
        "confidence",
        "joints_cam_m",
        "landmarks_px",
        "T_world_cam",
    ):
        found[name] = getattr(take, name)[rows]
    wrists = np.stack([places[f"hand.{s}"] - places["chest"] for s in "LR"], 1)[30:90]
    found["wrist_cam_m"] = wrists[..., [0, 2, 1]] * [1, -1, 1] + [0, 0, 2.0]
    found |= {
        f"raw_{name}": found[name] for name in ("root_wxyz", "pose_wxyz", "wrist_cam_m", "joints_cam_m")
    }
    longer = replace(take, time_s=np.arange(60) / 24.0, frame=np.arange(60), **found)
    save_take(longer, tmp_path / "close.npz")
    bpy.context.scene.render.fps = 24
    bpy.ops.duohand.load_take(filepath=str(tmp_path / "close.npz"), place="ORIGIN")
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 1, 120
    assert bpy.ops.duohand.find_offset(target=body.name, preset=preset) == {"FINISHED"}
    kept = bpy.context.scene.duohand_body
    assert kept.offset == pytest.approx(30, abs=0.5)
    assert kept.sure > 0.1
    assert bpy.ops.duohand.join_hands(target=body.name, preset=preset) == {"FINISHED"}


def test_hands_can_be_joined_to_bodies_from_smplx_files(tmp_path: Path) -> None:
    scene = scenes.empty_scene()
    poses = np.zeros((30, 165))
    poses[:, 0] = np.pi / 2  # AMASS: y up of the model to z up of the world
    poses[:, 3 * 16 + 2] = np.linspace(-1.2, -0.8, 30)
    poses[:, 3 * 17 + 2] = np.linspace(1.2, 0.8, 30)
    trans = np.stack([np.zeros(30), np.linspace(0, -1, 30), np.full(30, 1.3)], 1)
    path = tmp_path / "walk.npz"
    np.savez(
        path, poses=poses, trans=trans, mocap_framerate=24.0, gender=np.array(b"male"), betas=np.zeros(16)
    )
    scene.render.fps = 24
    assert bpy.ops.duohand.load_body(filepath=str(path)) == {"FINISHED"}
    body = scene.duohand_retarget.target
    found = joints(body, {"head": "head", "left": "left_wrist", "hip": "pelvis"}, range(1, 31))
    assert (found["head"][:, 2] > found["hip"][:, 2] + 0.5).all()
    assert (found["left"][:, 0] > 0.2).all() and (found["left"][:, 2] < found["hip"][:, 2] + 0.4).all()
    assert np.allclose(found["hip"][-1] - found["hip"][0], [0, -1, 0], atol=1e-5)
    scenes.load("two_hands")
    scene.frame_start, scene.frame_end = 1, 30
    assert bpy.ops.duohand.join_hands(target=body.name, preset="SMPLX") == {"FINISHED"}
    (tmp_path / "bad.npz").write_bytes(path.read_bytes()[:200])
    with pytest.raises(RuntimeError, match="cannot be read as body motion"):
        bpy.ops.duohand.load_body(filepath=str(tmp_path / "bad.npz"))


def test_a_file_that_is_no_bvh_is_refused_in_a_sentence(tmp_path: Path) -> None:
    scenes.empty_scene()
    path = tmp_path / "walk.bvh"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(RuntimeError, match=r"could not import .*walk\.bvh: ") as said:
        bpy.ops.duohand.load_body(filepath=str(path))
    assert "Traceback" not in str(said.value)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_bvh_of_any_unit_and_axis_is_loaded_alike(tmp_path: Path, scale: float) -> None:
    """Blender's exporter writes z up; other programs y up."""
    body, preset, names = a_walker("mixamo")
    before = joints(body, names)
    path = tmp_path / "walk.bvh"
    bpy.context.view_layer.objects.active = body
    bpy.ops.export_anim.bvh(filepath=str(path), global_scale=scale, frame_start=1, frame_end=LAST)
    turned = tmp_path / "y_up.bvh"
    turned.write_text(y_up(path.read_text()))
    for file in (path, turned):
        assert bpy.ops.duohand.load_body(filepath=str(file)) == {"FINISHED"}
        loaded = bpy.context.scene.duohand_retarget.target
        after = joints(loaded, names)
        for name in names:
            assert np.abs(after[name] - before[name]).max() < 2e-3
    assert len([item for item in bpy.data.objects if item.type == "ARMATURE"]) == 3
    shot = joined(loaded, preset)
    wrists, after = captured_wrists(shot), joints(loaded, names)
    for suffix in "LR":
        assert np.linalg.norm(wrists[suffix] - after[f"hand.{suffix}"][:24], axis=-1).max() < 1e-3


def y_up(text: str) -> str:
    """The same motion with y up instead of z: (x, y, z) becomes (x, z, -y)."""
    lines, negative = list[str](), list[bool]()
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["OFFSET"]:
            x, y, z = (float(word) for word in words[1:])
            line = f"OFFSET {x} {z} {-y}"
        elif words[:1] == ["CHANNELS"]:
            negative += [word[0] == "Y" for word in words[2:]]
            line = " ".join([*words[:2], *(word.translate(str.maketrans("YZ", "ZY")) for word in words[2:])])
        elif words and len(words) == len(negative):
            values = zip(words, negative, strict=True)
            line = " ".join(str(-float(word) if turned else float(word)) for word, turned in values)
        lines.append(line)
    return "\n".join(lines) + "\n"


def test_a_joined_body_survives_fbx(tmp_path: Path) -> None:
    body, preset, names = a_walker("mixamo")
    joined(body, preset, wrists="HANDS")
    before = joints(body, names)
    for thing in bpy.data.objects:
        thing.select_set(thing in (body, *body.children))
    path = str(tmp_path / "walker.fbx")
    bpy.ops.export_scene.fbx(
        filepath=path,
        use_selection=True,
        add_leaf_bones=False,
        bake_anim_simplify_factor=0.0,
        bake_anim_use_all_actions=False,
        bake_anim_use_nla_strips=False,
    )
    scenes.empty_scene()
    bpy.ops.import_scene.fbx(filepath=path, anim_offset=0.0)
    again = next(item for item in bpy.data.objects if item.type == "ARMATURE")
    after = joints(again, names)
    for name in names:
        assert np.abs(after[name] - before[name]).max() < 1e-3


def test_undo_reverts_a_join() -> None:
    body, preset, _ = a_walker("mixamo")
    scenes.load("two_hands")
    keys = curves(body)
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.duohand.join_hands(target=body.name, preset=preset) == {"FINISHED"}
    bpy.ops.ed.undo_push(message="joined")
    assert bpy.ops.ed.undo() == {"FINISHED"}
    assert curves(bpy.data.objects["Walker"]) == keys
    assert not [item for item in bpy.data.actions if "with hands" in item.name]


def test_a_body_with_locked_curves_is_refused_and_keeps_its_earlier_join() -> None:
    body, preset, _ = a_walker("mixamo")
    joined(body, preset)
    keys = curves(body)
    for curve in all_curves(body):
        curve.lock = "LeftForeArm" in curve.data_path
    with pytest.raises(RuntimeError, match=r"locked in the Graph Editor.*LeftForeArm"):
        bpy.ops.duohand.join_hands(target=body.name, preset=preset)
    assert curves(body) == keys


def test_a_linked_body_is_refused_with_the_reason(tmp_path: Path) -> None:
    _, preset, _ = a_walker("mixamo")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "body.blend"), copy=True)
    scene = scenes.empty_scene()
    scenes.load("two_hands")
    with bpy.data.libraries.load(str(tmp_path / "body.blend"), link=True) as (_, wanted):
        wanted.objects = ["Walker"]
    scene.collection.objects.link(wanted.objects[0])
    with pytest.raises(RuntimeError, match="library override"):
        bpy.ops.duohand.join_hands(target="Walker", preset=preset)


def test_an_overridden_library_character_is_joined_on_a_local_action(tmp_path: Path) -> None:
    body, preset, names = a_walker("mixamo")
    before = joints(body, names)
    character = bpy.data.collections.new("Character")
    bpy.context.scene.collection.children.link(character)
    for thing in list(bpy.context.scene.collection.objects):
        character.objects.link(thing)
        bpy.context.scene.collection.objects.unlink(thing)
    library = tmp_path / "character.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(library))
    scene = scenes.empty_scene()
    with bpy.data.libraries.load(str(library), link=True) as (_, wanted):
        wanted.collections = ["Character"]
    linked = wanted.collections[0]
    override = linked.override_hierarchy_create(scene, bpy.context.view_layer, do_fully_editable=True)
    body = next(item for item in override.all_objects if item.type == "ARMATURE")
    own = body.animation_data.action.name
    shot = joined(body, preset)
    after, wrists = joints(body, names), captured_wrists(shot)
    for name in names:
        assert np.abs(after[name] - before[name]).max() < 1e-5
    for suffix in "LR":
        assert np.linalg.norm(wrists[suffix] - after[f"hand.{suffix}"][:24], axis=-1).max() < 1e-3
    assert body.animation_data.action.library is None and body.animation_data.action.name != own
    shared = joints(body, {"finger": "mixamorig:LeftHandIndex2"})["finger"]
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    body = next(item for item in bpy.context.scene.objects if item.name.startswith("Walker") and item.pose)
    again = joints(body, {"finger": "mixamorig:LeftHandIndex2"})["finger"]
    assert np.abs(again - shared).max() < 1e-5
    assert bpy.ops.duohand.separate_hands(target=body.name) == {"FINISHED"}
    assert body.animation_data.action.name == own


_ARMS = {  # names as their makers' documentation has them: parents, and the bones that take the forearm's twist
    "UE": (
        {
            "upperarm_l": None,
            "upperarm_twist_01_l": "upperarm_l",
            "lowerarm_l": "upperarm_l",
            "lowerarm_twist_02_l": "lowerarm_l",
            "lowerarm_twist_01_l": "lowerarm_l",
            "lowerarm_correctiveRoot_l": "lowerarm_l",
            "hand_l": "lowerarm_l",
        },
        ["lowerarm_twist_02_l", "lowerarm_twist_01_l"],
    ),
    "MMD": (
        {"腕.L": None, "腕捩.L": "腕.L", "ひじ.L": "腕捩.L", "手捩.L": "ひじ.L", "手首.L": "手捩.L"},
        ["手捩.L"],
    ),
    "Daz": (
        {"lShldrBend": None, "lShldrTwist": "lShldrBend", "lForearmBend": "lShldrTwist"}
        | {"lForearmTwist": "lForearmBend", "lHand": "lForearmTwist"},
        ["lForearmTwist"],
    ),
    "Character Creator": (
        {"CC_Base_L_Upperarm": None, "CC_Base_L_Forearm": "CC_Base_L_Upperarm"}
        | {f"CC_Base_L_ForearmTwist0{k}": "CC_Base_L_Forearm" for k in (1, 2)}
        | {"CC_Base_L_Hand": "CC_Base_L_Forearm"},
        ["CC_Base_L_ForearmTwist01", "CC_Base_L_ForearmTwist02"],
    ),
    "Biped": (
        {"Bip01 L UpperArm": None, "Bip01 L Forearm": "Bip01 L UpperArm"}
        | {"Bip01 L ForeTwist": "Bip01 L Forearm", "Bip01 L ForeTwist1": "Bip01 L Forearm"}
        | {"Bip01 L Hand": "Bip01 L Forearm"},
        ["Bip01 L ForeTwist", "Bip01 L ForeTwist1"],
    ),
}


@pytest.mark.parametrize("maker", _ARMS)
def test_twist_bones_of_known_rigs_are_found_and_share_the_twist_in_order(maker: str) -> None:
    limbs = importlib.import_module("bl_ext.user_default.duohand.body.limbs")
    parents, twists = _ARMS[maker]
    hand = list(parents)[-1]
    scene = scenes.empty_scene()
    body = bpy.data.objects.new("Arm", bpy.data.armatures.new("Arm"))
    scene.collection.objects.link(body)
    bpy.context.view_layer.objects.active = body
    bpy.ops.object.mode_set(mode="EDIT")
    bones = body.data.edit_bones
    shoulder = bones.new("clavicle")
    shoulder.head, shoulder.tail = (0, 0, 1.4), (0.15, 0, 1.4)
    for name, parent in parents.items():
        bone = bones.new(name)
        at = 0.5 + 0.08 * twists.index(name) if name in twists else 0.71 if name == hand else 0.45
        bone.head, bone.tail = (at if parent else 0.2, 0, 1.4), (at + 0.05, 0, 1.4)
        bone.parent = bones[parent] if parent else shoulder
    bpy.ops.object.mode_set(mode="OBJECT")
    limb = limbs.find_limb(body, {"hand.L": hand}, 0)
    assert [twist.bone for twist in limb.twists] == twists
    assert limb.upper == next(iter(parents)) and limb.fore not in twists
    shares = [twist.share for twist in limb.twists]
    assert shares == sorted(shares) and 0.3 < shares[0] <= shares[-1] < 1
