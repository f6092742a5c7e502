# SPDX-License-Identifier: GPL-3.0-or-later
"""Segments: stretches of a tracklet that certainly show one and the same hand.

Following by crops may swap hands that touch, so a tracklet is cut at the end of each touch, at jumps, and
where it switches to the other arm.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.odds import log_odds_of
from inference_core.tracking.detections import ShotDetections, rows_of_frames

# The palm: wrist and knuckles; fingertips are a poor measure of a hand's position.
_PALM_POINTS = np.array([0, 5, 9, 13, 17])
# A tracklet that moves further than this between neighbouring frames (hand sizes)
# has jumped to something else.
_JUMP = 1.2
# Palms closer than this (hand sizes) touch; pauses shorter than this many frames do not end a touch. A tracklet of
# fewer frames than the last is a stray reading, with which no hand can be swapped.
_TOUCH, _TOUCH_PAUSE, _LEAST_FRAMES = 0.6, 6, 2
# Arms are certain if the median of three sightings has at least this vote, in nats.
_SURE_ARM = 1.0
# One frame's handedness is worth at most this many nats: its errors persist, so
# frames are not independent votes.
_MAX_ODDS, _ODDS_WEIGHT, _MAX_VOTE, _SUREST = 2.0, 0.3, 8.0, 1e-6
# A tracklet of fewer frames than this, at least half of which are this close (hand sizes) to a more certain hand, is a
# wrong second reading of that hand, unless the two are clearly of different sides: probabilities of a right hand differ
# by this much.
_GHOST_FRAMES, _GHOST_REACH, _OTHER_SIDE = 10, 0.55, 0.8
# If it is not even this large (share of the other's size) and this close, it is some of that hand's fingers, which may
# be followed for longer.
_PART, _PART_REACH, _PART_FRAMES = 0.56, 0.8, 24

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """Rows of one tracklet of the detections, in order of frame.

    rows, at (n,): row and frame of each. centre_px (n, 2), size_px (n,): of the palm's middle and of the hand.
    presence: mean, 0..1. vote: nats in favour of a right hand, negative for a left one. after_touch: it begins where
    two hands part, so the preceding segment may be the other hand. other_arm: it begins where the tracklet switches
    arms, so the preceding segment is the other hand.
    """

    tracklet: int
    rows: NDArray[np.int64]
    at: NDArray[np.int64]
    centre_px: Floats
    size_px: Floats
    presence: float
    vote: float
    after_touch: bool
    other_arm: bool = False

    @property
    def start(self) -> int:
        """First frame."""
        return int(self.at[0])

    @property
    def end(self) -> int:
        """Last frame."""
        return int(self.at[-1])


def cut_segments(detections: ShotDetections) -> list[Segment]:
    """The shot's segments, ordered by first frame."""
    centres = detections.points_px[:, _PALM_POINTS, :2].mean(1).astype(np.float64)
    sizes = detections.hand_sizes_px
    tracklets = detections.tracklet.copy()
    tracklets[_ghosts(detections, centres, sizes)] = -1
    real = np.flatnonzero(tracklets >= 0)
    apart = np.full(len(tracklets), np.inf)
    lasting = real[np.bincount(tracklets[real])[tracklets[real]] >= _LEAST_FRAMES]
    apart[lasting] = _apart_from_others(detections.at[lasting], centres[lasting], sizes[lasting])
    touching = apart < _TOUCH
    segments: list[Segment] = []
    for tracklet in np.unique(tracklets[real]):
        rows = np.flatnonzero(tracklets == tracklet)
        rows = rows[np.argsort(detections.at[rows])]
        parts = _touch_ends(touching[rows])
        arm_odds = detections.arm_odds[rows] if len(detections.arm_odds) else np.zeros(len(rows))
        changes = _changes_arm(arm_odds, np.isfinite(apart[rows]) & ~touching[rows])
        cuts = np.flatnonzero(parts | changes | _jumps(detections.at[rows], centres[rows], sizes[rows])) + 1
        for piece, some in zip((0, *cuts), np.split(rows, cuts), strict=True):
            segment = _segment(detections, some, centres[some], sizes[some])
            if piece > 0:
                after_touch, other_arm = bool(parts[piece - 1]), bool(changes[piece - 1])
                segment = replace(segment, after_touch=after_touch, other_arm=other_arm)
            segments.append(segment)
    return sorted(segments, key=lambda segment: (segment.start, segment.end))


