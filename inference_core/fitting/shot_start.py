# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a shot's hand frames are solved together: every frame on its own, gaps interpolated, contact found."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from inference_core.fitting.arrays import Flags
from inference_core.fitting.capsules import Capsules, fit_capsules
from inference_core.fitting.contact import Contact, find_contact
from inference_core.fitting.contact_constraints import with_touches, without_denied
from inference_core.fitting.gaps import interpolate_gaps
from inference_core.fitting.glitches import distrusted, glitches
from inference_core.fitting.observations import Observations, pairs
from inference_core.fitting.parameterisation import HandState
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.single_frame import ShotShape, fit_frames, start_state
from inference_core.fitting.solve_constraints import SolveConstraints, doubted, with_pinned_poses
from inference_core.hand_model.hand import HandModel


@dataclass(frozen=True)
class ShotStart:
    """N hand frames before they are solved together.

    seen: with the constraints. state: where the solve starts. motion: of an earlier solve, state where `fresh` (N,) is
    true. raw: every frame on its own, gaps interpolated. held, jumped (N,) bool: has evidence of its own; its landmarks
    are not believed. contact: None ignores surfaces.
    """

    seen: Observations
    state: HandState
    motion: HandState
    fresh: Flags
    raw: HandState
    held: Flags
    jumped: Flags
    capsules: Capsules | None
    contact: Contact | None

    def of_frames(self, chosen: Flags) -> "ShotStart":
        """The chosen (N,) hand frames, both or neither of a frame."""
        at, of_pairs = np.flatnonzero(chosen), np.flatnonzero(chosen[pairs(self.seen)[0]])
        return ShotStart(
            self.seen.of_frames(chosen),
            self.state.take(at),
            self.motion.take(at),
            self.fresh[at],
            self.raw.take(at),
            self.held[at],
            self.jumped[at],
            self.capsules,
            None if self.contact is None else self.contact.take(of_pairs),
        )


def shot_start(
    model: HandModel,
    shape: ShotShape,
    seen: Observations,
    settings: SolveSettings,
    constraints: SolveConstraints | None = None,
    tell: Callable[[float], None] | None = None,
) -> ShotStart:
    """The hand frames ready to be solved together. tell: takes the share that is done, 0..1."""
    held = seen.seen if seen.network is None else seen.seen | (seen.network.confidence > 0)
    parameterisation, fresh = shape.parameterisation, np.ones(len(seen), bool)
    state = motion = HandState.unknown(len(seen))
    if constraints is not None:
        state, known = constraints.raw.of(seen, parameterisation)
        motion, there = constraints.motion.of(seen, parameterisation)
        fresh = ~(known & there)
    raw = interpolate_gaps(seen, held, _fitted(shape, seen, state, fresh, settings, tell))
    jumped = glitches(shape.parameterisation, seen, raw)
    pinned, pinned_state = np.zeros(len(seen), bool), raw
    if constraints is not None:
        seen, pinned_state, pinned = with_pinned_poses(shape, seen, constraints)
        jumped &= ~pinned
        held &= doubted(seen, constraints) == 0
    start = pinned_state.where(pinned, raw) if pinned.any() else raw
    seen, start = distrusted(seen, jumped), interpolate_gaps(seen, pinned | held & ~jumped, start)
    motion = start if fresh.all() else start.where(fresh, motion)
    if not settings.contact:
        return ShotStart(seen, motion, motion, fresh, raw, held, jumped, None, None)
    capsules = fit_capsules(model, parameterisation)
    contact, state = find_contact(shape, seen, start, capsules, settings), motion
    if constraints is not None:
        contact = without_denied(seen, contact, constraints)
        seen, _, contact = with_touches(parameterisation, seen, start, capsules, contact, constraints.met)
        seen, state, contact = with_touches(
            parameterisation, seen, motion, capsules, contact, constraints.touches
        )
    return ShotStart(seen, state, motion, fresh, raw, held, jumped, capsules, contact)


def _fitted(
    shape: ShotShape,
    seen: Observations,
    state: HandState,
    fresh: Flags,
    settings: SolveSettings,
    tell: Callable[[float], None] | None,
) -> HandState:
    """The state with its `fresh` (N,) hand frames fitted, each on its own."""
    todo, at_once = np.flatnonzero(fresh), 2 * settings.window_frames
    for start in range(0, len(todo), at_once):
        rows = todo[start : start + at_once]
        own = seen.take(rows)
        state = state.put(rows, fit_frames(shape, own, start_state(shape, own)))
        if tell is not None:
            tell((int(rows[-1]) + 1) / len(seen))
    return state
