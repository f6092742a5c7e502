# SPDX-License-Identifier: GPL-3.0-or-later
"""Separates hands that intersect too deeply, along their skins, after the joint fit."""

import torch
from torch import Tensor

from inference_core.fitting.capsules import Capsules
from inference_core.fitting.contact import Contact, unbroken_runs
from inference_core.fitting.interaction import HardSkin, hand_pairs
from inference_core.fitting.joint_fit import fit_shot
from inference_core.fitting.observations import Observations, pairs
from inference_core.fitting.parameterisation import HandState, pose_points
from inference_core.fitting.residuals import JOINTS
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.single_frame import ShotShape
from inference_core.fitting.skin import Overlaps, PlaceFinder, Places, Skin, beside
from inference_core.fitting.windows import windows_of

# Sigmas of what lies too deep, round by round, and the steps of each; done when nothing lies deeper than this.
_HARDER_M, _STEPS, _DEEP_M = (0.001, 0.0005, 0.0003, 0.0002, 0.0002, 0.0002), 5, 0.005
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
) -> HandState:
    """The fitted state, with hands separated where they intersect more deeply than skin yields."""
    frame = seen.frame[pairs(seen)[0]]
    places: Places = {}
    finder = PlaceFinder(skin, shape.parameterisation, unbroken_runs(frame))
    for sigma_m in _HARDER_M:
        found = _found(finder, shape, seen, state, capsules, settings)
        deep = [row for row, of in found.items() if any(place.depth_m > _DEEP_M for place in of.values())]
        if not deep:
            return state
        # A place that was found before may not close up again.
        places |= {row: places.get(row, {}) | of for row, of in found.items()}
        part, held = (_within(seen.frame, frame[deep], reach) for reach in (_WITH_IT + _HOLD_IT, _WITH_IT))
        rows = _within(frame, frame[deep], _WITH_IT + _HOLD_IT).nonzero()[:, 0]
        there = {at: places.get(row, {}) for at, row in enumerate(rows.tolist())}
        hard = HardSkin(Overlaps.of(skin, there, len(rows)), sigma_m)
        at, own, here = part.nonzero()[:, 0], seen.of_frames(part), contact.take(rows)
        moved = fit_shot(shape, own, state.take(at), capsules, here, settings, hard, ~held[at], _STEPS)
        state = state.put(at, moved)
    return state


def _found(
    finder: PlaceFinder,
    shape: ShotShape,
    seen: Observations,
    state: HandState,
    capsules: Capsules,
    settings: SolveSettings,
) -> Places:
    """The intersections of all pairs whose capsules overlap."""
    hands = pairs(seen)
    joints_m = tuple(torch.zeros(len(hands[0]), 21, 3).double() for _ in hands)
    near, nearby = [torch.zeros(0).long()], list[Tensor]()
    for window in windows_of(seen.frame, settings):
        own = torch.zeros(len(seen)).bool().index_fill(0, window.rows[window.own], True)
        of_shot = own[hands[0]].nonzero()[:, 0]
        posed = pose_points(shape.parameterisation, seen.side[own], state.take(own.nonzero()[:, 0]))
        here = hand_pairs(seen.of_frames(own), posed, capsules, None)
        for kept, rows in zip(joints_m, (here.left, here.right), strict=True):
            kept[of_shot] = posed.points_m[rows, JOINTS]
        if here.nearest is not None:
            meet = here.nearest.gap_m.flatten(1).amin(1) < _NEAR_M
            near.append(of_shot[here.near[meet]])
            nearby.append(beside(here.nearest.gap_m[meet]))
    if not nearby:
        return {}
    states = state.take(hands[0]), state.take(hands[1])
    return finder.find(states, (joints_m[0], joints_m[1]), torch.cat(near), torch.cat(nearby))


def _within(frame: Tensor, deep: Tensor, reach: int) -> Tensor:
    """(N,) bool: frames that are at most this far from a deep one."""
    return ((frame[:, None] - deep).abs() <= reach).any(1)
