# SPDX-License-Identifier: GPL-3.0-or-later
"""The shot solve: all evidence of a shot combined into one smooth, metric motion of both hands.

First one shape per hand. Then every frame on its own (single_frame), gaps interpolated, contact found, and all
frames together by Gauss-Newton (joint_fit): a frame's two hands are one block, and each iteration is a banded Cholesky
factorisation. What takes much memory is computed window by window (windows). Evidence, poses and contact, some
ten kilobytes a frame, are kept for the whole shot, so that the result does not depend on where a long shot is cut.
Derivatives are exact and analytic (parameterisation), 10 to 20 times as fast as automatic ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.anchor import Anchor
from inference_core.fitting.arrays import Flags, Floats
from inference_core.fitting.confidence import (
    confidence_features,
    distance_confidence,
    frame_confidence,
    pose_confidence,
)
from inference_core.fitting.joint_fit import FROM_AFAR, Pace, fit_shot
from inference_core.fitting.landmark_terms import reprojection_px
from inference_core.fitting.observations import (
    Observations,
    gather,
    judged_by_scores,
    pairs,
    usable_presence,
)
from inference_core.fitting.parameterisation import HandState, pose_points
from inference_core.fitting.polish import taken_apart
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.shot_record import ShotRecord, SolvedFrames
from inference_core.fitting.shot_start import ShotStart, shot_start
from inference_core.fitting.single_frame import ShotShape, estimate_shape, well_seen
from inference_core.fitting.skin import fit_skin
from inference_core.fitting.solution import ShotSolution
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
    present = usable_presence(tracks, predictions)
    shape = _shot_shape(hand_model, tracks, camera, times, settings.hand_length_mm)
    evidence = Evidence(tracks, predictions, present, camera, times)
    return solve_evidence(hand_model, shape, evidence, settings, progress=progress)


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

    def observations(self, shape: ShotShape) -> Observations:
        """The hand frames' observations."""
        seen = gather(
            self.tracks,
            self.network,
            self.present,
            self.camera,
            self.times,
            shape.parameterisation.axes,
            range(len(self.times)),
        )
        return judged_by_scores(seen)


def solve_evidence(
    model: HandModel,
    shape: ShotShape,
    evidence: Evidence,
    settings: SolveSettings,
    progress: Progress | None = None,
) -> ShotSolution:
    """Both hands of the given shape in all frames."""
    count = len(evidence.times)

    def tell(done: float) -> None:
        if progress is not None:
            progress(SOLVE, int(done * count), count)

    def after_step(done: int, most: int) -> None:
        tell(_EACH_FRAME + (1 - _EACH_FRAME) * done / most)

    tell(0.0)

    # A function, so that what they are solved from is let go before the record is made.
    def solved_frames() -> SolvedFrames:
        start = shot_start(model, shape, seen, settings, tell=lambda done: tell(_EACH_FRAME * done))
        solved = solved_together(model, shape, start, settings, after_step=after_step)
        return judged(shape, start, solved, settings)

    seen = evidence.observations(shape)
    frames = solved_frames() if len(seen) else None
    record = ShotRecord(evidence.present, shape)
    if frames is not None:
        record.add(seen, frames)
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


def solved_together(
    model: HandModel,
    shape: ShotShape,
    start: ShotStart,
    settings: SolveSettings,
    held: Flags | None = None,
    pace: Pace = FROM_AFAR,
    after_step: Callable[[int, int], None] | None = None,
    anchor: Anchor | None = None,
) -> HandState:
    """The hand frames solved together and, where hands intersect, taken apart. The last four as in fit_shot."""
    seen, capsules, contact = start.seen, start.capsules, start.contact
    solved = fit_shot(
        shape,
        seen,
        start.state,
        capsules,
        contact,
        settings,
        held=held,
        pace=pace,
        after_step=after_step,
        anchor=anchor,
    )
    if capsules is None or contact is None:
        return solved
    skin = fit_skin(model, shape.parameterisation, capsules)
    return taken_apart(shape, seen, solved, capsules, contact, settings, skin, held, anchor)


def judged(shape: ShotShape, start: ShotStart, solved: HandState, settings: SolveSettings) -> SolvedFrames:
    """The solved hand frames with their confidences and reprojection errors."""
    seen, held = start.seen, start.held
    touching = np.zeros(len(seen))
    if start.contact is not None:
        for hands in pairs(seen):
            touching[hands] = start.contact.hands
    windows, found = windows_of(seen.frame, settings), list[Floats]()
    for window in windows:
        rows = window.rows
        own = seen.take(rows)
        posed = pose_points(shape.parameterisation, own.side, solved.take(rows))
        error_px = np.where(own.seen, reprojection_px(own, posed).mean(-1), np.nan)
        features, known = confidence_features(own, posed, error_px), own.network is not None
        found.append(
            np.stack(
                [
                    frame_confidence(own, held[rows], posed, error_px),
                    pose_confidence(features, known),
                    distance_confidence(features, known),
                    error_px,
                ],
                1,
            )[window.own]
        )
    whole, pose, distance, error_px = gathered(windows, found).T
    jumped = start.jumped & seen.seen
    return SolvedFrames(start.raw, solved, jumped, whole, pose, distance, error_px, touching)
