# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames the landmark head and the two-hand network read, and what they would have read in the others.

The tracks have every hand in every frame. What the networks add to them, a correction in the hand's own square,
changes slowly: where hands are seen, apart, and move steadily, every eighth frame is read, and corrections are
interpolated in between; where they lie on one another, every second. Of hands that are seen apart, the two-hand network
tells nothing that the head does not, so it is shown only those that are near one another, or not seen.
"""

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_landmarks, turn_to_frame, turned
from inference_core.tracking.expected_hands import SEEN_SCORE, ExpectedHands
from inference_core.tracking.interpolate import STEPS, Floats, between, interpolated
from inference_core.tracking.refine import HandReadings
from inference_core.tracking.wider_square import apart, sides_between, to_nearest_px

# A hand moves steadily if its landmarks are on average nearer than the first to where a straight line between the ends
# of a stretch leads, as a share of its square's side, in the frame and within the square; unsteadily beyond the
# second. A single landmark, a moving finger's, may be so many times further from there.
_STEADY, _UNSTEADY, _ONE_FINGER = 0.04, 0.1, 3.0
# Middles of hands that may touch are at most so far from one another, in sides of the own square; the two-hand network
# counts less and less up to the second distance, and for scores above that of a hand that may not be seen.
_NEAR, _FAR, _PLAIN_SCORE = 0.4, 0.7, 0.6
# A sum of shares that is 1 but for rounding.
_NEARLY_ONE = 0.999


def reading_shares(expected: ExpectedHands) -> Floats:
    """(T,) how much what is read in each frame counts beside what is interpolated: 0, it need not be read; 1, alone.

    1 where hands are unknown, unsure or unsteady, and in every second frame in which they lie on one another. The share
    grows from 0 to 1 so that a tiny difference in the landmarks does not change a take.
    """
    shares = np.ones(len(expected.score))
    for step in STEPS:
        starts = np.arange(0, len(shares) - step, step)
        longer = np.minimum(starts // (2 * step) * 2 * step + step, len(shares) - 1)
        within = 1.0 if step == STEPS[0] else shares[longer]
        rows = starts[:, None] + np.arange(step + 1)
        shares[starts + step // 2] = np.minimum(_unsteady(expected, rows, near=step == STEPS[-1]), within)
    return shares


def pair_shares(expected: ExpectedHands) -> Floats:
    """(T,) how much the two-hand network's estimates count, 0..1.

    In full where the hands are near one another or one is not seen; not at all where both are seen apart, or there is
    only one.
    """
    near = 1 - np.interp(sides_between(expected.points_px, expected.between_px), (_NEAR, _FAR), (0, 1))
    unseen = 1 - np.interp(expected.hand_score, (SEEN_SCORE, _PLAIN_SCORE), (0, 1))
    return np.where(_known(expected).all(1), np.maximum(near, unseen).max(1), 0.0)


def hands_were_near(at: NDArray[np.int64], points_px: NDArray[np.float32]) -> bool:
    """Whether two hands are so near one another that the two-hand network counts. points_px (N, 21, 2 or 3): the hands'
    landmarks in frames at (N,).
    """
    wide_px = points_px[..., :2].astype(np.float64)
    between_px = to_nearest_px(at, wide_px.mean(-2))
    return bool((sides_between(wide_px, between_px) < _FAR).any())


def with_frames_between(readings: HandReadings, expected: ExpectedHands, shares: Floats) -> HandReadings:
    """The readings, with those of frames that count in part or not at all (`reading_shares`) interpolated."""
    crops = crops_from_landmarks(expected.points_px)
    read = (between(readings.read.astype(float), shares) > _NEARLY_ONE) & _known(expected)

    def points_between(points_px: Floats) -> Floats:
        change = between(_to_square(points_px - expected.points_px, crops), shares)
        return np.where(read[..., None, None], expected.points_px + _from_square(change, crops), 0.0)

    back = crops * np.array([1.0, 1.0, 1.0, -1.0])
    world_m = turn_to_frame(between(turn_to_frame(readings.world_m, back), shares), crops)
    points_px = points_between(readings.points_px)
    wider = _from_square(_wider_between(readings, crops), crops)
    drawn = HandReadings(
        points_px,
        np.where(read[..., None, None], points_px + wider, 0.0),
        np.where(read[..., None, None], world_m, 0.0),
        np.where(read[..., None], between(readings.trust, shares), 0.0),
        read,
    )
    alone = {name: (shares == 1).reshape(-1, *[1] * (each.ndim - 1)) for name, each in vars(readings).items()}
    alone["wide_px"] = alone["wide_px"] & np.isfinite(readings.wide_px)
    return HandReadings(
        **{name: np.where(alone[name], each, getattr(drawn, name)) for name, each in vars(readings).items()}
    )


def _wider_between(readings: HandReadings, crops: Floats) -> Floats:
    """(T, S, 21, 2) how a hand differs in the wider square, in the axes and sides of crops (T, S, 4): interpolated
    between the frames in which that was read; 0 far from any.
    """
    known = readings.read & np.isfinite(readings.wide_px).all((-2, -1))
    change, _ = interpolated(_to_square(readings.wide_px - readings.points_px, crops), known)
    return np.nan_to_num(change)


def _unsteady(expected: ExpectedHands, rows: NDArray[np.int64], near: bool) -> Floats:
    """(N,) 0..1 how far from steady the hands are in stretches of frames, rows (N, K). near: whether they may lie on
    one another.
    """
    known = _known(expected)
    beside = np.where(known, 1 - apart(expected.points_px, expected.between_px), 0).max(1)
    plain = ((expected.hand_score >= SEEN_SCORE) | ~known).all(1) & known.any(1)
    crops = crops_from_landmarks(expected.points_px)
    within = _to_square(expected.points_px - crops[..., None, :2], crops)
    side_px = crops[rows][:, 1:-1, :, 2].clip(1e-6)
    off = np.maximum(_off_line(expected.points_px[rows]) / side_px, _off_line(within[rows]))
    worst = np.where(known[rows][:, 1:-1], off, 0).max((1, 2), initial=0)
    share = ((worst - _STEADY) / (_UNSTEADY - _STEADY)).clip(0, 1)
    if not near:
        share = np.maximum(share, beside[rows].max(1, initial=0))
    same = (known[rows] == known[rows[:, :1]]).all((1, 2))
    return np.where(plain[rows].all(1) & same, share, 1.0)


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
