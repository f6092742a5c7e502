# SPDX-License-Identifier: GPL-3.0-or-later
"""One hand's pose, and how it is blended into a motion, on arrays. Does not import bpy."""

from dataclasses import dataclass, replace

import numpy as np

from inference_core.shared import quaternions

from ..scene.track import Flags, Floats, HandTrack, inside, runs


@dataclass(frozen=True)
class HandPose:
    """Rotations (16, 4) w x y z of a side's bones from rest, in MANO's order; known (16,): which of them it has."""

    side: int
    rotations_wxyz: Floats
    known: Flags

    def on_side(self, side: int) -> "HandPose":
        """The pose for a hand of that side: mirrored if it belongs to the other one.

        Local X flexes on both sides and Y runs along the bone: flexion stays, spread and twist are mirrored.
        """
        if side == self.side:
            return self
        return HandPose(side, self.rotations_wxyz * np.array([1.0, 1.0, -1.0, -1.0]), self.known)


def posed(track: HandTrack, pose: HandPose, first: float, last: float, blend: float) -> HandTrack:
    """The track with the pose on first..last, fading in and out over `blend` frames before and after.

    Nothing changes beyond an absence, or if the hand is absent in the whole range.
    """
    rows = inside(track, first, last)
    share = np.zeros(len(rows))
    for run in runs(track):
        meant = track.frames[run][rows[run]]
        if len(meant):
            away = np.maximum(meant[0] - track.frames[run], track.frames[run] - meant[-1]).clip(min=0)
            share[run] = (1 - away / (blend + 1)).clip(min=0)
    turned = quaternions.slerp(track.rotations_wxyz, pose.rotations_wxyz, share[:, None] * pose.known)
    return replace(track, rotations_wxyz=quaternions.continuous(turned))
