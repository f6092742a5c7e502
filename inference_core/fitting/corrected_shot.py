# SPDX-License-Identifier: GPL-3.0-or-later
"""A range of a solved shot after corrections: it starts from the shot's motion, and only corrections move it.

A solve that began anew would not come out where it did: taking skins apart magnifies the smallest difference, evidence
is stored rounded, and another version of the solver reads it differently. So the shot's motion is made the solution of
the problem without the corrections (anchor): where these change nothing it stays as it is, even if it fits the evidence
badly. Frames outside the range are held.
"""

from dataclasses import dataclass

import numpy as np

from inference_core.fitting.anchor import Anchor, together
from inference_core.fitting.arrays import Flags, Floats, Indices
from inference_core.fitting.joint_fit import Pace, terms_at
from inference_core.fitting.observations import Observations, pairs
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.shot import Evidence, judged, solved_together
from inference_core.fitting.shot_record import ShotRecord
from inference_core.fitting.shot_start import ShotStart, shot_start
from inference_core.fitting.single_frame import ShotShape
from inference_core.fitting.solution import ShotSolution
from inference_core.fitting.solve_constraints import HARD_PIN, SolveConstraints, doubted, trusted
from inference_core.hand_model.hand import HandModel
from inference_core.shared.messages import Progress
from inference_core.shared.stages import SOLVE

# Frames on either side of the range that are held, and lead to it.
_HELD_FRAMES = 4
# Most hand frames are where they were: those that a correction moves are to settle too.
_PACE = Pace(30, 1e-3, 1e-4, 0.98)
_STAGES = 4


@dataclass(frozen=True)
class Stated:
    """What is known of T frames."""

    evidence: Evidence
    constraints: SolveConstraints


def corrected_shot(
    model: HandModel,
    shape: ShotShape,
    before: Stated,
    after: Stated,
    rows: range,
    settings: SolveSettings,
    progress: Progress | None = None,
) -> ShotSolution:
    """The T frames, of which only `rows` are solved: from the motion in the constraints, the solution of `before`."""
    count = len(rows)

    def tell(done: int) -> None:
        if progress is not None:
            progress(SOLVE, done * count // _STAGES, count)

    record = ShotRecord(after.evidence.present, shape)
    tell(0)
    old = _start(model, shape, before, rows, settings)
    tell(1)
    new = _start(model, shape, after, rows, settings)
    tell(2)
    if len(new.seen):
        anchor = _anchor(shape, old, new, doubted(new.seen, after.constraints), settings)
        held = ~_near(new.seen.frame, rows, 0) | (trusted(new.seen, after.constraints) >= HARD_PIN)
        solved = solved_together(model, shape, new, settings, held, _PACE, anchor=anchor)
        record.add(new.seen, judged(shape, new, solved, settings))
    tell(_STAGES)
    return record.solution(model)


def _start(
    model: HandModel, shape: ShotShape, stated: Stated, rows: range, settings: SolveSettings
) -> ShotStart:
    """The hand frames in the rows and beside them."""
    seen = stated.evidence.observations(shape)
    start = shot_start(model, shape, seen, settings, stated.constraints)
    return start.of_frames(_near(seen.frame, rows, _HELD_FRAMES))


def _near(frame: Indices, rows: range, reach: int) -> Flags:
    """(N,) bool: in the rows or at most this many frames beside them."""
    return (frame >= rows.start - reach) & (frame < rows.stop + reach)


def _anchor(
    shape: ShotShape, old: ShotStart, new: ShotStart, doubt: Floats, settings: SolveSettings
) -> Anchor:
    """The anchor of the new hand frames; without force where the motion does not come from the old ones. doubt (N,):
    how much less their observations are believed.
    """
    same = _matching(old.seen, new.seen)
    before, now = (
        terms_at(shape, start.seen, start.motion, start.capsules, start.contact, settings)
        for start in (old, new)
    )
    inner, motion = before.inner[same], before.motion[same]
    fresh = (same < 0) | new.fresh
    smooth = ~_of_both(new.seen, fresh | now.differ(now.motion, motion))
    renewed = ~smooth | _of_both(new.seen, now.differ(now.inner, inner))
    force = np.where(fresh[:, None], 0.0, (doubt[:, None] - 1) * inner)
    left = pairs(new.seen)[0]
    known = together(len(left), now.own.shape[1]) * smooth[left][:, None, None, None, None]
    own = np.where(renewed[:, None, None], 0.0, now.own)
    of_pairs = np.where(renewed[left][:, None, None, None, None], known, now.of_pairs)
    return Anchor(new.motion, renewed, smooth, force, own, of_pairs)


def _of_both(seen: Observations, chosen: Flags) -> Flags:
    """(N,) bool: chosen (N,), or the other hand of the frame is."""
    return chosen | (chosen[np.maximum(seen.other, 0)] & (seen.other >= 0))


def _matching(old: Observations, new: Observations) -> Indices:
    """(N,) index of the same hand's frame among the old ones, -1 where there is none."""
    index = {key: at for at, key in enumerate(zip(old.side.tolist(), old.frame.tolist(), strict=True))}
    keys = zip(new.side.tolist(), new.frame.tolist(), strict=True)
    return np.array([index.get(key, -1) for key in keys], np.int64)
