# SPDX-License-Identifier: GPL-3.0-or-later
"""How two hands at rest correspond: equivalent frames, built from joint positions alone. No bpy here.

A hand's frame: Y from the wrist to the middle knuckle, Z to the palm, X = Y x Z. A finger segment's frame: Y along
it, Z to the palm (the thumb's: towards the little finger's knuckle and the palm). Rotations that map such frames of
one rig to the other's make both hands point alike, however their rest poses differ.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import FINGERS

from .bone_map import HAND

Floats = NDArray[np.float64]
Frames = dict[str, Floats]  # by "hand", "index_01" ...: rotations (3, 3), columns X, Y, Z

_STRAIGHT_ON = 0.5  # a last segment whose own tail deviates by more than 60 degrees has no real tail


def anatomical_frames(heads: Mapping[str, Floats], tails: Mapping[str, Floats], side: int) -> Frames:
    """Frames of the hand (if given) and of every given finger segment, from heads and tails (3,).

    RequestError if the palm cannot be determined: that takes index, pinky and one more finger, or the hand.
    """
    knuckles = {finger: heads[f"{finger}_01"] for finger in FINGERS[1:] if f"{finger}_01" in heads}
    if "index" not in knuckles or "pinky" not in knuckles:
        raise RequestError(
            "The map needs the first bones of the index and the little finger, to determine the palm."
        )
    middle = knuckles.get("middle", (knuckles["index"] + knuckles["pinky"]) / 2)
    wrist = heads[HAND] if HAND in heads else middle - _mean_direction(heads, tails)
    along, thumbward = _unit(middle - wrist), knuckles["index"] - knuckles["pinky"]
    palm = np.cross(thumbward, along) if side else np.cross(along, thumbward)
    frames = {HAND: hand_frame(along, palm)}
    for finger in FINGERS:
        names = [f"{finger}_{k:02d}" for k in (1, 2, 3) if f"{finger}_{k:02d}" in heads]
        if not names:
            continue
        towards = palm
        if finger == "thumb":
            towards = _unit(knuckles["pinky"] - heads[names[0]]) + _unit(palm)
        for name, direction in zip(names, _directions(names, heads, tails), strict=True):
            frames[name] = hand_frame(direction, towards)
    return frames


def carried_rest(source_frame: Floats, target_frame: Floats, target_rest: Floats) -> Floats:
    """Rest rotation (3, 3) of an object fixed to the source bone, for the target bone to copy.

    With the source's motion D it becomes D F_s F_t^T B_t: the target's frame coincides with the source's.
    """
    return source_frame @ target_frame.T @ target_rest


def hand_frame(along: Floats, towards: Floats) -> Floats:
    """The frame (3, 3) of a segment along a direction, its palm towards another (3,)."""
    y = _unit(along)
    z = _unit(towards - (towards @ y) * y)
    return np.stack([np.cross(y, z), y, z], 1)


def _directions(names: list[str], heads: Mapping[str, Floats], tails: Mapping[str, Floats]) -> list[Floats]:
    found = [_unit(heads[after] - heads[name]) for name, after in pairwise(names)]
    own = tails[names[-1]] - heads[names[-1]]
    before = found[-1] if found else _unit(own)
    true_tail = np.linalg.norm(own) > 1e-9 and _unit(own) @ before > _STRAIGHT_ON
    return [*found, _unit(own) if true_tail else before]


def _mean_direction(heads: Mapping[str, Floats], tails: Mapping[str, Floats]) -> Floats:
    return _unit(np.mean([tails[f"{f}_01"] - heads[f"{f}_01"] for f in FINGERS[1:] if f"{f}_01" in heads], 0))


def _unit(vector: Floats) -> Floats:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
