# SPDX-License-Identifier: GPL-3.0-or-later
"""Separates hands that intersect too deeply, along their skins, after the joint fit."""

import numpy as np

from inference_core.fitting.anchor import Anchor
from inference_core.fitting.arrays import Flags, Floats, Indices
from inference_core.fitting.capsules import Capsules
from inference_core.fitting.carried import carried
from inference_core.fitting.contact import Contact, unbroken_runs
from inference_core.fitting.interaction import HandPairs, HardSkin, hand_pairs
from inference_core.fitting.intersections import NearPairs, Overlaps, PlaceFinder, Places, beside
from inference_core.fitting.joint_fit import Pace, fit_shot
from inference_core.fitting.observations import Observations, pairs
from inference_core.fitting.parameterisation import JOINTS, HandState, pose_points
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.single_frame import ShotShape
from inference_core.fitting.skin import Skin
from inference_core.fitting.windows import windows_of

# Sigmas of what lies too deep, round by round; done when nothing lies deeper than this.
_HARDER_M, _DEEP_M = (0.001, 0.0005, 0.0003, *7 * (0.0002,)), 0.005
# Hands that stay deeper than this cannot be separated where they are.
_TOO_DEEP_M = 0.007
# More damping than of the fit itself: places hold for small moves only.
_PACE = Pace(8, 0.1, 0.01)
# Hands whose capsules keep this distance do not touch.
_NEAR_M = 0.0
# Frames this near to a deep one move with it; those beyond hold them, this many.
_WITH_IT, _HOLD_IT = 8, 4


def taken_apart(
    shape: ShotShape,
    seen: Observations,
    state: HandState,
    capsules: Capsules,
    contact: Contact,
    settings: SolveSettings,
    skin: Skin,
    held: Flags | None = None,
    anchor: Anchor | None = None,
) -> HandState:
    """The fitted state, with hands separated where they intersect more deeply than skin yields.

    Of each stretch of frames the best round counts: what leaves one finger may enter the next. In whole shots, pairs
    that stay too deep are replaced by those of frames beside them (carried). held, anchor: as in fit_shot; hands may
    intersect as deeply as at the anchor.
    """
    frame = seen.frame[pairs(seen)[0]]
    finder, places = PlaceFinder(skin, shape.parameterisation, unbroken_runs(frame)), Places.none()
    allowed_m = np.full(len(frame), _DEEP_M)
    if anchor is not None:
        found = _found(finder, shape, seen, anchor.state, capsules, settings)
        allowed_m = np.maximum(allowed_m, found.deepest_m(len(frame)))
    found = _found(finder, shape, seen, state, capsules, settings)
    fitted, best, excess_m = state, state, _excess_m(found, allowed_m)
    least_m = excess_m
    for sigma_m in _HARDER_M:
        deep = frame[excess_m > 0]
        if not len(deep):
            break
        # A place that was found before may not close up again.
        places = places.renewed(found)
        part, moves = (_within(seen.frame, deep, reach) for reach in (_WITH_IT + _HOLD_IT, _WITH_IT))
        if held is not None:
            moves &= ~held
        rows = np.flatnonzero(_within(frame, deep, _WITH_IT + _HOLD_IT))
        hard = HardSkin(Overlaps.of(places.of_pairs(rows), len(rows)), sigma_m)
        at, own, here = np.flatnonzero(part), seen.of_frames(part), contact.take(rows)
        there = None if anchor is None else anchor.take(at, rows)
        moved = fit_shot(
            shape, own, state.take(at), capsules, here, settings, hard, ~moves[at], _PACE, anchor=there
        )
        state = state.put(at, moved)
        found = _found(finder, shape, seen, state, capsules, settings)
        excess_m = _excess_m(found, allowed_m)
        better = rows[_improved(frame[rows], (least_m - excess_m)[rows])]
        best = state.where(np.isin(seen.frame, frame[better]), best)
        least_m = least_m.copy()
        least_m[better] = excess_m[better]
    too_deep = least_m > _TOO_DEEP_M - _DEEP_M
    if held is not None or anchor is not None or not too_deep.any():
        return best
    return carried(shape.parameterisation, seen, fitted, best, too_deep, least_m == 0)


def _improved(frame: Indices, gain_m: Floats) -> Flags:
    """(n,) bool: in a stretch of frames (n,) that gains in all."""
    stretch = unbroken_runs(frame)
    return np.bincount(stretch, gain_m)[stretch] > 0


def _excess_m(found: Places, allowed_m: Floats) -> Floats:
    """(P,) by how much the deepest intersection of each pair is deeper than allowed (P,)."""
    return np.maximum(found.deepest_m(len(allowed_m)) - allowed_m, 0)


def _found(
    finder: PlaceFinder,
    shape: ShotShape,
    seen: Observations,
    state: HandState,
    capsules: Capsules,
    settings: SolveSettings,
) -> Places:
    """The intersections of all pairs whose capsules overlap."""
    hands, near = pairs(seen), list[NearPairs]()
    for window in windows_of(seen.frame, settings):
        own = np.zeros(len(seen), bool)
        own[window.rows[window.own]] = True
        posed = pose_points(shape.parameterisation, seen.side[own], state.take(np.flatnonzero(own)))
        here = hand_pairs(seen.of_frames(own), posed, capsules, None)
        if here.nearest is not None:
            near.append(near_pairs(here, here.nearest.gap_m, np.flatnonzero(own[hands[0]])))
    return finder.find(state, hands, NearPairs.joined(near)) if near else Places.none()


def near_pairs(hands: HandPairs, gap_m: Floats, pair: Indices) -> NearPairs:
    """The hands whose capsules overlap; gap_m (n, C, C): of `hands.near`; pair (P,): the number of each."""
    meet = gap_m.min((1, 2)) < _NEAR_M
    at = hands.near[meet]
    joints_m = np.stack([hands.posed.points_m[rows[at], JOINTS] for rows in (hands.left, hands.right)], 1)
    return NearPairs(pair[at], joints_m, beside(gap_m[meet]))


def _within(frame: Indices, deep: Indices, reach: int) -> Flags:
    """(N,) bool: frames that are at most this far from a deep one; those increasing."""
    first = np.searchsorted(deep, frame - reach)
    return first < np.searchsorted(deep, frame + reach, side="right")
