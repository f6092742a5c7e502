# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's settings of the shot solve."""

from dataclasses import dataclass

from inference_core.shared.errors import RequestError

# Raise this with every change that alters a solve by more than rounding: takes record it.
SOLVER_VERSION = 9


@dataclass(frozen=True)
class SolveSettings:
    """Settings of one solve.

    smooth: 0 treats every frame separately, 0.5 suits plain footage, 1 smooths as much as possible. contact: keep the
    two hands' surfaces from intersecting, and together where they touch. hand_length_mm: from the wrist crease to the
    middle fingertip; None: the population's mean, with its spread. window_frames, overlap_frames: the equations of a
    long shot are computed in windows of this many frames, which overlap by this many.
    """

    smooth: float = 0.5
    contact: bool = True
    hand_length_mm: float | None = None
    window_frames: int = 600
    overlap_frames: int = 120

    def __post_init__(self) -> None:
        if not 0 <= self.smooth <= 1:
            raise RequestError(f"smooth is {self.smooth}; choose a number from 0 to 1.")
        if self.hand_length_mm is not None and not 80 <= self.hand_length_mm <= 300:
            raise RequestError(
                f"A hand of {self.hand_length_mm:g} mm is not possible; give the length from the wrist crease to the "
                "middle fingertip in millimetres, 80 to 300, such as 185."
            )
        if not 0 < 2 * self.overlap_frames <= self.window_frames:
            raise RequestError(
                f"Windows of {self.window_frames} frames cannot share {self.overlap_frames} with the next: "
                "make the windows at least twice as long as the overlap."
            )
