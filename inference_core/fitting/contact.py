# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the two hands touch, inferred from the picture.

Each frame has a probability that the hands touch. Outlines that meet in the picture, depths that agree within their
uncertainty, and common motion increase it; outlines that slide past each other indicate hands that cross, as does a
two-hand network that places the hands apart. Temporal smoothing resolves ambiguous frames and those in which a hand is
lost, so a contact does not flicker. A small network reads which parts meet (contact_network); if its file is missing,
each frame's outlines decide.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from inference_core.fitting.capsules import Capsules, nearest_points
from inference_core.fitting.contact_network import (
    ContactNetwork,
    FittedPairs,
    load_contact_network,
    touching_log_odds,
)
from inference_core.fitting.observations import Observations, pairs
from inference_core.fitting.parameterisation import HandState, PosedPoints, pose_points
from inference_core.fitting.residuals import JOINTS
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.single_frame import ShotShape
from inference_core.fitting.windows import windows_of

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
# Probability per frame time that touching hands part, and that separate hands meet.
_CHANGE = 0.02


@dataclass(frozen=True)
class Contact:
    """Contact in P pairs of hand frames.

    hands (P,): probability that they touch. outlines (P, C, C): certainty that each left capsule meets
    each right one in the picture; of these the nearest touch. parts (P, C, C): probability that they
    touch, however far apart they are.
    """

    hands: Tensor
    outlines: Tensor
    parts: Tensor

    def take(self, rows: Tensor) -> "Contact":
        """The pairs of the given indices."""
        return Contact(self.hands[rows], self.outlines[rows], self.parts[rows])


@dataclass(frozen=True)
class Outlines:
    """P pairs of hands as the picture shows them, at one depth.

    flat_m: capsules' ends (P, C, 2, 3) of left and right. gap_m (P, C, C): between the outlines of each two. behind_m
    (P, C, C): how much farther away the left one is there.
    """

    flat_m: tuple[Tensor, Tensor]
    gap_m: Tensor
    behind_m: Tensor


def find_contact(
    shape: ShotShape, seen: Observations, state: HandState, capsules: Capsules, settings: SolveSettings
) -> Contact:
    """The contact of the pairs of hand frames, from a fit of every frame on its own."""
    left, right = pairs(seen)
    size = len(capsules.ends)
    log_odds = torch.zeros(len(left)).double()
    outlines, parts = (torch.zeros(len(left), size, size) for _ in range(2))
    for window in windows_of(seen.frame, settings):
        inside = torch.zeros(len(seen)).bool().index_fill(0, window.rows, True)
        posed = pose_points(shape.parameterisation, seen.side[inside], state.take(window.rows))
        found = _in_window(seen.of_frames(inside), posed, capsules)
        own = window.own[pairs(seen.of_frames(inside))[0]]
        at = inside[left].nonzero()[own, 0]
        for whole, values in zip((log_odds, outlines, parts), found, strict=True):
            whole[at] = values[own].to(whole)
    # A hand without landmarks of its own is where its motion leads, which tells nothing of whether it touches.
    log_odds = log_odds * (seen.seen[left] & seen.seen[right])
    return Contact(_through_time(log_odds, torch.diff(seen.frame[left]) == 1), outlines, parts)


def _in_window(seen: Observations, posed: PosedPoints, capsules: Capsules) -> tuple[Tensor, Tensor, Tensor]:
    """Of pairs (P,): log odds of touching by each frame, and `Contact`'s outlines and parts (P, C, C)."""
    left, right = pairs(seen)
    run = unbroken_runs(seen.frame[left])
    first, second = (capsules.ends_m(posed.points_m[at, JOINTS]) for at in (left, right))
    depths = posed.state.image_depth[left, 2], posed.state.image_depth[right, 2]
    view = seen_at_one_depth(first, second, (depths[0] + depths[1]) / 2, capsules)
    outlines = torch.sigmoid((_MEET_M - view.gap_m) / (_MEET_M / 2))
    features = _features(view, outlines, depths, run, capsules)
    network = load_contact_network()
    if network is None or not len(left):
        log_odds = features @ torch.tensor(_LOG_ODDS_BY_OUTLINES).double()
        return log_odds, outlines, _meeting_tips(*view.flat_m, run)
    parts = _touching_parts(network, seen, posed, capsules, left, right)
    surest = parts.flatten(1).amax(1).clamp(-_SUREST, _SUREST)
    apart = averaged(_placed_apart_m(seen, posed, left, right), run, _PLACED_REACH) / _PLACED_M
    features = torch.cat([features, surest[:, None], apart.clamp(max=2).square()[:, None]], 1)
    log_odds = features @ torch.tensor(_LOG_ODDS).double()
    return log_odds, torch.zeros_like(parts), torch.sigmoid(averaged(parts, run, _PARTS_REACH))


def _placed_apart_m(seen: Observations, posed: PosedPoints, left: Tensor, right: Tensor) -> Tensor:
    """(P,) distance of the nearest joints of two hands with the two-hand network's offset between their wrists.

    The offset is taken as a share of the distance, as in network_offset.
    """
    network = seen.network
    if network is None:
        return torch.full((len(left),), _USUALLY_M).double()
    own_m, theirs_m = (
        (wrist_m[left, 2] + wrist_m[right, 2]) / 2 for wrist_m in (posed.state.wrist_m, network.wrist_m)
    )
    offset_m = network.from_other_m[right] * (own_m / theirs_m.clamp(min=0.05))[:, None]
    joints_m = posed.points_m[:, JOINTS] - posed.state.wrist_m[:, None]
    nearest_m = torch.cdist(joints_m[left], joints_m[right] + offset_m[:, None]).flatten(1).amin(1)
    known = torch.minimum(network.confidence[left], network.confidence[right]) > 0
    return torch.where(known, nearest_m, _USUALLY_M)


