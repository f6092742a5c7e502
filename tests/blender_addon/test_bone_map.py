# SPDX-License-Identifier: GPL-3.0-or-later
"""Bone maps: presets, guesses from the names of common rigs, valid and invalid files."""

import errno
from pathlib import Path

import pytest

from blender_addon.retarget.bone_map import PRESETS, SEGMENTS, load_map, preset_map, save_map
from blender_addon.retarget.name_guess import guessed_map
from inference_core.shared.errors import RequestError
from tests.blender_addon.rig_names import RIGS


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("side", [0, 1])
def test_a_preset_finds_every_finger_bone_and_the_hand(preset: str, side: int) -> None:
    found = preset_map(preset, side, RIGS[preset])
    assert len(found) == 16 and len(set(found.values())) == 16
    assert all(name.endswith(".LR"[0] + "LR"[side]) for name in found)


@pytest.mark.parametrize("rig", list(RIGS))
def test_the_guess_uses_the_bones_names(rig: str) -> None:
    found = guessed_map(RIGS[rig])
    for suffix in (".L", ".R"):
        assert [name for name in SEGMENTS if f"{name}{suffix}" not in found] == []
        assert f"hand{suffix}" in found
    if rig in PRESETS:
        for side in (0, 1):
            expected = preset_map(rig, side, RIGS[rig])
            fingers = {name: bone for name, bone in expected.items() if not name.startswith("hand")}
            assert fingers.items() <= found.items()


def test_a_numbered_copy_of_a_bone_is_not_mapped() -> None:
    found = guessed_map([*RIGS["RIGIFY"], "thumb.01.R.001", "f_index.01.R.001"])
    assert found == guessed_map(RIGS["RIGIFY"])


def test_mixamos_prefix_may_be_numbered_or_missing() -> None:
    for prefix in ("mixamorig1:", ""):
        names = [name.replace("mixamorig:", prefix) for name in RIGS["MIXAMO"]]
        assert preset_map("MIXAMO", 1, names)["index_02.R"] == f"{prefix}RightHandIndex2"


def test_another_rig_is_refused_by_the_first_bone_it_lacks() -> None:
    with pytest.raises(RequestError, match="thumb_01_l"):
        preset_map("UNREAL", 0, RIGS["MIXAMO"])


def test_meaningless_names_give_an_empty_map() -> None:
    assert guessed_map(["Bone", "Bone.001", "spine", "index", "L", ""]) == {}


def test_a_saved_map_is_read_back(tmp_path: Path) -> None:
    bones = preset_map("VRM", 0, RIGS["VRM"])
    save_map(tmp_path / "maps" / "mine é.json", bones)
    assert load_map(tmp_path / "maps" / "mine é.json") == bones


def test_a_map_that_cannot_be_written_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, bones = tmp_path / "map.json", preset_map("VRM", 0, RIGS["VRM"])
    save_map(path, bones)

    def half(self: Path, text: str, **_options: object) -> None:
        self.write_bytes(text.encode()[: len(text) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(RequestError, match="No space left"):
        save_map(path, {})
    assert load_map(path) == bones and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content", ["", "[]", '{"bones": 3}', '{"kind": "duohand bone map", "bones": {"toe.L": "x"}}']
)
def test_files_that_are_not_bone_maps_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "map.json").write_text(content)
    with pytest.raises(RequestError, match=r"map\.json"):
        load_map(tmp_path / "map.json")
    with pytest.raises(RequestError, match=r"gone\.json"):
        load_map(tmp_path / "gone.json")


def test_a_forearm_is_never_mapped_as_an_index_finger() -> None:
    names = [name.replace("mixamorig:", "mixamorig1:") for name in RIGS["MIXAMO"]]
    found = guessed_map(names)
    assert not [bone for bone in found.values() if "ForeArm" in bone]
    assert found["index_01.L"] == "mixamorig1:LeftHandIndex1"
    for prefix in ("mixamorig_", "mixamorig12:"):
        renamed = [name.replace("mixamorig:", prefix) for name in RIGS["MIXAMO"]]
        assert preset_map("MIXAMO", 0, renamed)["thumb_03.L"] == f"{prefix}LeftHandThumb3"


