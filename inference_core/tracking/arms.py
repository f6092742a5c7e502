# SPDX-License-Identifier: GPL-3.0-or-later
"""Which arm each hand is on.

If a body is in view, its wrists decide. If no body is, but two hands are, the view is usually the person's
own or one from above, from any side: each forearm continues behind its wrist and out of the picture, and seen from the
elbows the left forearm is on the left. So it is for a person facing the camera whose hands hang down.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.body_reader import WRIST
from inference_core.landmarks.odds import log_odds_of, probability
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.bodies import with_true_bodies
from inference_core.tracking.detections import ShotDetections, rows_of_frames
from inference_core.tracking.hand_tracks import frames_to_known
from inference_core.tracking.seen_apart import runs_apart

# A body's wrists vote for hands within this many frames.
_HOLDS_FRAMES = 12
# A hand agrees with a body's wrist within the first distance; beyond the second it belongs
# to someone else (hand sizes).
_WRIST_SPREAD, _WRIST_REACH = 0.4, 2.0
# A body found in less than this share of the searched frames is taken for a false detection.
_BODY_SHARE = 0.2
# The largest vote on one sighting, in nats: by a body; by forearms in total, by
# their order, by their usual place.
_MOST_BY_BODY, _MOST_BY_FOREARMS, _MOST_BY_ORDER, _MOST_ALONE = 6.0, 4.0, 2.0, 3.0
# In hand sizes: how far behind the wrist a forearm is extended, how far apart two ends must be to count as
# two and to count fully, and how much the ends scatter.
_ALONG, _SEEN_APART, _SURELY_APART, _FOREARM_SPREAD = 0.8, 0.25, 0.5, 0.3
# A shot's usual forearm positions come from this many pairs nearest in time, within this many frames.
_PAIRS, _FOREARMS_HOLD_FRAMES = 24, 90
# Log odds between the two hands, over the whole shot, that forearms do not overrule.
_PLAIN = 3.5
# The same, as read by the landmark head, while two hands are seen apart: their arms may cross.
_PLAIN_APART = 1.5
# Forearms that disagree in direction do not vote.
_LEAST_TOGETHER = 0.4
_WRIST_POINT, _MIDDLE_MCP = 0, 9
# Of a normal distribution, of its variance.
_MEDIAN_OF_SQUARES = 0.455
_NEAREST_M = 0.05
# Handedness is never surer than this.
_SUREST = 1e-4

Floats = NDArray[np.float64]


def with_arms(detections: ShotDetections, by_head: bool = False) -> ShotDetections:
    """The detections with the arms' votes added to `right`, and the arms of false bodies removed.

    by_head: whether the landmark head has read `right`; the landmark network takes hands seen from the thumb's side for
    the other one throughout. Returns the detections unchanged if no frame was searched for a body.
    """
    if not len(detections.at) or not _looked(detections).any():
        return detections
    detections = with_true_bodies(detections, detections.hand_sizes_px)
    odds = _by_body(detections) if body_in_view(detections) else _by_forearms(detections, by_head)
    total = log_odds_of(detections.right, _SUREST) + odds
    return replace(
        detections,
        right=probability(total).astype(np.float32),
        arm_odds=odds.astype(np.float32),
    )


def body_in_view(detections: ShotDetections) -> bool:
    """Whether the shot shows a person, not only hands."""
    found = np.isfinite(detections.arms_px).all((-1, -2, -3))
    return bool(found.sum() > _BODY_SHARE * _looked(detections).sum())


def _looked(detections: ShotDetections) -> NDArray[np.bool_]:
    return np.isfinite(detections.arms_px[..., 2]).all((-1, -2))


def arms_in_camera(
    detections: ShotDetections, wrist_cam_m: NDArray[np.float32], K: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Shoulder and elbow of both arms in camera metres (T, S, 2, 3), and their scores (T, S, 2), 0..1.

    Each lies on its line of sight. Its depth relative to the hand's wrist, wrist_cam_m (T, S, 3), is that of the
    body's landmarks. K (3, 3) or (T, 3, 3). NaN with score 0 if there is no wrist, or no body nearby in time.
    """
    arms_px, arms_m = (
        arms_between(detections, detections.arms_px),
        arms_between(detections, detections.arms_m),
    )
    deeper_m = arms_m[..., :WRIST, 2] - arms_m[..., WRIST:, 2]
    depth_m = wrist_cam_m[..., None, 2] + deeper_m
    focal = np.stack((K[..., 0, 0], K[..., 1, 1]), -1).reshape(-1, 1, 1, 2)
    principal = K[..., :2, 2].reshape(-1, 1, 1, 2)
    xy = (arms_px[..., :WRIST, :2] - principal) / focal * depth_m[..., None]
    joints_m = np.concatenate((xy, depth_m[..., None]), -1)
    known = np.isfinite(joints_m).all(-1) & (depth_m > _NEAREST_M)
    joints_m = np.where(known[..., None], joints_m, np.nan)
    score = np.where(known, np.clip(np.nan_to_num(arms_px[..., :WRIST, 2]), 0, 1), 0)
    return joints_m.astype(np.float32), score.astype(np.float32)


