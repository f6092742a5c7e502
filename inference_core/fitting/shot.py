# SPDX-License-Identifier: GPL-3.0-or-later
"""The shot solve: all evidence of a shot combined into one smooth, metric motion of both hands.

First one shape per hand. Then, window by window: every frame on its own (single_frame), gaps interpolated, and all
frames of the window together by Gauss-Newton (joint_fit): a frame's two hands are one block, and each iteration is
one banded Cholesky factorisation. The windows overlap and are crossfaded. Memory does not grow with the shot's
length. Derivatives are exact and analytic (parameterisation), 10 to 20 times as fast as automatic ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.fitting.capsules import Capsules, fit_capsules
from inference_core.fitting.confidence import (
    confidence_features,
    distance_confidence,
    frame_confidence,
    pose_confidence,
)
from inference_core.fitting.contact import find_contact
from inference_core.fitting.contact_constraints import with_contact_constraints
from inference_core.fitting.gaps import interpolate_gaps
from inference_core.fitting.glitches import distrusted, glitches
from inference_core.fitting.interaction import pairs
from inference_core.fitting.joint_fit import fit_shot
from inference_core.fitting.observations import Observations, gather, usable_presence, with_size_errors
from inference_core.fitting.parameterisation import HandState, pose_points
from inference_core.fitting.polish import taken_apart
from inference_core.fitting.residuals import reprojection_px
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.shot_record import ShotRecord, SolvedWindow
from inference_core.fitting.single_frame import (
    ShotShape,
    estimate_shape,
    fit_frames,
    start_state,
    well_seen,
)
from inference_core.fitting.skin import Skin, fit_skin
from inference_core.fitting.solution import ShotSolution
from inference_core.fitting.solve_constraints import SolveConstraints, doubted, with_pinned_poses
from inference_core.geometry.camera import Camera
from inference_core.hand_model.hand import HandModel
from inference_core.shared.errors import RequestError
from inference_core.shared.messages import Progress
from inference_core.shared.stages import SOLVE
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.two_hand.predictions import TwoHandPredictions


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
    """Both hands of the given shape in all frames, window by window. model: float64, on the CPU."""
    count, axes = len(evidence.times), shape.parameterisation.axes
    if progress is not None:
        progress(SOLVE, 0, count)
    with torch.no_grad():
        record = ShotRecord(evidence.present, shape)
        capsules = fit_capsules(model, shape.parameterisation) if settings.contact else None
        skin = None if capsules is None else fit_skin(model, shape.parameterisation, capsules)
        for frames in _windows(count, settings):
            seen = gather(
                evidence.tracks,
                evidence.network,
                evidence.present,
                evidence.camera,
                evidence.times,
                axes,
                frames,
            )
            if len(seen):
                seen = with_size_errors(seen)
                record.add(
                    seen, frames, _solve_window(shape, seen, capsules, skin, settings.smooth, constraints)
                )
            if progress is not None:
                progress(SOLVE, frames.stop, count)
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


def _windows(count: int, settings: SolveSettings) -> Iterator[range]:
    """Ranges of frames that overlap by overlap_frames."""
    start, stride = 0, settings.window_frames - settings.overlap_frames
    while start == 0 or start + settings.overlap_frames < count:
        yield range(start, min(start + settings.window_frames, count))
        start += stride


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


def _solve_window(
    shape: ShotShape,
    seen: Observations,
    capsules: Capsules | None,
    skin: Skin | None,
    smooth: float,
    constraints: SolveConstraints | None,
) -> SolvedWindow:
    held = seen.seen if seen.network is None else seen.seen | (seen.network.confidence > 0)
    raw = interpolate_gaps(seen, held, _each_frame(shape, seen, constraints))
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
    contact = None
    if capsules is not None:
        posed = pose_points(shape.parameterisation, seen.side, start)
        contact = find_contact(seen, posed, capsules, *pairs(seen))
        if constraints is not None:
            seen, start, contact = with_contact_constraints(
                shape.parameterisation, seen, start, capsules, contact, pairs(seen), constraints
            )
    solved = fit_shot(shape, seen, start, capsules, contact, smooth)
    if capsules is not None and contact is not None and skin is not None:
        solved = taken_apart(shape, seen, solved, capsules, contact, smooth, skin)
    posed = pose_points(shape.parameterisation, seen.side, solved)
    error_px = torch.where(seen.seen, reprojection_px(seen, posed).mean(-1), torch.nan)
    features = confidence_features(seen, posed, error_px)
    touching = torch.zeros(len(seen)).double()
    if contact is not None:
        for hands in pairs(seen):
            touching[hands] = contact.hands
    return SolvedWindow(
        raw,
        solved,
        jumped & seen.seen,
        frame_confidence(seen, held, posed, error_px),
        pose_confidence(features, seen.network is not None),
        distance_confidence(features, seen.network is not None),
        touching,
        error_px,
    )


def _each_frame(shape: ShotShape, seen: Observations, constraints: SolveConstraints | None) -> HandState:
    """Every hand frame on its own; fitted unless an earlier solve provides it."""
    if constraints is None:
        return fit_frames(shape, seen, start_state(shape, seen))
    state, known = constraints.raw.of(seen, shape.parameterisation)
    fresh = (~known).nonzero()[:, 0]
    if not len(fresh):
        return state
    own = seen.take(fresh)
    return state.put(fresh, fit_frames(shape, own, start_state(shape, own)))
