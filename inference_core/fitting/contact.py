# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the two hands touch, inferred from the picture.

Each frame has a probability that the hands touch. Outlines that meet in the picture, depths that agree within their
uncertainty, and common motion increase it; outlines that slide past each other indicate hands that cross, as does a
two-hand network that places the hands apart. Temporal smoothing resolves ambiguous frames and those in which a hand is
lost, so a contact does not flicker. A small network reads which parts meet (contact_network); if its file is missing,
each frame's outlines decide.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.arrays import Flags, Floats, Indices, lengths
from inference_core.fitting.capsules import Capsules, nearest_points
from inference_core.fitting.contact_network import (
    ContactNetwork,
    FittedPairs,
    load_contact_network,
    touching_log_odds,
)
from inference_core.fitting.observations import Observations, pairs
from inference_core.fitting.parameterisation import JOINTS, HandState, PosedPoints, pose_points
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.single_frame import ShotShape
from inference_core.fitting.windows import windows_of
from inference_core.landmarks.odds import probability

# Outlines this far apart, measured at the hands' distance, may meet; sigma of one depth as a share of it.
_MEET_M, _DEPTH_SIGMA = 0.004, 0.06
# Fingertips whose ends are this far apart meet; this many together are no coincidence, as in hands laid on
# each other; the capsules of the last phalanges, thumb to pinky.
_TIPS_MEET_M, _TIPS_TOGETHER, TIP_CAPSULES = 0.01, 1.1, (2, 5, 8, 11, 14)
# Depth and motion are averaged over this many frames to either side.
_DEPTH_REACH, _MOTION_REACH, _PARTS_REACH = 6, 3, 4
# The network was trained on hands with at least this score.
_LEAST_SCORE = 0.25
# Hands whose nearest joints are so far apart as the two-hand network places them hardly touch; beyond twice that, the
# distance says no more. Those of touching hands are usually nearer than the last.
_PLACED_M, _PLACED_REACH, _USUALLY_M = 0.02, 1, 0.01
# Log odds of touching: constant, outlines apart, depths apart, overlap of the outlines, relative motion; then those of
# the parts that are surest to touch by the contact network, and the distance by the two-hand network.
# Fitted to rendered, drawn and real clips; one frame's depth counts little.
_LOG_ODDS = (3.74, -0.87, -0.19, -0.41, -1.54, 1.11, -0.67)
_SUREST = 9.0
# The first five without a contact network; fitted to synthetic clips.
_LOG_ODDS_BY_OUTLINES = (3.0, -0.9, -0.2, -0.8, -3.5)
# Parts that are less sure to touch are not pulled together.
LEAST_SHARE = 0.01
# Probability per frame time that touching hands part, and that separate hands meet.
_CHANGE = 0.02


@dataclass(frozen=True)
class Contact:
    """Contact in P pairs of hand frames.

    hands (P,): probability that they touch. pair (Q,): those of the pairs, increasing, in which parts may be pulled
    together; of these: parts (Q, C, C), the probability that left and right capsules touch, however far apart they are;
    outlines (Q, C, C), the certainty that they meet in the picture, of which the nearest touch; None where the contact
    network read the parts.
    """

    hands: Floats
    pair: Indices
    parts: NDArray[np.floating]
    outlines: NDArray[np.floating] | None

    @staticmethod
    def of(
        hands: Floats, parts: NDArray[np.floating], outlines: NDArray[np.floating] | None = None
    ) -> "Contact":
        """The contact of hands (P,) with the parts and outlines (P, C, C) of all pairs."""
        surest = parts.max((1, 2))
        if outlines is not None:
            surest = np.maximum(surest, outlines.max((1, 2)))
        pair = np.flatnonzero(surest * hands > LEAST_SHARE)
        return Contact(hands, pair, parts[pair], None if outlines is None else outlines[pair])

    def of_all(self, values: NDArray[np.floating]) -> Floats:
        """Parts or outlines (P, C, C) of all pairs."""
        whole = np.zeros((len(self.hands), *values.shape[1:]))
        whole[self.pair] = values
        return whole

    def take(self, rows: Indices) -> "Contact":
        """The pairs of the given indices, increasing."""
        own = np.isin(self.pair, rows)
        pair = np.searchsorted(rows, self.pair[own])
        outlines = None if self.outlines is None else self.outlines[own]
        return Contact(self.hands[rows], pair, self.parts[own], outlines)


@dataclass(frozen=True)
class Outlines:
    """P pairs of hands as the picture shows them, at one depth.

    flat_m: capsules' ends (P, C, 2, 3) of left and right. gap_m (P, C, C): between the outlines of each two. behind_m
    (P, C, C): how much farther away the left one is there.
    """

    flat_m: tuple[Floats, Floats]
    gap_m: Floats
    behind_m: Floats


