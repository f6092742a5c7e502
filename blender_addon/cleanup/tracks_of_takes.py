# SPDX-License-Identifier: GPL-3.0-or-later
"""Another take's motion on the bones of a hand that is in the scene."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inference_core.shared.errors import RequestError, TakeError
from inference_core.shared.take import Take, load_take

from ..scene import hand_rig, motion, paths, shot
from ..scene.axes import Floats
from ..scene.hand_curves import HandRig
from ..scene.track import HandTrack

_SAME_FRAME = 0.02


def track_of(take: Take, rig: HandRig, now: HandTrack) -> HandTrack:
    """The motion of the rig's side in the take, on those frames of `now` that the take has;
    RequestError without that hand.
    """
    data: Any = rig.armature.data
    rest = hand_rig.rest_frames(data, rig.names)
    solved = motion.solved_motion(take, rig.side, rest, rig.shot.duohand.scale)
    frames = _scene_frames(take, rig)[solved.rows]
    if not len(frames):
        raise RequestError("The take does not have that hand.")
    rows = np.rint(np.interp(now.frames, frames, np.arange(len(frames)))).astype(int)
    same = np.abs(frames[rows] - now.frames) < _SAME_FRAME
    rows = rows[same]
    return replace(
        now,
        frames=now.frames[same],
        location=solved.location[rows],
        rotations_wxyz=solved.rotations_wxyz[rows],
        filled=solved.filled[rows],
        confidence=now.confidence[same],
        absent_after=np.zeros(len(rows), bool),
    )


def _scene_frames(take: Take, rig: HandRig) -> Floats:
    """Scene frames of the take's rows in the current shot, which may show another part of the footage."""
    timing = shot.shot_timing(rig.shot)
    try:
        own = load_take(Path(paths.take_file(rig.shot)))
        time_s, frame = own.time_s[0], own.frame[0]
    except TakeError:
        time_s, frame = take.time_s[0], take.frame[0]
    found = timing.scene_frames(np.append(time_s, take.time_s), np.append(frame, take.frame))
    return found[1:]
