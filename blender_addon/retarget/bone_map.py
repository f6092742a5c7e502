# SPDX-License-Identifier: GPL-3.0-or-later
"""Which bone of another armature is which bone of a hand: presets, a guess from names, files. No bpy here."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import FINGERS, SIDES

BoneMap = dict[str, str]  # "index_01.L" -> the other armature's name

HAND: Final = "hand"
SEGMENTS: Final = tuple(f"{finger}_{k:02d}" for finger in FINGERS for k in (1, 2, 3))
SUFFIXES: Final = (".L", ".R")

_FILE_KIND: Final = "duohand bone map"
_PRESET_NAMES: Final[dict[str, tuple[str, str, tuple[str, str]]]] = {
    # hand, finger segment, words for left and right
    "RIGIFY": ("hand_fk.{side}", "{finger}.{k:02d}.{side}", ("L", "R")),
    "MIXAMO": ("mixamorig:{side}Hand", "mixamorig:{side}Hand{Finger}{k}", ("Left", "Right")),
    "UNREAL": ("hand_{side}", "{finger}_{k:02d}_{side}", ("l", "r")),
    "VRM": ("J_Bip_{side}_Hand", "J_Bip_{side}_{Finger}{k}", ("L", "R")),
    "SMPLX": ("{side}_wrist", "{side}_{finger}{k}", ("left", "right")),
}
_FINGER_WORDS: Final[dict[str, dict[str, str]]] = {
    "RIGIFY": {finger: finger if finger == "thumb" else f"f_{finger}" for finger in FINGERS},
    "VRM": {finger: "little" if finger == "pinky" else finger for finger in FINGERS},
}
PRESETS: Final = tuple(_PRESET_NAMES)

_SIDE_WORDS: Final = {"l": 0, "left": 0, "lft": 0, "r": 1, "right": 1, "rgt": 1}
_FINGER_GUESSES: Final = {
    "thumb": "thumb",
    "pollex": "thumb",
    "index": "index",
    "pointer": "index",
    "fore": "index",
    "forefinger": "index",
    "middle": "middle",
    "mid": "middle",
    "ring": "ring",
    "pinky": "pinky",
    "pinkie": "pinky",
    "little": "pinky",
    "small": "pinky",
}
_ORDER_WORDS: Final = {
    "proximal": 1,
    "prox": 1,
    "intermediate": 2,
    "inter": 2,
    "medial": 2,
    "distal": 3,
    "dist": 3,
}
_PASS_OVER: Final = frozenset(
    {
        "metacarpal",
        "meta",
        "palm",
        "tip",
        "end",
        "nub",
        "master",
        "ik",
        "tweak",
        "twist",
        "parent",
        "target",
        "pole",
    }
)
_HAND_WORDS: Final = frozenset({"hand", "wrist"})
_MECHANISM: Final = frozenset(
    {"org", "mch", "def", "vis", "wgt"}
)  # Rigify's inner bones; controls come first
_COPY: Final = re.compile(r"\.\d{3}$")
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def preset_map(preset: str, side: int, present: Iterable[str]) -> BoneMap:
    """The preset's names for that side; a RequestError names what the armature lacks of the fingers.

    The hand itself may be absent. Mixamo's prefix may be absent or numbered (mixamorig1:).
    """
    hand, segment, sides = _PRESET_NAMES[preset]
    known = set(present)
    wanted = {HAND: hand.format(side=sides[side])}
    words = _FINGER_WORDS.get(preset, {})
    for name in SEGMENTS:
        finger, _, number = name.partition("_")
        word = words.get(finger, finger)
        wanted[name] = segment.format(side=sides[side], finger=word, Finger=word.capitalize(), k=int(number))
    if preset == "MIXAMO":
        wanted = {name: _with_prefix(bone, known) for name, bone in wanted.items()}
    missing = [bone for name, bone in wanted.items() if bone not in known and name != HAND]
    if missing:
        raise RequestError(
            f"The armature has no bone {missing[0]}, so it is no {preset.title()} rig "
            f"({len(missing)} of {len(SEGMENTS)} finger bones are missing). Choose another preset, or guess by name."
        )
    return {f"{name}{SUFFIXES[side]}": bone for name, bone in wanted.items() if bone in known}


def guessed_map(present: Iterable[str]) -> BoneMap:
    """What the names tell, for both sides; bones that no name tells are left out."""
    found: BoneMap = {}
    chains: dict[tuple[int, str], list[tuple[bool, float, str]]] = {}
    hands: dict[int, list[tuple[bool, int, str]]] = {}
    known = set(present)
    for name in known:
        if _COPY.sub("", name) in known - {name}:
            continue  # thumb.01.L.001 is a second thing at thumb.01.L, not the thumb's first bone
        words = [word.lower() for word in _WORDS.findall(name)]
        side = next((_SIDE_WORDS[word] for word in words if word in _SIDE_WORDS), None)
        if side is None or _PASS_OVER.intersection(words):
            continue
        inner = bool(_MECHANISM.intersection(words))
        finger = next((_FINGER_GUESSES[word] for word in words if word in _FINGER_GUESSES), None)
        if finger is not None:
            order = next((float(_ORDER_WORDS[word]) for word in words if word in _ORDER_WORDS), None)
            numbers = [int(word) for word in words if word.isdigit()]
            if order is None and numbers:
                order = float(numbers[-1])
            if order is not None:
                chains.setdefault((side, finger), []).append((inner, order, name))
        elif _HAND_WORDS.intersection(words):
            hands.setdefault(side, []).append((inner, len(words), name))
    for (side, finger), bones in chains.items():
        inner = min(bone[0] for bone in bones)
        ordered = sorted(bone for bone in bones if bone[0] == inner)[:3]
        for k, (_, _, name) in enumerate(ordered, 1):
            found[f"{finger}_{k:02d}{SUFFIXES[side]}"] = name
    for side, bones in hands.items():
        found[f"{HAND}{SUFFIXES[side]}"] = min(bones)[2]
    return found


def side_of(bone: str) -> int:
    """0 for a left bone of ours, 1 for a right one."""
    return SUFFIXES.index(bone[-2:])


def save_map(path: Path, bones: Mapping[str, str]) -> None:
    """Write the map as JSON; a RequestError where the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"kind": _FILE_KIND, "bones": dict(bones)}, indent=1), encoding="utf-8")
    except OSError as error:
        raise RequestError(
            f"The bone map {path} cannot be written ({error.strerror}). Choose another folder."
        ) from error


def load_map(path: Path) -> BoneMap:
    """Read a map; a RequestError where the file is gone or holds no map."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"The bone map {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise RequestError(f"{path} is no bone map: it is not JSON.") from error
    bones = content.get("bones") if isinstance(content, dict) and content.get("kind") == _FILE_KIND else None
    if not isinstance(bones, dict) or not all(isinstance(item, str) for item in bones.values()):
        raise RequestError(f"{path} is no bone map of Duohand.")
    ours = {f"{name}{suffix}" for name in (HAND, *SEGMENTS) for suffix in SUFFIXES}
    unknown = sorted(set(bones) - ours)
    if unknown:
        raise RequestError(f"{path} maps {unknown[0]}, which is no bone of a {SIDES[0]} or {SIDES[1]} hand.")
    return dict(bones)


def _with_prefix(bone: str, known: set[str]) -> str:
    bare = bone.partition(":")[2]
    same = [name for name in known if name == bare or name.rpartition(":")[2] == bare]
    return same[0] if same else bone