def _touching_parts(
    network: ContactNetwork,
    seen: Observations,
    posed: PosedPoints,
    capsules: Capsules,
    left: Tensor,
    right: Tensor,
) -> Tensor:
    """(P, C, C) log odds that the capsules touch, for each frame on its own."""
    joints_m = torch.stack([posed.points_m[at, JOINTS] for at in (left, right)], 1)
    score = torch.stack([seen.score[at].mean(-1) for at in (left, right)], 1).clamp(min=_LEAST_SCORE)
    if seen.network is None:
        offset_m, confidence = torch.zeros_like(joints_m[:, 0, 0]), torch.zeros_like(score)
    else:
        offset_m = seen.network.from_other_m[right]
        confidence = torch.stack([seen.network.confidence[at] for at in (left, right)], 1)
    return touching_log_odds(network, FittedPairs(joints_m, score, offset_m, confidence), capsules)


def _features(
    view: Outlines, outlines: Tensor, depths: tuple[Tensor, Tensor], run: Tensor, capsules: Capsules
) -> Tensor:
    """(P, 5) features for and against touching, the first of _LOG_ODDS. depths: left and right, logarithms (P,)."""
    gap_m, flat = view.gap_m, view.flat_m
    middle, apart = (depths[0] + depths[1]) / 2, depths[0] - depths[1]
    # Where the outlines meet, with the smoothed difference in depth between the hands.
    smoothed = averaged(apart, run, _DEPTH_REACH)
    behind = view.behind_m + ((smoothed - apart) * middle.exp())[:, None, None]
    reach_m = capsules.radii_m[0][:, None] + capsules.radii_m[1]
    excess = (behind.abs() - reach_m).clamp(min=0) / (_DEPTH_SIGMA * middle.exp())[:, None, None]
    nearest = torch.where(outlines > 0.5, excess, 3.0).flatten(1).amin(1).clamp(max=3)
    centre = (flat[1].mean((1, 2)) - flat[0].mean((1, 2)))[:, :2]
    features = [
        torch.ones_like(middle),
        (gap_m.flatten(1).amin(1).clamp(0, 0.03)) / 0.006,
        nearest.square(),
        (gap_m < -_MEET_M).flatten(1).double().mean(1).sqrt(),
        torch.log1p(_speed(centre, run) / 0.004),
    ]
    return torch.stack(features, 1)


def seen_at_one_depth(first: Tensor, second: Tensor, log_depth: Tensor, capsules: Capsules) -> Outlines:
    """The outlines of left and right capsules (P, C, 2, 3) at depths (P,)."""
    flat = _at_depth(first, log_depth), _at_depth(second, log_depth)
    nearest = nearest_points(*flat, capsules)
    return Outlines(flat, nearest.gap_m, nearest.behind_m(first, second))


def _meeting_tips(first: Tensor, second: Tensor, run: Tensor) -> Tensor:
    """(P, C, C) certainty that fingertips of the same finger meet, from capsules (P, C, 2, 3)
    at one depth; 0 for other parts.
    """
    meet = torch.exp(-0.5 * ((first - second)[:, TIP_CAPSULES, 1].norm(dim=-1) / _TIPS_MEET_M).square())
    together = averaged(meet.sum(1), run, _DEPTH_REACH)
    out = torch.zeros(len(first), first.shape[1], first.shape[1]).double()
    out[:, TIP_CAPSULES, TIP_CAPSULES] = meet * torch.sigmoid((together - _TIPS_TOGETHER) / 0.12)[:, None]
    return out


def _at_depth(ends_m: Tensor, log_depth: Tensor) -> Tensor:
    """(P, C, 2, 3) capsules' ends moved along their rays to one depth: the picture, in metres."""
    return ends_m / ends_m[..., 2:].clamp(min=0.05) * log_depth.exp()[:, None, None, None]


def unbroken_runs(frame: Tensor) -> Tensor:
    """(P,) a number for each run of frames (P,) that follow each other."""
    return torch.diff(frame, prepend=frame[:1] - 1).ne(1).cumsum(0)


def averaged(values: Tensor, run: Tensor, reach: int) -> Tensor:
    """(P, ...) means over the neighbours within an unbroken run."""
    total, weight = torch.zeros_like(values), torch.zeros(len(values)).double()
    for shift in range(-reach, reach + 1):
        neighbour = (torch.arange(len(values)) + shift).clamp(0, max(len(values) - 1, 0))
        inside = ((run[neighbour] == run) & ((neighbour - torch.arange(len(values))) == shift)).double()
        total = total + values[neighbour] * inside.reshape(-1, *[1] * (values.dim() - 1))
        weight = weight + inside
    return total / weight.clamp(min=1).reshape(-1, *[1] * (values.dim() - 1))


def _speed(centre_m: Tensor, run: Tensor) -> Tensor:
    """(P,) metres per frame at which the hands move relative to each other across the picture, averaged."""
    if len(centre_m) < 2:
        return torch.zeros(len(centre_m)).double()
    step = torch.diff(centre_m, dim=0, append=centre_m[-1:])
    step[:-1][run[1:] != run[:-1]] = 0
    return averaged(step, run, _MOTION_REACH).norm(dim=-1)


def _through_time(log_odds: Tensor, follows: Tensor) -> Tensor:
    """(P,) smoothed probabilities of a two-state chain, by a forward and a backward pass over P - 1 steps."""
    touches = torch.sigmoid(log_odds).tolist()
    linked = follows.tolist()

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
    return torch.tensor([yes / max(yes + no, 1e-12) for yes, no in joint]).double()
