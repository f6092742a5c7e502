# SPDX-License-Identifier: GPL-3.0-or-later
"""The subject's hands on two tracks, one per side.

T frames, S sides (left, right). Absent entries hold NaN; their scores and confidences are 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A sighting counts as evidence for the hand within this many frames.
REMEMBERED_FRAMES = 50


@dataclass(frozen=True)
class HandTracks:
    """Landmarks of the subject's two hands through the shot.

    landmarks_px (T, S, 21, 3): x, y in pixels of the whole frame (pixel centres at +0.5), score 0..1.
    world_m (T, S, 21, 3): metres about the hand's centre, camera axes (x right, y down, z forward).
    present (T, S) uint8: ABSENT, SEEN, or FILLED (a short gap, to be interpolated by the solve).
    side_score (T, S): 0..1, how sure this frame alone is that the hand is of that side.
    """

    landmarks_px: NDArray[np.float32]
    world_m: NDArray[np.float32]
    present: NDArray[np.uint8]
    side_score: NDArray[np.float32]


def frames_to_known(known: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames since a hand was last known and until it is known again, for known (T, S).

    Zero if it is known in the frame itself; far more than T if it is never known before, or after.
    """
    frames, far = np.arange(len(known))[:, None], 1_000_000
    last = np.maximum.accumulate(np.where(known, frames, -far), 0)
    following = np.minimum.accumulate(np.where(known, frames, 2 * far)[::-1], 0)[::-1]
    return frames - last, following - frames
