# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames the landmark head and the two-hand network read, and what they would have read in the others.

The tracks follow every hand through every frame. What the networks add to them, a correction in the hand's own square,
changes slowly: where hands are seen, apart, and move steadily, every eighth frame is read, and corrections are
interpolated in between.
"""

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_landmarks, turn_to_frame, turned
from inference_core.tracking.expected_hands import SEEN_SCORE, ExpectedHands
from inference_core.tracking.interpolate import Floats, between
from inference_core.tracking.refine import HandReadings
from inference_core.tracking.wider_square import apart

# A stretch between two frames that are read: tried in this order.
STEPS = (8, 4, 2)
# A hand moves steadily if its landmarks are on average this near to where a straight line between the stretch's ends
# leads, as a share of its square's side, in the frame and within the square; and none, a moving finger's, is further
# from there than so many times that.
_STEADY, _ONE_FINGER = 0.05, 3.0


def frames_to_read(expected: ExpectedHands) -> NDArray[np.bool_]:
    """(T,) the frames to be read. Every frame where hands are unknown, unsure, lie on one another or are unsteady."""
    known = _known(expected)
    seen = (expected.hand_score >= SEEN_SCORE) & (apart(expected.points_px, expected.between_px) > 0)
    plain = (seen | ~known).all(1) & known.any(1)
    crops = crops_from_landmarks(expected.points_px)
    within = _to_square(expected.points_px - crops[..., None, :2], crops)
    wanted = np.ones(len(known), bool)
    for step in reversed(STEPS):
        starts = np.arange(0, len(known) - step, step)
        rows = starts[:, None] + np.arange(step + 1)
        same = (known[rows] == known[starts][:, None]).all((1, 2))
        side_px = crops[rows][:, 1:-1, :, 2].clip(1e-6)
        off = np.maximum(_off_line(expected.points_px[rows]) / side_px, _off_line(within[rows]))
        steady = (np.where(known[rows][:, 1:-1], off, 0) < _STEADY).all((1, 2))
        wanted[rows[plain[rows].all(1) & same & steady, 1:-1]] = False
    return wanted


def with_frames_between(
    readings: HandReadings, expected: ExpectedHands, wanted: NDArray[np.bool_]
) -> HandReadings:
    """The readings of the wanted frames (T,), with those of the frames between them interpolated."""
    crops = crops_from_landmarks(expected.points_px)
    read = (between(readings.read.astype(float), wanted) == 1) & _known(expected)

    def points_between(points_px: Floats) -> Floats:
        change = between(_to_square(points_px - expected.points_px, crops), wanted)
        return np.where(read[..., None, None], expected.points_px + _from_square(change, crops), 0.0)

    back = crops * np.array([1.0, 1.0, 1.0, -1.0])
    world_m = turn_to_frame(between(turn_to_frame(readings.world_m, back), wanted), crops)
    drawn = HandReadings(
        points_between(readings.points_px),
        points_between(readings.wide_px),
        np.where(read[..., None, None], world_m, 0.0),
        np.where(read[..., None], between(readings.trust, wanted), 0.0),
        read,
    )
    own = {name: wanted.reshape(-1, *[1] * (values.ndim - 1)) for name, values in vars(readings).items()}
    return HandReadings(
        **{name: np.where(own[name], values, getattr(drawn, name)) for name, values in vars(readings).items()}
    )


def _known(expected: ExpectedHands) -> NDArray[np.bool_]:
    """(T, S) where a hand is expected."""
    return (expected.score > 0).any(-1)


def _off_line(points: Floats) -> Floats:
    """(N, K, S) how far points (N, K + 2, S, P, 2) are from the line between the first and the last."""
    share = np.linspace(0, 1, points.shape[1])[1:-1, None, None, None]
    line = (1 - share) * points[:, :1] + share * points[:, -1:]
    off = np.linalg.norm(line - points[:, 1:-1], axis=-1)
    return np.maximum(off.mean(-1), off.max(-1) / _ONE_FINGER)


def _to_square(offsets_px: Floats, crops: Floats) -> Floats:
    """Offsets (..., P, 2) in shares of the side of crops (..., 4), in the crop's axes."""
    return turned(offsets_px / crops[..., 2, None, None].clip(1e-6), -crops[..., 3, None])


def _from_square(offsets: Floats, crops: Floats) -> Floats:
    """Undoes `_to_square`."""
    return turned(offsets, crops[..., 3, None]) * crops[..., 2, None, None]