def _by_body(detections: ShotDetections) -> Floats:
    """(N,) nats for a right hand, from the body's wrist that each hand is at."""
    at = detections.at
    wrists = arms_between(detections, detections.arms_px)[at, :, WRIST]
    own_px = detections.points_px[:, _WRIST_POINT, :2].astype(np.float64)
    apart = np.linalg.norm(wrists[..., :2] - own_px[:, None], axis=-1) / detections.hand_sizes_px[:, None]
    near = np.minimum(apart, _WRIST_REACH)
    odds = (near[:, LEFT] ** 2 - near[:, RIGHT] ** 2) / (2 * _WRIST_SPREAD**2)
    odds = np.clip(odds, -_MOST_BY_BODY, _MOST_BY_BODY) * wrists[..., 2].min(-1)
    return np.where(np.isfinite(odds) & (apart.min(-1) < _WRIST_REACH), odds, 0.0)


def arms_between(detections: ShotDetections, arms: NDArray[np.float32]) -> Floats:
    """The body's arms in every frame (T, S, 3, 3), interpolated between the searched frames of its piece of footage;
    NaN far from them.
    """
    drawn = np.full((len(detections.time_s), *arms.shape[1:]), np.nan)
    known = np.isfinite(arms).all((-1, -2, -3))
    for frames in np.split(np.arange(len(drawn)), detections.cuts):
        found = frames[known[frames]] if len(known) else frames[:0]
        if not len(found):
            continue
        flat = arms[found].astype(np.float64).reshape(len(found), -1)
        columns = [np.interp(frames, found, column) for column in flat.T]
        since, until = frames_to_known(known[frames][:, None])
        near = np.minimum(since, until)[:, 0] <= _HOLDS_FRAMES
        drawn[frames[near]] = np.stack(columns, -1).reshape(-1, *arms.shape[1:])[near]
    return drawn


def _by_forearms(detections: ShotDetections, by_head: bool) -> Floats:
    """(N,) nats for a right hand, from which of the shot's two forearms each hand is on."""
    sizes_px, frames = detections.hand_sizes_px, rows_of_frames(detections.at)
    ends_px, behind = forearm_ends(detections.points_px[..., :2].astype(np.float64), sizes_px)
    odds, pairs = np.zeros(len(ends_px)), list[tuple[NDArray[np.int64], float]]()
    for rows in frames:
        if (
            len(rows) > 1
            and (ordered := _ordered(rows, ends_px, behind, sizes_px, detections.presence)) is not None
        ):
            pairs.append(ordered)
    if not pairs or _contradicted(detections.right, pairs):
        return odds
    apart = np.array([rows for rows, distance in pairs if distance > _SEEN_APART], np.int64).reshape(-1, 2)
    for rows in frames:
        near = _near(apart, int(detections.at[rows[0]]), detections.at)
        odds[rows] = _by_place(rows, near, ends_px, behind, _FOREARM_SPREAD * sizes_px[rows])
    odds = np.clip(odds, -_MOST_ALONE, _MOST_ALONE)
    for rows, distance in pairs:
        odds[rows] += np.array([-1, 1]) * _MOST_BY_ORDER * np.tanh(distance / _SURELY_APART)
    if by_head:
        odds = _without_crossed(detections, odds)
    return np.clip(odds, -_MOST_BY_FOREARMS, _MOST_BY_FOREARMS)


