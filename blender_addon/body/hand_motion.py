# SPDX-License-Identifier: GPL-3.0-or-later
"""A captured hand's motion in the world, at any times.

Rotations are anatomical frames (retarget/alignment.py), which are the same on every armature, whatever its rest pose.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.shared import quaternions
from inference_core.shared.skeleton import PARENTS_16

from ..retarget.alignment import anatomical_frames
from ..retarget.bone_map import HAND
from ..retarget.live import hand_at_rest
from ..scene.axes import Floats
from ..scene.hand_curves import HandRig, read_track
from ..scene.track import HandTrack


@dataclass(frozen=True)
class HandMotion:
    """One hand on F frames: wrist (F, 3), rotations of its bones by name without side (F, 3, 3), there (F,).

    Where the hand is absent, it holds still.
    """

    wrist: Floats
    turns: dict[str, Floats]
    there: NDArray[np.bool_]


def track_at(track: HandTrack, frames: Floats) -> tuple[HandTrack, NDArray[np.bool_]]:
    """The track at frames (F,), and on which of them (F,) the hand is present; it holds still where it is absent, and
    up to a cut.
    """
    above = np.clip(np.searchsorted(track.frames, frames), 1, max(len(track.frames) - 1, 1))
    low, high = above - 1, np.minimum(above, len(track.frames) - 1)
    gap = np.where(high > low, track.frames[high] - track.frames[low], 1.0)
    part = np.clip((frames - track.frames[low]) / gap, 0.0, 1.0)
    away = track.absent_after[low] & (part > 0) & (part < 1)
    part = np.where(track.apart_after[low], np.floor(part), part)
    near = np.where(part > 0.5, high, low)
    half = track.spacing / 2
    there = ~away & (frames >= track.frames[0] - half) & (frames <= track.frames[-1] + half)
    found = replace(
        track,
        frames=frames,
        location=track.location[low] + part[:, None] * (track.location[high] - track.location[low]),
        rotations_wxyz=quaternions.slerp(
            track.rotations_wxyz[low], track.rotations_wxyz[high], part[:, None]
        ),
        filled=track.filled[near],
        confidence=track.confidence[near],
        absent_after=np.zeros(len(frames), bool),
    )
    return found, there


def hand_motion(rig: HandRig, frames: Floats) -> HandMotion:
    """The hand at scene frames (F,), with its armature where it is now."""
    track, there = track_at(read_track(rig), frames)
    data: Any = rig.armature.data
    rests = np.array([np.array(data.bones[name].matrix_local, np.float64) for name in rig.names])
    world = np.array(rig.armature.matrix_world, np.float64)
    axes = np.array(rig.armature.matrix_world.normalized(), np.float64)[:3, :3]
    places = rests[0, :3, 3] + track.location @ rests[0, :3, :3].T
    turned = _global_turns(rests[:, :3, :3], quaternions.to_matrix(track.rotations_wxyz))
    frames_of = rest_frames(rig)
    turns = {
        name[:-2]: axes @ turned[:, k] @ rests[k, :3, :3].T @ axes.T @ frames_of[name[:-2]]
        for k, name in enumerate(rig.names)
    }
    return HandMotion(places @ world[:3, :3].T + world[:3, 3], turns, there)


def rest_frames(rig: HandRig) -> dict[str, Floats]:
    """Anatomical frames (3, 3) of the hand's bones at rest, with its armature where it is now."""
    rest = hand_at_rest(rig.armature, {name[:-2]: name for name in rig.names})
    return anatomical_frames(rest.heads, rest.tails, rig.side)


def moved_track(rig: HandRig, track: HandTrack, wrist: Floats, turn: Floats) -> HandTrack:
    """The track with its wrist at wrist (F, 3) and the hand's anatomical frame at turn (F, 3, 3), in the world."""
    data: Any = rig.armature.data
    rest = np.array(data.bones[rig.names[0]].matrix_local, np.float64)
    world = np.array(rig.armature.matrix_world.inverted(), np.float64)
    axes = np.array(rig.armature.matrix_world.normalized(), np.float64)[:3, :3]
    frame = rest_frames(rig)[HAND]
    turns = rest[:3, :3].T @ axes.T @ turn @ frame.T @ axes @ rest[:3, :3]
    rotations = track.rotations_wxyz.copy()
    rotations[:, 0] = quaternions.from_matrix(turns)
    places = wrist @ world[:3, :3].T + world[:3, 3] - rest[:3, 3]
    return replace(track, location=places @ rest[:3, :3], rotations_wxyz=quaternions.continuous(rotations))


def _global_turns(rests: Floats, local: Floats) -> Floats:
    """Rotations (F, 16, 3, 3) of the bones in the armature, from rests (16, 3, 3) and rotations (F, 16, 3, 3)."""
    found = np.empty_like(local)
    found[:, 0] = rests[0] @ local[:, 0]
    for bone in range(1, len(rests)):
        parent = PARENTS_16[bone]
        found[:, bone] = found[:, parent] @ (rests[parent].T @ rests[bone]) @ local[:, bone]
    return found
