# SPDX-License-Identifier: GPL-3.0-or-later
"""One hand's pose, and how it comes into a motion, on arrays. No bpy here."""

from dataclasses import dataclass, replace

import numpy as np

from inference_core.shared import quaternions

from ..scene.track import Flags, Floats, HandTrack, inside, runs


@dataclass(frozen=True)
class HandPose:
    """Rotations (16, 4) w x y z of a side's bones from rest, in MANO's order; known (16,): which of them it holds."""

    side: int
    rotations_wxyz: Floats
    known: Flags

    def on_side(self, side: int) -> "HandPose":
        """The pose as a hand of that side has it: where it is the other hand's, that hand's in a mirror.

        Local X flexes on both sides and Y runs along the bone: flexion stays, spread and twist are mirrored.
        """
        if side == self.side:
            return self
        return HandPose(side, self.rotations_wxyz * np.array([1.0, 1.0, -1.0, -1.0]), self.known)


def posed(track: HandTrack, pose: HandPose, first: float, last: float, blend: float) -> HandTrack:
    """The track in that pose through first..last, coming and going over `blend` frames before and after.

    Nothing changes across an absence, or where the hand is away in the whole range.
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
