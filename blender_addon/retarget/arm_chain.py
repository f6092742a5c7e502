# SPDX-License-Identifier: GPL-3.0-or-later
"""The bones of an arm above a hand: upper arm and forearm may each consist of several bones along them."""

import re
from dataclasses import dataclass
from typing import Any, Final

_TWIST: Final = re.compile(r"twist|(?<!t)roll|捩", re.IGNORECASE)  # but no controller
_NUMBER: Final = re.compile(r"\d+")
_FK_HAND: Final = re.compile(r"hand_fk(\.[LR])")  # Rigify's, which is not the forearm's child
_MOST_PARTS: Final = 8  # bones that one forearm may consist of


@dataclass(frozen=True)
class ArmChain:
    """Names of an arm's bones from the shoulder on: those of the upper arm, then those of the forearm."""

    upper: tuple[str, ...]
    fore: tuple[str, ...]


def arm_chain(data: Any, hand: str) -> ArmChain | None:
    """The arm above the hand's bone in the armature `data`; None if there is none."""
    control = _FK_HAND.fullmatch(hand)
    if control is not None and f"forearm_fk{control[1]}" in data.bones:
        return ArmChain((f"upper_arm_fk{control[1]}",), (f"forearm_fk{control[1]}",))
    fore = _limb_above(data.bones[hand].parent)
    upper = _limb_above(fore[0].parent) if fore else []
    if not upper:
        return None
    return ArmChain(tuple(bone.name for bone in upper), tuple(bone.name for bone in fore))


def is_twist(bone: Any) -> bool:
    """Whether the bone's name says that it takes up a limb's twist."""
    return _TWIST.search(bone.name) is not None


def _limb_above(bone: Any) -> list[Any]:
    """The bones of one limb that ends in the bone, from its beginning on."""
    parts: list[Any] = []
    while bone is not None and len(parts) < _MOST_PARTS:
        parts.insert(0, bone)
        if bone.parent is None or not (is_twist(bone) or _same_limb(bone, bone.parent)):
            break
        bone = bone.parent
    return parts


def _same_limb(bone: Any, above: Any) -> bool:
    """Whether two bones differ only by their number, such as lowerarm02 and lowerarm01."""
    return bool(_NUMBER.search(bone.name)) and _NUMBER.sub("", bone.name) == _NUMBER.sub("", above.name)