def test_incomplete_or_unconnected_fingers_are_left_out() -> None:
    names = RIGS["UNREAL"]
    fewer = [name for name in names if name != "ring_02_l"]
    assert not [name for name in guessed_map(fewer) if name.startswith("ring") and name.endswith(".L")]
    parents = {name: "hand_l" for name in names if name.endswith("_l") and name != "hand_l"}
    assert not [
        name for name in guessed_map(names, parents) if name.startswith("index") and name.endswith(".L")
    ]


def places(counts: dict[str, int], first: int, knuckles_from_wrist: float) -> dict[str, tuple[float, float]]:
    """Where bones of a left hand begin: fingers of so many bones 0.04 long, the first ones that far from the wrist."""
    found = {"l_hand": (0.0, 0.0)}
    for row, (finger, count) in enumerate(counts.items()):
        at = knuckles_from_wrist
        for k in range(count):
            found[f"l_{finger}_{first + k}"] = (0.005 * row, at)
            at += 0.065 if k == 0 and knuckles_from_wrist < 0.05 else 0.04
    return found


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(("from_wrist", "begins"), [(0.02, 1), (0.09, 0)])
def test_bone_positions_distinguish_metacarpals_from_tips(first: int, from_wrist: float, begins: int) -> None:
    heads = places({"thumb": 4, "index": 4, "middle": 4, "ring": 4, "pinky": 4}, first, from_wrist)
    found = guessed_map(heads, heads=heads)
    assert found["index_01.L"] == f"l_index_{first + begins}"
    assert found["pinky_03.L"] == f"l_pinky_{first + begins + 2}"
    assert [name for name in guessed_map(heads) if name.startswith("index")] == (
        [] if first == 0 else ["index_01.L", "index_02.L", "index_03.L"]
    )


def test_a_thumb_counted_from_a_wrist_bone_starts_after_it() -> None:
    names = ["l_wrist", *(f"l_thumb{k}" for k in range(4))]
    names += [f"l_{finger}{k}" for finger in ("index", "middle", "ring", "pinky") for k in (1, 2, 3)]
    assert guessed_map(names)["thumb_01.L"] == "l_thumb1"


def test_toes_are_not_fingers() -> None:
    names = [f"L_{finger}Toe{k}" for finger in ("Thumb", "Index", "Mid", "Ring", "Pinky") for k in (1, 2, 3)]
    assert guessed_map(names) == {}


def smpl(
    prefix: str, fingers: str, under: str, at_the_knuckles: bool
) -> tuple[dict[str, str], dict[str, float]]:
    """Parents of an SMPL arm's bones, the fingers `under` wrist or hand, and where they begin along the arm."""
    wrist, hand = f"{prefix}L_Wrist", f"{prefix}L_Hand"
    parents = {wrist: f"{prefix}L_Elbow", hand: wrist}
    heads = {wrist: 0.0, hand: 0.08 if at_the_knuckles else 0.01}
    for finger in ("Thumb", "Index", "Middle", "Ring", "Pinky"):
        above = {"wrist": wrist, "hand": hand}[under]
        for k in range(3):
            name = fingers.format(finger=finger, lower=finger.lower(), k=k)
            parents[name], heads[name], above = above, 0.1 + 0.03 * k, name
    return parents, heads


@pytest.mark.parametrize("prefix", ["", "f_avg_", "m_avg_", "Character1:"])
@pytest.mark.parametrize("fingers", ["L_{finger}{k}", "l{lower}{k}", "{lower}_{k}_l", "L_{lower}_0{k}"])
@pytest.mark.parametrize(
    ("under", "at_the_knuckles", "expected"),
    [("wrist", True, "Wrist"), ("hand", True, "Wrist"), ("hand", False, "Hand"), ("wrist", False, "Wrist")],
)
def test_the_bone_that_rotates_the_hand_is_mapped(
    prefix: str, fingers: str, under: str, at_the_knuckles: bool, expected: str
) -> None:
    parents, heads = smpl(prefix, fingers, under, at_the_knuckles)
    found = guessed_map(heads, parents, {name: (at, 0.0) for name, at in heads.items()})
    assert found["hand.L"] == f"{prefix}L_{expected}"
    assert len(found) == 16


def test_smplx_bodies_may_have_a_prefix() -> None:
    names = [f"f_avg_{name}" for name in RIGS["SMPLX"]]
    assert preset_map("SMPLX", 0, names)["hand.L"] == "f_avg_left_wrist"


