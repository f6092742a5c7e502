# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps the footage's times to the scene's frames, for any pair of rates. No bpy here.

SECONDS keeps the timing: a second of footage takes a second of the scene, so keys may fall between whole frames.
FRAMES puts each frame of footage on one frame of the scene, whatever the rates.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TimingMode = Literal["SECONDS", "FRAMES"]

# Rates this close to a whole number are rounded to it, because container formats are imprecise.
_WHOLE_RATE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Timing:
    """A shot's mapping to the scene's frames: its first frame, the scene's rate, and
    whether time or frames are kept.
    """

    start_frame: int
    scene_fps: float
    mode: TimingMode = "SECONDS"

    def scene_frames(self, time_s: NDArray[np.floating], frame: NDArray[np.integer]) -> NDArray[np.float64]:
        """Scene frames (T,) of the footage's times time_s (T,) and frame numbers (T,); the first is start_frame."""
        if self.mode == "FRAMES":
            return self.start_frame + (frame - frame[0]).astype(np.float64)
        return self.start_frame + (np.asarray(time_s, np.float64) - time_s[0]) * self.scene_fps


def rows_shown(scene_frames: NDArray[np.number], row_frames: NDArray[np.floating]) -> NDArray[np.int64]:
    """Row (N,) of the footage nearest to each scene frame (N,); row_frames (T,) are the rows' scene frames.

    Of two equally near rows it is the earlier one; rounding has a tolerance of half a thousandth of a frame.
    """
    between = (row_frames[:-1] + row_frames[1:]) / 2
    return np.searchsorted(between, np.asarray(scene_frames) - 5e-4, side="left")


def scene_rate(fps: float) -> tuple[int, float]:
    """Blender's pair fps, fps_base whose quotient is the rate: 23.976 is 24 / 1.001."""
    whole = max(1, round(fps))
    if abs(fps - whole) < _WHOLE_RATE_TOLERANCE:
        return whole, 1.0
    if fps > whole:
        whole += 1
    return whole, whole / fps