def _without_crossed(detections: ShotDetections, odds: Floats) -> Floats:
    """The forearms' odds (N,), zero where two hands are seen apart whose handedness clearly contradicts them."""
    odds, by_handedness = odds.copy(), log_odds_of(detections.right, _SUREST)
    for rows in runs_apart(detections):
        own, of_arms = (float(np.diff(values[rows]).mean()) for values in (by_handedness, odds))
        if own * of_arms < 0 and abs(own) > _PLAIN_APART:
            odds[rows] = 0.0
    return odds


def _near(pairs: NDArray[np.int64], at: int, frames: NDArray[np.int64]) -> NDArray[np.int64]:
    """Up to _PAIRS of the pairs (m, 2), ordered by frame, that are nearest to frame `at` in time."""
    first = int(np.searchsorted(frames[pairs[:, 0]], at))
    some = pairs[max(0, first - _PAIRS) : first + _PAIRS]
    away = np.abs(frames[some[:, 0]] - at)
    return some[np.argsort(away, kind="stable")[:_PAIRS]][np.sort(away)[:_PAIRS] <= _FOREARMS_HOLD_FRAMES]


def _by_place(
    rows: NDArray[np.int64], pairs: NDArray[np.int64], ends_px: Floats, behind: Floats, spread_px: Floats
) -> Floats:
    """(n,) nats by which forearms (n,) are nearer to the right forearms of pairs (m, 2) than to the left ones.

    spread_px (n,): how much one forearm's ends scatter; those of the pairs also move. Measured across the arms only:
    along them, readings of touching hands are off by half a hand.
    """
    if not len(pairs):
        return np.zeros(len(rows))
    along = behind[pairs].mean((0, 1))
    aside = np.array([along[1], -along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
    left, right = np.median(ends_px[pairs] @ aside, axis=0)
    moves_px2 = np.median((ends_px[pairs] @ aside - [left, right]) ** 2) / _MEDIAN_OF_SQUARES
    place = ends_px[rows] @ aside
    nearer_px2 = ((place - left) ** 2 - (place - right) ** 2) / 2
    return nearer_px2 / (spread_px**2 + moves_px2) * (right > left)


def _contradicted(right: NDArray[np.float32], pairs: list[tuple[NDArray[np.int64], float]]) -> bool:
    """Whether handedness so clearly contradicts the forearms that the hands must be
    those of a person facing the camera.
    """
    odds = log_odds_of(right[np.array([pair for pair, _ in pairs])], _SUREST)
    return bool((odds[:, 1] - odds[:, 0]).mean() < -_PLAIN)


def forearm_ends(points_px: Floats, size_px: Floats) -> tuple[Floats, Floats]:
    """The forearm a little behind the wrist (N, 2) of hands (N, 21, 2) of sizes (N,), and the unit direction from hand
    to forearm (N, 2).
    """
    wrists_px = points_px[:, _WRIST_POINT]
    behind = wrists_px - points_px[:, _MIDDLE_MCP]
    behind /= np.maximum(np.linalg.norm(behind, axis=-1, keepdims=True), 1e-6)
    return wrists_px + _ALONG * size_px[:, None] * behind, behind


def _ordered(
    rows: NDArray[np.int64],
    ends_px: Floats,
    behind: Floats,
    sizes_px: Floats,
    presence: NDArray[np.float32],
) -> tuple[NDArray[np.int64], float] | None:
    """The two most certain hands of a frame, left forearm first, and their distance in hand
    sizes; None if the arms do not tell.
    """
    pair = rows[np.argsort(-presence[rows], kind="stable")[:2]]
    along = behind[pair].mean(0)
    length = float(np.linalg.norm(along))
    if length < _LEAST_TOGETHER:
        return None
    # `along` points from hands to elbows; this points to the right as seen from the elbows.
    aside = np.array([along[1], -along[0]]) / length
    apart = float((ends_px[pair[1]] - ends_px[pair[0]]) @ aside) / sizes_px[pair].mean()
    return (pair, apart) if apart > 0 else (pair[::-1], -apart)
