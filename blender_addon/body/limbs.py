# SPDX-License-Identifier: GPL-3.0-or-later
"""A character's arms: which bones are read, which are keyed, and which take up a forearm's twist."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import bpy
import numpy as np

from inference_core.shared.errors import RequestError

from ..retarget.arm_chain import arm_chain, is_twist
from ..retarget.bone_map import HAND, SUFFIXES, BoneMap

_FORE: Final = re.compile(r"fore|lower|elbow|ひじ|twist|捩", re.IGNORECASE)


@dataclass(frozen=True)
class Twist:
    """A bone that takes this share of the hand's twist against the forearm: the position of its middle along it."""

    bone: str
    share: float


@dataclass(frozen=True)
class Limb:
    """Names of one arm's bones. seen_*: those from which the arm is read. Keyed are the hand, and upper and fore if the
    hand is their child. If the hand has a control of its own, fore is None, and upper or pole, where there is one,
    directs the elbow.
    """

    side: int
    seen_upper: str | None
    seen_fore: str | None
    seen_hand: str
    upper: str | None
    fore: str | None
    hand: str
    twists: tuple[Twist, ...] = ()
    pole: str | None = None

    @property
    def is_arm(self) -> bool:
        """Whether shoulder, elbow and wrist are known."""
        return self.seen_upper is not None and self.seen_fore is not None

    def bones(self) -> list[str]:
        """Every bone that is read or keyed."""
        names = (self.seen_upper, self.seen_fore, self.seen_hand, self.upper, self.fore, self.hand, self.pole)
        return [
            *dict.fromkeys(name for name in names if name is not None),
            *(item.bone for item in self.twists),
        ]


def find_limb(target: bpy.types.Object, bones: BoneMap, side: int) -> Limb:
    """The arm of that side. RequestError if the map has no hand there."""
    suffix = SUFFIXES[side]
    hand = bones.get(f"{HAND}{suffix}")
    if not hand or hand not in target.pose.bones:
        raise RequestError(
            f"The bone map has no hand on the {('left', 'right')[side]} side of {target.name}. Add it in the Bone Map."
        )
    rigify = _rigify(target, side, hand)
    if rigify is not None:
        return rigify
    chain = arm_chain(target.data, hand)
    if chain is None:
        return Limb(side, None, None, hand, None, None, hand)
    upper, fore = chain.upper[0], chain.fore[0]
    return Limb(side, upper, fore, hand, upper, fore, hand, _twists(target, fore, hand, chain.fore[1:]))


def chest_of(target: bpy.types.Object, limbs: list[Limb]) -> str | None:
    """The common parent of both arms; for a single arm, the parent of its shoulder; None if there is none."""
    data: Any = target.data
    above = [_ancestors(data.bones[limb.seen_upper]) for limb in limbs if limb.seen_upper is not None]
    if not above:
        return None
    if len(above) == 1:
        return above[0][min(1, len(above[0]) - 1)] if above[0] else None
    return next((name for name in above[0] if name in above[1]), None)


def _rigify(target: bpy.types.Object, side: int, hand: str) -> Limb | None:
    """The arm of a rig that Rigify generated, whose inner bones are where both kinds of controls put them."""
    suffix = SUFFIXES[side]
    seen = [f"ORG-{part}{suffix}" for part in ("upper_arm", "forearm", "hand")]
    if hand not in (f"hand_fk{suffix}", f"hand_ik{suffix}") or any(
        name not in target.pose.bones for name in seen
    ):
        return None
    if hand.startswith("hand_ik"):
        settings = target.pose.bones.get(f"upper_arm_parent{suffix}", {})
        pole = f"upper_arm_ik_target{suffix}" if settings.get("pole_vector") else None
        upper = None if pole else f"upper_arm_ik{suffix}"
        return Limb(side, seen[0], seen[1], seen[2], upper, None, hand, pole=pole)
    return Limb(side, seen[0], seen[1], seen[2], f"upper_arm_fk{suffix}", f"forearm_fk{suffix}", hand)


def _twists(target: bpy.types.Object, fore: str, hand: str, between: Sequence[str]) -> tuple[Twist, ...]:
    """The twist bones of the forearm, from the elbow on, without those that have constraints or drivers."""
    data: Any = target.data
    beside = [item.name for item in data.bones[fore].children if is_twist(item) and _FORE.search(item.name)]
    driven = _driven(target)
    names = [
        name
        for name in dict.fromkeys([*between, *beside])
        if not target.pose.bones[name].constraints and name not in driven
    ]
    if not names:
        return ()
    begin = np.array(data.bones[fore].head_local)
    along = np.array(data.bones[hand].head_local) - begin
    length = max(float(along @ along), 1e-12)
    heads = {name: float((np.array(data.bones[name].head_local) - begin) @ along) / length for name in names}
    ordered = sorted(names, key=lambda name: heads[name])
    ends = [*(heads[name] for name in ordered[1:]), 1.0]
    return tuple(
        Twist(name, float(np.clip((heads[name] + end) / 2, 0, 1)))
        for name, end in zip(ordered, ends, strict=True)
    )


def _driven(target: bpy.types.Object) -> set[str]:
    data = target.animation_data
    paths = [curve.data_path for curve in data.drivers] if data is not None else []
    return {path.split('"')[1] for path in paths if path.startswith('pose.bones["')}


def _ancestors(bone: Any) -> list[str]:
    found: list[str] = []
    while bone.parent is not None:
        bone = bone.parent
        found.append(bone.name)
    return found
