# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits that fade in and out over a few frames at the ends of their range, on arrays. No bpy here."""

from dataclasses import replace

import numpy as np

from inference_core.shared import quaternions

from ..scene.track import Flags, Floats, HandTrack, runs


def weights(track: HandTrack, rows: Flags, frames: float, at_start: bool = True) -> Floats:
    """(K,) 1 in the rows (K,), fading over that many frames at ends where motion continues."""
    found = rows.astype(np.float64)
    for run in runs(track) if frames > 0 else ():
        chosen = run.start + np.flatnonzero(rows[run])
        if not len(chosen):
            continue
        at = track.frames[chosen]
        if at_start and chosen[0] > run.start:
            found[chosen] = np.minimum(found[chosen], (at - at[0] + 1) / (frames + 1))
        if chosen[-1] < run.stop - 1:
            found[chosen] = np.minimum(found[chosen], (at[-1] - at + 1) / (frames + 1))
    return found


def mixed(now: HandTrack, target: HandTrack, share: Floats) -> HandTrack:
    """A mixture of two motions on the same frames, with share (K,) or, per bone, (K, N) of the second."""
    turns = np.broadcast_to(share.reshape(len(share), -1), now.rotations_wxyz.shape[:2])[..., None]
    location = now.location + turns[:, 0] * (target.location - now.location)
    signs = np.where((now.rotations_wxyz * target.rotations_wxyz).sum(-1, keepdims=True) < 0, -1.0, 1.0)
    rotations = now.rotations_wxyz + turns * (signs * target.rotations_wxyz - now.rotations_wxyz)
    rotations = quaternions.continuous(quaternions.normalized(rotations))
    return replace(now, location=location, rotations_wxyz=rotations)
