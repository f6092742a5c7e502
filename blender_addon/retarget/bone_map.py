# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of an armature's bones is which bone of a hand: presets, files. No bpy here."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import FINGERS, SIDES
from inference_core.shared.whole_file import whole_file

BoneMap = dict[str, str]  # "index_01.L" -> the other armature's name

HAND: Final = "hand"
SEGMENTS: Final = tuple(f"{finger}_{k:02d}" for finger in FINGERS for k in (1, 2, 3))
SUFFIXES: Final = (".L", ".R")

_FILE_KIND: Final = "duohand bone map"
_PRESET_NAMES: Final[dict[str, tuple[str, str, tuple[str, str]]]] = {
    # hand, finger segment, words for left and right; the segment's fields are those of `_fields`
    "RIGIFY": ("hand_fk.{side}", "{word}.{k:02d}.{side}", ("L", "R")),
    "MIXAMO": ("{side}Hand", "{side}Hand{Word}{k}", ("Left", "Right")),
    "UNREAL": ("hand_{side}", "{word}_{k:02d}_{side}", ("l", "r")),
    "METAHUMAN": ("hand_{side}", "{word}_{k:02d}_{side}", ("l", "r")),
    "VRM": ("J_Bip_{side}_Hand", "J_Bip_{side}_{Word}{k}", ("L", "R")),
    "VRM1": ("{side}Hand", "{side}{Word}{humanoid}", ("Left", "Right")),
    "SMPLX": ("{side}_wrist", "{side}_{word}{k}", ("left", "right")),
    "AUTORIG": ("c_hand_fk.{side}", "c_{word}{k}.{side}", ("l", "r")),
    "BIPED": ("{side} Hand", "{side} Finger{from_0}{after}", ("L", "R")),
    "VALVE": ("ValveBiped.Bip01_{side}_Hand", "ValveBiped.Bip01_{side}_Finger{from_0}{after}", ("L", "R")),
    "MPFB": ("wrist.{side}", "finger{from_1}-{k}.{side}", ("L", "R")),
    "MBLAB": ("hand_{side}", "{word}{k:02d}_{side}", ("L", "R")),
    "MMD": ("手首.{side}", "{word}{wide}.{side}", ("L", "R")),
    "ROKOKO": ("{side}Hand", "{side}Finger{from_1}{rokoko}", ("Left", "Right")),
}
_LITTLE: Final = {"pinky": "little"}
_FINGER_WORDS: Final[dict[str, dict[str, str]]] = {
    "RIGIFY": {finger: f"f_{finger}" for finger in FINGERS[1:]},
    "VRM": _LITTLE,
    "VRM1": _LITTLE,
    "MMD": {"thumb": "親指", "index": "人指", "middle": "中指", "ring": "薬指", "pinky": "小指"},
}
_THUMB_WORDS: Final = ("Metacarpal", "Proximal", "Distal")
_PREFIX: Final = re.compile(r"^(?:.*:|mixamorig\d*_|Bip\d+ |[a-z]_avg_)")
PRESETS: Final = tuple(_PRESET_NAMES)


def preset_map(preset: str, side: int, present: Iterable[str]) -> BoneMap:
    """The preset's bone names for that side; a RequestError names the finger bones that the armature lacks.

    The hand itself may be missing. So may prefixes: mixamorig:, mixamorig1:, mixamorig_, a namespace, Bip001, f_avg_.
    """
    hand, segment, sides = _PRESET_NAMES[preset]
    known = {_PREFIX.sub("", name): name for name in present}
    known |= {name: name for name in present}
    wanted = {HAND: hand.format(side=sides[side])}
    for name in SEGMENTS:
        wanted[name] = segment.format(side=sides[side], **_fields(preset, name))
    missing = [bone for name, bone in wanted.items() if bone not in known and name != HAND]
    if missing:
        raise RequestError(
            f"The armature has no bone {missing[0]}, so it is not a {preset.title()} rig "
            f"({len(missing)} of {len(SEGMENTS)} finger bones are missing). Choose another preset, or guess by name."
        )
    return {f"{name}{SUFFIXES[side]}": known[bone] for name, bone in wanted.items() if bone in known}


def _fields(preset: str, name: str) -> dict[str, str | int]:
    """The fields that a preset's segment may contain, for one of SEGMENTS."""
    finger, _, digits = name.partition("_")
    k, place = int(digits), FINGERS.index(finger)
    word = _FINGER_WORDS.get(preset, {}).get(finger, finger)
    thumb = finger == "thumb"
    return {
        "word": word,
        "Word": word.capitalize(),
        "k": k,
        "from_0": place,
        "from_1": place + 1,
        "after": str(k - 1) if k > 1 else "",
        "humanoid": (_THUMB_WORDS if thumb else ("Proximal", "Intermediate", "Distal"))[k - 1],
        "rokoko": (_THUMB_WORDS if thumb else ("Proximal", "Medial", "Distal"))[k - 1],
        "wide": "０１２３"[k - 1 if thumb else k],
    }


def side_of(bone: str) -> int:
    """The side of one of our bones: 0 left, 1 right."""
    return SUFFIXES.index(bone[-2:])


def save_map(path: Path, bones: Mapping[str, str]) -> None:
    """Write the map as JSON; a RequestError if the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"kind": _FILE_KIND, "bones": dict(bones)}, indent=1)
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(
            f"The bone map {path} cannot be written ({error.strerror}). Choose another folder."
        ) from error


def load_map(path: Path) -> BoneMap:
    """Read a map; RequestError if the file is missing or not a map."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"The bone map {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise RequestError(f"{path} is not a bone map: it is not JSON.") from error
    bones = content.get("bones") if isinstance(content, dict) and content.get("kind") == _FILE_KIND else None
    if not isinstance(bones, dict) or not all(isinstance(item, str) for item in bones.values()):
        raise RequestError(f"{path} is not a bone map of Duohand's.")
    ours = {f"{name}{suffix}" for name in (HAND, *SEGMENTS) for suffix in SUFFIXES}
    unknown = sorted(set(bones) - ours)
    if unknown:
        raise RequestError(
            f"{path} maps {unknown[0]}, which is not a bone of a {SIDES[0]} or {SIDES[1]} hand."
        )
    return dict(bones)