def find_contact(
    shape: ShotShape, seen: Observations, state: HandState, capsules: Capsules, settings: SolveSettings
) -> Contact:
    """The contact of the pairs of hand frames, from a fit of every frame on its own."""
    left, right = pairs(seen)
    size, by_network = len(capsules.ends), load_contact_network() is not None
    log_odds = np.zeros(len(left))
    parts, outlines = (np.zeros((len(left), size, size), np.float32) for _ in range(2))
    for window in windows_of(seen.frame, settings):
        inside = np.zeros(len(seen), bool)
        inside[window.rows] = True
        part = seen.of_frames(inside)
        posed = pose_points(shape.parameterisation, part.side, state.take(window.rows))
        own = window.own[pairs(part)[0]]
        at = np.flatnonzero(inside[left])[own]
        log_odds[at], parts[at], met = (values[own] for values in _in_window(part, posed, capsules))
        if not by_network:
            outlines[at] = met
    # A hand without landmarks of its own is where its motion leads, which tells nothing of whether it touches.
    log_odds *= seen.seen[left] & seen.seen[right]
    hands = _through_time(log_odds, np.diff(seen.frame[left]) == 1)
    return Contact.of(hands, parts, None if by_network else outlines)


def _in_window(seen: Observations, posed: PosedPoints, capsules: Capsules) -> tuple[Floats, Floats, Floats]:
    """Of pairs (P,): log odds of touching by frame, parts and outlines (P, C, C) as in `Contact`."""
    left, right = pairs(seen)
    run = unbroken_runs(seen.frame[left])
    first, second = (capsules.ends_m(posed.points_m[at, JOINTS]) for at in (left, right))
    depths = posed.state.image_depth[left, 2], posed.state.image_depth[right, 2]
    view = seen_at_one_depth(first, second, (depths[0] + depths[1]) / 2, capsules)
    outlines = probability((_MEET_M - view.gap_m) / (_MEET_M / 2))
    features = _features(view, outlines, depths, run, capsules)
    network = load_contact_network()
    if network is None or not len(left):
        return features @ np.array(_LOG_ODDS_BY_OUTLINES), _meeting_tips(*view.flat_m, run), outlines
    parts = _touching_parts(network, seen, posed, capsules, left, right)
    surest = np.clip(parts.max((1, 2)), -_SUREST, _SUREST)
    apart = averaged(_placed_apart_m(seen, posed, left, right), run, _PLACED_REACH) / _PLACED_M
    features = np.column_stack([features, surest, np.minimum(apart, 2) ** 2])
    log_odds = features @ np.array(_LOG_ODDS)
    return log_odds, probability(averaged(parts, run, _PARTS_REACH)), outlines


def _placed_apart_m(seen: Observations, posed: PosedPoints, left: Indices, right: Indices) -> Floats:
    """(P,) distance of the nearest joints of two hands with the two-hand network's offset between their wrists.

    The offset is taken as a share of the distance, as in network_offset.
    """
    network = seen.network
    if network is None:
        return np.full(len(left), _USUALLY_M)
    own_m, theirs_m = (
        (wrist_m[left, 2] + wrist_m[right, 2]) / 2 for wrist_m in (posed.state.wrist_m, network.wrist_m)
    )
    offset_m = network.from_other_m[right] * (own_m / np.maximum(theirs_m, 0.05))[:, None]
    joints_m = posed.points_m[:, JOINTS] - posed.state.wrist_m[:, None]
    nearest_m = _least_distance(joints_m[left], joints_m[right] + offset_m[:, None])
    known = np.minimum(network.confidence[left], network.confidence[right]) > 0
    return np.where(known, nearest_m, _USUALLY_M)


def _least_distance(first: Floats, second: Floats) -> Floats:
    """(P,) distance of the two nearest of points (P, n, 3) and (P, m, 3)."""
    apart = first @ np.swapaxes(second, 1, 2)
    apart *= -2
    apart += (first * first).sum(-1)[:, :, None]
    apart += (second * second).sum(-1)[:, None]
    return np.sqrt(np.maximum(apart.min((1, 2)), 0))


def _touching_parts(
    network: ContactNetwork,
    seen: Observations,
    posed: PosedPoints,
    capsules: Capsules,
    left: Indices,
    right: Indices,
) -> Floats:
    """(P, C, C) log odds that the capsules touch, for each frame on its own."""
    joints_m = np.stack([posed.points_m[at, JOINTS] for at in (left, right)], 1)
    score = np.stack([seen.score[at].mean(-1) for at in (left, right)], 1)
    if seen.network is None:
        offset_m, confidence = np.zeros_like(joints_m[:, 0, 0]), np.zeros_like(score)
    else:
        offset_m = seen.network.from_other_m[right]
        confidence = np.stack([seen.network.confidence[at] for at in (left, right)], 1)
    fitted = FittedPairs(joints_m, np.maximum(score, _LEAST_SCORE), offset_m, confidence)
    return touching_log_odds(network, fitted, capsules)


