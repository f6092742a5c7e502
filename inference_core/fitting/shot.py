# SPDX-License-Identifier: GPL-3.0-or-later
"""The shot solve: all evidence of a shot combined into one smooth, metric motion of both hands.

First one shape per hand. Then every frame on its own (single_frame), gaps interpolated, contact found, and all
frames together by Gauss-Newton (joint_fit): a frame's two hands are one block, and each iteration is a banded Cholesky
factorisation. What takes much memory is computed window by window (windows). Evidence, poses and contact, some
thirty kilobytes a frame, are kept for the whole shot, so that the result does not depend on where a long shot is cut.
Derivatives are exact and analytic (parameterisation), 10 to 20 times as fast as automatic ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.fitting.capsules import fit_capsules
from inference_core.fitting.confidence import (
    confidence_features,
    distance_confidence,
    frame_confidence,
    pose_confidence,
)
from inference_core.fitting.contact import Contact, find_contact
from inference_core.fitting.contact_constraints import with_contact_constraints
from inference_core.fitting.gaps import interpolate_gaps
from inference_core.fitting.glitches import distrusted, glitches
from inference_core.fitting.joint_fit import fit_shot
from inference_core.fitting.observations import (
    Observations,
    gather,
    judged_by_scores,
    pairs,
    usable_presence,
)
from inference_core.fitting.parameterisation import HandState, pose_points
from inference_core.fitting.polish import taken_apart
from inference_core.fitting.residuals import reprojection_px
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.shot_record import ShotRecord, SolvedFrames
from inference_core.fitting.single_frame import (
    ShotShape,
    estimate_shape,
    fit_frames,
    start_state,
    well_seen,
)
from inference_core.fitting.skin import fit_skin
from inference_core.fitting.solution import ShotSolution
from inference_core.fitting.solve_constraints import SolveConstraints, doubted, with_pinned_poses
from inference_core.fitting.windows import gathered, windows_of
from inference_core.geometry.camera import Camera
from inference_core.hand_model.hand import HandModel
from inference_core.shared.errors import RequestError
from inference_core.shared.messages import Progress
from inference_core.shared.stages import SOLVE
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.two_hand.predictions import TwoHandPredictions

# The share of the work that the frames on their own are, for the progress.
_EACH_FRAME = 0.4


def solve_shot(
    tracks: HandTracks,
    camera: Camera,
    time_s: NDArray[np.float64],
    hand_model: HandModel,
    settings: SolveSettings | None = None,
    predictions: TwoHandPredictions | None = None,
    progress: Progress | None = None,
) -> ShotSolution:
    """Both hands through the whole shot, in the camera's metres.

    time_s (T,): increasing, seconds. predictions: a further source, weighted by its confidence. Deterministic. Raises
    RequestError if time stamps and tracks do not match.
    """
    times = frame_times(time_s, len(tracks.present))
    settings = settings or SolveSettings()
    if progress is not None:
        progress(SOLVE, 0, len(times))
    model = hand_model.to("cpu", torch.float64)
    present = usable_presence(tracks, predictions)
    with torch.no_grad():
        shape = _shot_shape(model, tracks, camera, times, settings.hand_length_mm)
    evidence = Evidence(tracks, predictions, present, camera, times)
    return solve_evidence(model, shape, evidence, settings, progress=progress)


@dataclass(frozen=True)
class Evidence:
    """The evidence of T frames. present (T, S): as far as the solve can provide it.
    times (T,): in median frame times.
    """

    tracks: HandTracks
    network: TwoHandPredictions | None
    present: NDArray[np.uint8]
    camera: Camera
    times: NDArray[np.float64]


def solve_evidence(
    model: HandModel,
    shape: ShotShape,
    evidence: Evidence,
    settings: SolveSettings,
    constraints: SolveConstraints | None = None,
    progress: Progress | None = None,
) -> ShotSolution:
    """Both hands of the given shape in all frames. model: float64, on the CPU."""
    count, axes = len(evidence.times), shape.parameterisation.axes

    def tell(done: float) -> None:
        if progress is not None:
            progress(SOLVE, int(done * count), count)

    tell(0.0)
    with torch.no_grad():
        record = ShotRecord(evidence.present, shape)
        tracks, network, present = evidence.tracks, evidence.network, evidence.present
        seen = gather(tracks, network, present, evidence.camera, evidence.times, axes, range(count))
        if len(seen):
            solve = _Solve(model, shape, settings, constraints, tell)
            record.add(seen, solve.solved(judged_by_scores(seen)))
        tell(1.0)
        return record.solution(model)


def frame_times(time_s: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """(T,) times in units of the median frame time."""
    time_s = np.asarray(time_s, np.float64)
    if time_s.shape != (count,):
        raise RequestError(
            f"{count} frames of landmarks came with {time_s.shape} time stamps; give one per frame."
        )
    steps = np.diff(time_s)
    if not np.isfinite(time_s).all() or (steps <= 0).any():
        raise RequestError("The frames' time stamps must increase; read the footage again.")
    return (time_s - time_s[:1]) / (np.median(steps) if count > 1 else 1.0)


def _shot_shape(
    model: HandModel,
    tracks: HandTracks,
    camera: Camera,
    times: NDArray[np.float64],
    hand_length_mm: float | None,
) -> ShotShape:
    chosen = well_seen(tracks)
    everything = range(len(times))
    seen = gather(tracks, None, chosen, camera, times, model.joint_axes, everything)
    return estimate_shape(model, seen, hand_length_mm)


@dataclass(frozen=True)
class _Solve:
    """How a shot is solved. model: float64, on the CPU. tell: takes the share that is done, 0..1."""

    model: HandModel
    shape: ShotShape
    settings: SolveSettings
    constraints: SolveConstraints | None
    tell: Callable[[float], None]

    def solved(self, seen: Observations) -> SolvedFrames:
        """The hand frames, solved together."""
        shape, constraints = self.shape, self.constraints
        held = seen.seen if seen.network is None else seen.seen | (seen.network.confidence > 0)
        raw = interpolate_gaps(seen, held, self._each_frame(seen))
        jumped = glitches(shape.parameterisation, seen, raw)
        pinned, pinned_state = torch.zeros(len(seen)).bool(), raw
        if constraints is not None:
            seen, pinned_state, pinned = with_pinned_poses(shape, seen, constraints)
            jumped &= ~pinned
            held &= doubted(seen, constraints) == 0
        seen, start = (
            distrusted(seen, jumped),
            interpolate_gaps(seen, pinned | held & ~jumped, pinned_state.where(pinned, raw)),
        )
        seen, solved, contact = self._together(seen, start)
        touching = torch.zeros(len(seen)).double()
        if contact is not None:
            for hands in pairs(seen):
                touching[hands] = contact.hands
        whole, pose, distance, error_px = self._judged(seen, held, solved)
        return SolvedFrames(raw, solved, jumped & seen.seen, whole, pose, distance, error_px, touching)

    def _each_frame(self, seen: Observations) -> HandState:
        """Every hand frame on its own; fitted unless an earlier solve provides it."""
        state, known = HandState.unknown(len(seen)), torch.zeros(len(seen)).bool()
        if self.constraints is not None:
            state, known = self.constraints.raw.of(seen, self.shape.parameterisation)
        fresh = (~known).nonzero()[:, 0]
        for rows in fresh.split(2 * self.settings.window_frames):
            if len(rows):
                own = seen.take(rows)
                state = state.put(rows, fit_frames(self.shape, own, start_state(self.shape, own)))
                self.tell(_EACH_FRAME * (int(rows[-1]) + 1) / len(seen))
        return state

    def _together(
        self, seen: Observations, start: HandState
    ) -> tuple[Observations, HandState, Contact | None]:
        """The hand frames' evidence with the constraints on contact, their states solved together, and contact."""
        shape, settings = self.shape, self.settings
        capsules = contact = None
        if settings.contact:
            capsules = fit_capsules(self.model, shape.parameterisation)
            contact = find_contact(shape, seen, start, capsules, settings)
            if self.constraints is not None:
                seen, start, contact = with_contact_constraints(
                    shape.parameterisation, seen, start, capsules, contact, pairs(seen), self.constraints
                )

        def after_step(done: int, most: int) -> None:
            self.tell(_EACH_FRAME + (1 - _EACH_FRAME) * done / most)

        solved = fit_shot(shape, seen, start, capsules, contact, settings, after_step=after_step)
        if capsules is not None and contact is not None:
            skin = fit_skin(self.model, shape.parameterisation, capsules)
            solved = taken_apart(shape, seen, solved, capsules, contact, settings, skin)
        return seen, solved, contact

    def _judged(self, seen: Observations, held: Tensor, solved: HandState) -> tuple[Tensor, ...]:
        """(N,) each: the three confidences, and the mean reprojection error in pixels, NaN if unseen."""
        windows, found = windows_of(seen.frame, self.settings), list[Tensor]()
        for window in windows:
            rows = window.rows
            own = seen.take(rows)
            posed = pose_points(self.shape.parameterisation, own.side, solved.take(rows))
            error_px = torch.where(own.seen, reprojection_px(own, posed).mean(-1), torch.nan)
            features, known = confidence_features(own, posed, error_px), own.network is not None
            found.append(
                torch.stack(
                    [
                        frame_confidence(own, held[rows], posed, error_px),
                        pose_confidence(features, known),
                        distance_confidence(features, known),
                        error_px,
                    ],
                    1,
                )
            )
        return gathered(windows, found).unbind(1)