def side_vote(right: Floats) -> float:
    """Nats in favour of a right hand from each frame's probability (n,) of one."""
    odds = np.clip(log_odds_of(right, _SUREST), -_MAX_ODDS, _MAX_ODDS).sum() * _ODDS_WEIGHT
    return float(_MAX_VOTE * np.tanh(odds / _MAX_VOTE))


def _segment(detections: ShotDetections, rows: NDArray[np.int64], centres: Floats, sizes: Floats) -> Segment:
    return Segment(
        int(detections.tracklet[rows[0]]),
        rows,
        detections.at[rows],
        centres,
        sizes,
        float(detections.presence[rows].mean()),
        side_vote(detections.right[rows].astype(np.float64)),
        after_touch=False,
    )


def _ghosts(detections: ShotDetections, centres: Floats, sizes: Floats) -> NDArray[np.int64]:
    """Rows of short tracklets that are wrong second readings of hands."""
    ghosts: list[NDArray[np.int64]] = []
    for tracklet in np.unique(detections.tracklet):
        rows = np.flatnonzero(detections.tracklet == tracklet)
        if len(rows) >= _PART_FRAMES:
            continue
        reach, shadowed = _GHOST_REACH if len(rows) < _GHOST_FRAMES else 0.0, 0
        for row in rows:
            others = np.flatnonzero((detections.at == detections.at[row]) & (detections.tracklet != tracklet))
            apart = np.linalg.norm(centres[others] - centres[row], axis=-1)
            alike = np.abs(detections.right[others] - detections.right[row]) < _OTHER_SIDE
            near = alike & (apart < reach * sizes[row])
            near |= (sizes[row] < _PART * sizes[others]) & (apart < _PART_REACH * sizes[others])
            shadowed += bool((detections.presence[others[near]] > detections.presence[row]).any())
        if 2 * shadowed >= len(rows):
            ghosts.append(rows)
    return np.concatenate(ghosts) if ghosts else np.zeros(0, np.int64)


def _apart_from_others(at: NDArray[np.int64], centres: Floats, sizes: Floats) -> Floats:
    """(N,) distance of each row's hand from the nearest other one of its frame, in sizes of the larger; infinite where
    there is none. Rows are ordered by frame.
    """
    apart = np.full(len(at), np.inf)
    for rows in rows_of_frames(at):
        if len(rows) > 1:
            away = np.linalg.norm(centres[rows, None] - centres[rows], axis=-1)
            away /= np.maximum(sizes[rows, None], sizes[rows])
            np.fill_diagonal(away, np.inf)
            apart[rows] = away.min(1)
    return apart


def _touch_ends(touching: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where (n - 1,) between a tracklet's rows a touch ends for good."""
    ends = np.zeros(max(len(touching) - 1, 0), bool)
    for row in np.flatnonzero(touching[:-1] & ~touching[1:]):
        ends[row] = not touching[row + 1 : row + 1 + _TOUCH_PAUSE].any()
    return ends


def _changes_arm(odds: NDArray[np.floating], alone: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where (n - 1,) the arms' certain vote changes sides, from their log odds (n,), but not where both hands are seen
    apart, alone (n,), throughout: there, arms have crossed.
    """
    changes = np.zeros(max(len(odds) - 1, 0), bool)
    if len(odds) < 2:
        return changes
    steady = np.median(np.stack([odds, np.append(odds[1:], odds[-1]), np.append(odds[0], odds[:-1])]), axis=0)
    sure = np.flatnonzero(np.abs(steady) >= _SURE_ARM)
    for before, after in pairwise(sure.tolist()):
        if steady[before] * steady[after] < 0 and not alone[before : after + 1].all():
            changes[after - 1] = True
    return changes


def _jumps(at: NDArray[np.int64], centres: Floats, sizes: Floats) -> NDArray[np.bool_]:
    """Where (n - 1,) a tracklet jumps further than a hand can move."""
    moved = np.linalg.norm(np.diff(centres, axis=0), axis=-1)
    return moved > _JUMP * np.maximum(sizes[1:], sizes[:-1]) * np.sqrt(np.diff(at))