_WORDS = ("Thumb", "Index", "Middle", "Ring", "Pinky")
_MID = ("Thumb", "Index", "Mid", "Ring", "Pinky")

# The left hand's bone, a finger bone's name, words of the fingers, what follows the words on three bones of a finger
# and of the thumb, and other bones of the rig, in which {w} is each finger's word.
OTHER_RIGS: dict[str, tuple[str, str, tuple[str, ...], str, str, tuple[str, ...]]] = {
    "HumanIK": (
        "Character1_LeftHand",
        "Character1_LeftHand{w}{k}",
        _WORDS,
        "123",
        "123",
        ("Character1_LeftForeArmRoll", "Character1_LeftInHand{w}", "Character1_LeftHand{w}4"),
    ),
    "a name with a side": ("Right_Guy_LeftHand", "Right_Guy_LeftHand{w}{k}", _WORDS, "123", "123", ()),
    "Character Creator": (
        "CC_Base_L_Hand",
        "CC_Base_L_{w}{k}",
        _MID,
        "123",
        "123",
        ("CC_Base_L_ForearmTwist01", "CC_Base_L_HandTwist", "CC_Base_L_{w}1_ShareBone", "CC_Base_L_{w}Toe1"),
    ),
    "Daz Genesis 8": (
        "lHand",
        "l{w}{k}",
        _MID,
        "123",
        "123",
        ("lForearmTwist", "lCarpal1", "lSmallToe1", "lSmallToe2"),
    ),
    "OptiTrack": (
        "Skeleton 001_LHand",
        "Skeleton 001_L{w}{k}",
        _WORDS,
        "123",
        "123",
        ("Skeleton 001_LFArm",),
    ),
    "Second Life": ("mWristLeft", "mHand{w}{k}Left", _WORDS, "123", "123", ("mElbowLeft",)),
    "Advanced Skeleton": (
        "Wrist_L",
        "{w}Finger{k}_L",
        _WORDS,
        "123",
        "123",
        ("Cup_L", "{w}Finger4_L", "ElbowPart1_L"),
    ),
    "BlenRig": (
        "hand_fk_L",
        "fing_{w}_{k}_L",
        ("thumb", "ind", "mid", "ring", "lit"),
        "234",
        "123",
        (
            "hand_ik_ctrl_L",
            "fing_{w}_ctrl_L",
            "fing_ind_1_L",
            "fing_mid_1_L",
            "fing_ring_1_L",
            "fing_lit_1_L",
        ),
    ),
    "letters": ("hand_L", "{w}_{k}_L", _WORDS, "ABC", "ABC", ("forearm_L",)),
    "controls": (
        "L_hand_CTRL",
        "L_{w}_0{k}_CTRL",
        _WORDS,
        "123",
        "123",
        ("L_hand_JNT_GRP", "L_{w}_01_JNT_GRP"),
    ),
    "ARKit": (
        "left_hand_joint",
        "left_hand{w}{k}_joint",
        _MID,
        "_1 _2 _3",
        "Start _1 _2",
        ("left_handIndexStart_joint", "left_handMidStart_joint", "left_hand{w}End_joint"),
    ),
    "visionOS": (
        "left_wrist",
        "left_{w}{k}",
        ("thumb", "indexFinger", "middleFinger", "ringFinger", "littleFinger"),
        "Knuckle IntermediateBase IntermediateTip",
        "Knuckle IntermediateBase IntermediateTip",
        ("left_indexFingerMetacarpal", "left_littleFingerMetacarpal", "left_{w}Tip", "left_forearmWrist"),
    ),
}


@pytest.mark.parametrize("rig", list(OTHER_RIGS))
def test_each_bone_of_other_rigs_is_found(rig: str) -> None:
    hand, pattern, words, segments, thumbs, others = OTHER_RIGS[rig]
    wanted = {"hand.L": hand}
    for finger, word in zip(("thumb", "index", "middle", "ring", "pinky"), words, strict=True):
        said = thumbs if finger == "thumb" else segments
        parts = said.split() if " " in said else said
        wanted |= {
            f"{finger}_{k:02d}.L": pattern.format(w=word, k=part) for k, part in enumerate(parts, start=1)
        }
    beside = {name.format(w=word) for name in others for word in words}
    assert guessed_map([*wanted.values(), *beside]) == wanted