def _features(
    view: Outlines, outlines: Floats, depths: tuple[Floats, Floats], run: Indices, capsules: Capsules
) -> Floats:
    """(P, 5) features for and against touching, the first of _LOG_ODDS. depths: left and right, logarithms (P,)."""
    gap_m, flat = view.gap_m, view.flat_m
    middle, apart = (depths[0] + depths[1]) / 2, depths[0] - depths[1]
    # Where the outlines meet, with the smoothed difference in depth between the hands.
    smoothed = averaged(apart, run, _DEPTH_REACH)
    behind = view.behind_m + ((smoothed - apart) * np.exp(middle))[:, None, None]
    reach_m = capsules.radii_m[0][:, None] + capsules.radii_m[1]
    excess = np.maximum(np.abs(behind) - reach_m, 0) / (_DEPTH_SIGMA * np.exp(middle))[:, None, None]
    nearest = np.where(outlines > 0.5, excess, 3.0).min((1, 2))
    centre = (flat[1].mean((1, 2)) - flat[0].mean((1, 2)))[:, :2]
    features = [
        np.ones_like(middle),
        np.clip(gap_m.min((1, 2)), 0, 0.03) / 0.006,
        np.minimum(nearest, 3) ** 2,
        np.sqrt((gap_m < -_MEET_M).mean((1, 2))),
        np.log1p(_speed(centre, run) / 0.004),
    ]
    return np.stack(features, 1)


def seen_at_one_depth(first: Floats, second: Floats, log_depth: Floats, capsules: Capsules) -> Outlines:
    """The outlines of left and right capsules (P, C, 2, 3) at depths (P,)."""
    flat = _at_depth(first, log_depth), _at_depth(second, log_depth)
    nearest = nearest_points(*flat, capsules)
    return Outlines(flat, nearest.gap_m, nearest.behind_m(first, second))


def _meeting_tips(first: Floats, second: Floats, run: Indices) -> Floats:
    """(P, C, C) certainty that fingertips of the same finger meet, from capsules (P, C, 2, 3)
    at one depth; 0 for other parts.
    """
    apart_m = lengths((first - second)[:, TIP_CAPSULES, 1])
    meet = np.exp(-0.5 * (apart_m / _TIPS_MEET_M) ** 2)
    together = averaged(meet.sum(1), run, _DEPTH_REACH)
    out = np.zeros((len(first), first.shape[1], first.shape[1]))
    out[:, TIP_CAPSULES, TIP_CAPSULES] = meet * probability((together - _TIPS_TOGETHER) / 0.12)[:, None]
    return out


def _at_depth(ends_m: Floats, log_depth: Floats) -> Floats:
    """(P, C, 2, 3) capsules' ends moved along their rays to one depth: the picture, in metres."""
    return ends_m * (np.exp(log_depth)[:, None, None, None] / np.maximum(ends_m[..., 2:], 0.05))


def unbroken_runs(frame: Indices) -> Indices:
    """(P,) a number for each run of frames (P,) that follow each other."""
    return np.cumsum(np.diff(frame, prepend=frame[:1] - 1) != 1)


def averaged(values: Floats, run: Indices, reach: int) -> Floats:
    """(P, ...) means over the neighbours within an unbroken run."""
    total, weight = values.copy(), np.ones(len(values))
    for shift in range(1, min(reach, len(values) - 1) + 1):
        same = run[shift:] == run[:-shift]
        wide = same.reshape(-1, *[1] * (values.ndim - 1))
        for here, there in ((slice(shift, None), slice(-shift)), (slice(-shift), slice(shift, None))):
            total[here] += values[there] * wide
            weight[here] += same
    return total / weight.reshape(-1, *[1] * (values.ndim - 1))


def _speed(centre_m: Floats, run: Indices) -> Floats:
    """(P,) metres per frame at which the hands move relative to each other across the picture, averaged."""
    if len(centre_m) < 2:
        return np.zeros(len(centre_m))
    step = np.diff(centre_m, axis=0, append=centre_m[-1:])
    step[:-1][run[1:] != run[:-1]] = 0
    return lengths(averaged(step, run, _MOTION_REACH))


def _through_time(log_odds: Floats, follows: Flags) -> Floats:
    """(P,) smoothed probabilities of a two-state chain, by a forward and a backward pass over P - 1 steps."""
    touches, linked = probability(log_odds).tolist(), follows.tolist()

    def passed(values: list[float], links: list[bool]) -> list[float]:
        """The forward messages from the frames before each."""
        out, known = [], 0.5
        for k, value in enumerate(values):
            known = known * (1 - _CHANGE) + (1 - known) * _CHANGE if k and links[k - 1] else 0.5
            out.append(known)
            yes, no = known * value, (1 - known) * (1 - value)
            known = yes / max(yes + no, 1e-12)
        return out

    before = passed(touches, linked)
    after = passed(touches[::-1], linked[::-1])[::-1]
    joint = [(a * b * c, (1 - a) * (1 - b) * (1 - c)) for a, b, c in zip(before, touches, after, strict=True)]
    return np.array([yes / max(yes + no, 1e-12) for yes, no in joint])
