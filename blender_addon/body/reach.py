# SPDX-License-Identifier: GPL-3.0-or-later
"""Exact inverse kinematics of a two-bone arm, on arrays of K frames. Does not import bpy.

The upper arm and the forearm keep their rotation relative to the plane of the arm: the body's frame of bone and plane
is rotated onto the new one. Nothing flips as long as the elbow's direction does not.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from inference_core.shared import quaternions

from ..scene.axes import Floats

STRETCHED: Final = 0.9995  # of the arm's length: a little bent, the elbow still has a side


@dataclass(frozen=True)
class Joints:
    """shoulder, elbow, wrist (K, 3) of an arm in the world."""

    shoulder: Floats
    elbow: Floats
    wrist: Floats


def reached(body: Joints, wrist: Floats, poles: Floats) -> Joints:
    """The body's arm reaching as far as possible for wrist (K, 3), with the elbow towards poles (K, 3)."""
    upper, fore = _length(body.elbow - body.shoulder), _length(body.wrist - body.elbow)
    away = wrist - body.shoulder
    along = _unit(away)
    distance = np.clip(_length(away), np.abs(upper - fore) + 1e-6, STRETCHED * (upper + fore))
    before = (distance**2 + upper**2 - fore**2) / (2 * distance)
    beside = np.sqrt(np.maximum(upper**2 - before**2, 0))
    side = _unit(across(poles - body.shoulder, along))
    elbow = body.shoulder + before[:, None] * along + beside[:, None] * side
    return Joints(body.shoulder, elbow, body.shoulder + distance[:, None] * along)


def beyond(body: Joints, wrist: Floats) -> Floats:
    """The distance (K,) of the wrist (K, 3) beyond the arm's reach; 0 within it."""
    length = _length(body.elbow - body.shoulder) + _length(body.wrist - body.elbow)
    return np.maximum(_length(wrist - body.shoulder) - STRETCHED * length, 0)


def carried_turns(
    turns: tuple[Floats, Floats], old: Joints, old_poles: Floats, new: Joints, poles: Floats
) -> tuple[Floats, Floats]:
    """World rotations (K, 3, 3) of upper arm and forearm, from the body's own (K, 3, 3)."""
    was, now = _normal(old, old_poles), _normal(new, poles)
    parts = (
        (turns[0], old.elbow - old.shoulder, new.elbow - new.shoulder),
        (turns[1], old.wrist - old.elbow, new.wrist - new.elbow),
    )
    upper, fore = (
        _frames(after, now) @ _frames(before, was).transpose(0, 2, 1) @ turn for turn, before, after in parts
    )
    return upper, fore


def twists(fore: Floats, hand: Floats, axis: Floats) -> Floats:
    """Twist angles (K,) of a hand, rotated by hand (K, 3, 3) from its rest, relative to a forearm (K, 3, 3).

    axis (3,): along the forearm at rest. Angles are continuous from frame to frame.
    """
    relative = quaternions.from_matrix(fore.transpose(0, 2, 1) @ hand)
    about = relative[:, 1:] @ axis
    return np.unwrap(2 * np.arctan2(about, relative[:, 0]))


def twisted(turns: Floats, axes: Floats, angles: Floats) -> Floats:
    """Rotations (K, 3, 3) with further rotations by angles (K,) about axes (K, 3) in the world."""
    return quaternions.to_matrix(quaternions.exp(_unit(axes) * angles[:, None])) @ turns


def across(vectors: Floats, along: Floats) -> Floats:
    """The components of vectors (K, 3) perpendicular to unit vectors (K, 3)."""
    return vectors - (vectors * along).sum(-1, keepdims=True) * along


def _normal(arm: Joints, poles: Floats) -> Floats:
    """Unit normals (K, 3) of the planes in which the arms bend towards their poles."""
    return _unit(np.cross(arm.wrist - arm.shoulder, poles - arm.shoulder))


def _frames(along: Floats, normal: Floats) -> Floats:
    """Rotations (K, 3, 3), columns: along the bone, in the plane, the plane's normal."""
    first = _unit(along)
    third = _unit(across(normal, first))
    return np.stack([first, np.cross(third, first), third], axis=-1)


def _length(vectors: Floats) -> Floats:
    return np.linalg.norm(vectors, axis=-1)


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
