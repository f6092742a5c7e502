# SPDX-License-Identifier: GPL-3.0-or-later
"""The shot solve: all evidence of a shot to one smooth, metric motion of both hands.

One shape a hand first. Then, window by window: every frame by itself (frame_fit), gaps interpolated, and all frames
of the window together by Gauss-Newton (terms, smoothness, contact), each iteration one banded Cholesky.
The windows overlap and are faded into each other. Memory stays flat in the shot's length, and the derivatives
are exact and written out (parameterisation): 10 to 20 times the speed of automatic ones.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.fitting.capsules import Capsules, fit_capsules
from inference_core.fitting.confidence import frame_confidence
from inference_core.fitting.contact import find_contact
from inference_core.fitting.gaps import bridge
from inference_core.fitting.glitches import distrusted, glitches
from inference_core.fitting.interaction import depth_ties, draws, pair_cost, pair_equations, pairs
from inference_core.fitting.observations import Observations, gather, usable_presence
from inference_core.fitting.parameterisation import HandParameterisation, HandState, pose_points
from inference_core.fitting.residuals import frame_cost, frame_normal, reprojection_px
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.single_frame import (
    ShotShape,
    estimate_shape,
    fit_frames,
    limited,
    start_state,
    well_seen,
)
from inference_core.fitting.solution import ShotSolution
from inference_core.fitting.temporal import sigmas, solve_banded, temporal_normal
from inference_core.geometry.camera import Camera
from inference_core.geometry.rotations import exp, matrix_to_quaternion, quaternion_to_matrix
from inference_core.hand_model.hand import HandModel
from inference_core.shared.errors import RequestError
from inference_core.shared.messages import Progress
from inference_core.shared.stages import SOLVE
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.two_hand.predictions import TwoHandPredictions

_SHOT_STEPS = 12
_SETTLED = 1e-4
_JOINT_CHUNK = 512


def solve_shot(
    hand_evidence: HandTracks,
    camera: Camera,
    time_s: NDArray[np.float64],
    hand_model: HandModel,
    settings: SolveSettings | None = None,
    network_evidence: TwoHandPredictions | None = None,
    progress: Progress | None = None,
) -> ShotSolution:
    """Both hands through the whole shot, in the camera's metres.

    time_s (T,): increasing, seconds. network_evidence: one more kind of evidence, weighted by its confidence.
    Deterministic. Raises RequestError when time stamps and evidence do not fit each other.
    """
    times = _frame_times(time_s, len(hand_evidence.present))
    settings = settings or SolveSettings()
    model = hand_model.to("cpu", torch.float64)
    present = usable_presence(hand_evidence, network_evidence)
    with torch.no_grad():
        shape = _shot_shape(model, hand_evidence, camera, times)
        record = _Record(present, shape)
        capsules = fit_capsules(model, shape.parameterisation) if settings.contact else None
        for frames in _windows(len(times), settings):
            seen = gather(
                hand_evidence, network_evidence, present, camera, times, shape.parameterisation.axes, frames
            )
            if len(seen):
                record.add(seen, frames, *_solve_window(shape, seen, capsules, settings.smooth))
            if progress is not None:
                progress(SOLVE, frames.stop, len(times))
        return record.solution(model)


def _frame_times(time_s: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """(T,) times counted in median frame times."""
    time_s = np.asarray(time_s, np.float64)
    if time_s.shape != (count,):
        raise RequestError(
            f"{count} frames of landmarks came with {time_s.shape} time stamps; give one a frame."
        )
    steps = np.diff(time_s)
    if not np.isfinite(time_s).all() or (steps <= 0).any():
        raise RequestError("The frames' time stamps must increase; read the footage again.")
    return (time_s - time_s[:1]) / (np.median(steps) if count > 1 else 1.0)


def _windows(count: int, settings: SolveSettings) -> Iterator[range]:
    """Ranges of frames, each sharing overlap_frames with the next."""
    start, stride = 0, settings.window_frames - settings.overlap_frames
    while start == 0 or start + settings.overlap_frames < count:
        yield range(start, min(start + settings.window_frames, count))
        start += stride


def _shot_shape(
    model: HandModel, evidence: HandTracks, camera: Camera, times: NDArray[np.float64]
) -> ShotShape:
    chosen = well_seen(evidence)
    everything = range(len(times))
    return estimate_shape(model, gather(evidence, None, chosen, camera, times, model.joint_axes, everything))


def _solve_window(
    shape: ShotShape, seen: Observations, capsules: Capsules | None, smooth: float
) -> tuple[HandState, HandState, Tensor, Tensor]:
    """Raw and solved states, confidence (N,) and mean reprojection error (N,), pixels."""
    held = seen.seen if seen.network is None else seen.seen | (seen.network.confidence > 0)
    raw = bridge(seen, held, fit_frames(shape, seen, start_state(shape, seen)))
    jumped = glitches(shape.parameterisation, seen, raw)
    seen = distrusted(seen, jumped)
    solved = fit_shot(shape, seen, bridge(seen, held & ~jumped, raw), capsules, smooth)
    posed = pose_points(shape.parameterisation, seen.side, solved)
    error_px = torch.where(seen.seen, reprojection_px(seen, posed).mean(-1), torch.nan)
    return raw, solved, frame_confidence(seen, held, posed, error_px), error_px


def fit_shot(
    shape: ShotShape, seen: Observations, state: HandState, capsules: Capsules | None, smooth: float
) -> HandState:
    """All hand frames together, from the given states: Gauss-Newton with one damping for the whole window."""
    parameterisation, damping = shape.parameterisation, 1e-3
    strength = _strength(seen, smooth)
    posed = pose_points(parameterisation, seen.side, state)
    contact = None if capsules is None else find_contact(seen, posed, capsules, *pairs(seen))
    for _ in range(_SHOT_STEPS):
        sigma = sigmas(seen, state, parameterisation)
        temporal = temporal_normal(seen, state, parameterisation, sigma, strength)
        frames = frame_normal(parameterisation, seen, posed, shape.world_scale)
        drawn = None if contact is None or capsules is None else draws(contact, seen, posed, capsules)
        between = pair_equations(seen, posed, capsules, drawn)
        ties = depth_ties(seen, state.image_depth[:, 2], contact)
        cost = frames.cost.sum() + temporal.cost + between.cost + ties.cost
        step = solve_banded(seen, frames, temporal, between, ties, damping)
        trial = state.moved(limited(step), parameterisation)
        trial_posed = pose_points(parameterisation, seen.side, trial)
        trial_cost = (
            frame_cost(seen, trial_posed, shape.world_scale).sum()
            + pair_cost(seen, trial_posed, capsules, drawn)
            + temporal_normal(seen, trial, parameterisation, sigma, strength).cost
            + depth_ties(seen, trial.image_depth[:, 2], contact).cost
        )
        if trial_cost > cost:
            damping *= 10
            continue
        state, posed, damping = trial, trial_posed, damping * 0.3
        if cost - trial_cost < _SETTLED * cost:
            break
    return state


def _strength(seen: Observations, smooth: float) -> Tensor:
    """(N,) weight of the smoothness: 1 at 0.5. Where no landmarks hold a hand it never falls below 1."""
    strength = (smooth / max(1 - smooth, 0.02)) ** 2
    bare = (~seen.seen).to(torch.float64)
    beside = torch.stack([bare, torch.roll(bare, 1), torch.roll(bare, -1)]).amax(0)
    return torch.maximum(torch.full_like(bare, strength), beside)


class _Record:
    """The shot's arrays as the windows fill them, each window faded into the one before."""

    def __init__(self, present: NDArray[np.uint8], shape: ShotShape) -> None:
        count = len(present)
        self._present, self._parameterisation = present, shape.parameterisation
        self._numbers = {
            f"{kind}{name}": np.full((count, 2, *form), np.nan, np.float32)
            for kind in ("raw_", "")
            for name, form in (("root_wxyz", (4,)), ("pose_wxyz", (15, 4)), ("wrist_cam_m", (3,)))
        }
        self._numbers["confidence"] = np.full((count, 2), np.nan, np.float32)
        self._numbers["reprojection_px"] = np.full((count, 2), np.nan, np.float32)

    def add(
        self,
        seen: Observations,
        frames: range,
        raw: HandState,
        solved: HandState,
        confidence: Tensor,
        error_px: Tensor,
    ) -> None:
        """Write one window; where frames are there already, fade from them into it."""
        at = (seen.frame.numpy(), seen.side.numpy())
        known = np.flatnonzero(~np.isnan(self._numbers["confidence"][frames.start : frames.stop]).all(1))
        shared = known.max() + 1 if len(known) else 0
        share = np.clip((at[0] - frames.start + 1) / (shared + 1), 0, 1)
        fade = share**2 * (3 - 2 * share)  # least of each window where it ends
        for kind, state in (("raw_", raw), ("", solved)):
            for name, values in _arrays(self._parameterisation, seen.side, state).items():
                self._fade(f"{kind}{name}", at, values.numpy(), fade, unit=name.endswith("wxyz"))
        self._fade("confidence", at, confidence.numpy(), fade)
        self._fade("reprojection_px", at, error_px.numpy(), fade)

    def _fade(
        self,
        name: str,
        at: tuple[NDArray[np.int64], ...],
        new: NDArray[np.float64],
        fade: NDArray[np.float64],
        unit: bool = False,
    ) -> None:
        old = self._numbers[name][at].astype(np.float64)
        share = fade.reshape(-1, *[1] * (new.ndim - 1))
        if unit:
            old = old * np.where((old * new).sum(-1, keepdims=True) < 0, -1.0, 1.0)
        mixed = np.where(np.isnan(old), new, (1 - share) * old + share * new)
        if unit:
            mixed = mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)
        self._numbers[name][at] = mixed

    def solution(self, model: HandModel) -> ShotSolution:
        """The finished record, joints included."""
        numbers = self._numbers
        numbers["confidence"] = np.nan_to_num(numbers["confidence"])
        betas = self._parameterisation.betas
        for kind in ("raw_", ""):
            numbers[f"{kind}joints_cam_m"] = _joints(
                model,
                betas,
                *(numbers[f"{kind}{name}"] for name in ("root_wxyz", "pose_wxyz", "wrist_cam_m")),
            )
        return ShotSolution(betas=betas.numpy().astype(np.float32), present=self._present, **numbers)


def _arrays(parameterisation: HandParameterisation, side: Tensor, state: HandState) -> dict[str, Tensor]:
    axes = parameterisation.axes[side]
    fingers = axes @ exp(state.angles_rad) @ axes.mT
    return {
        "root_wxyz": matrix_to_quaternion(state.root),
        "pose_wxyz": matrix_to_quaternion(fingers),
        "wrist_cam_m": state.wrist_m,
    }


def _joints(
    model: HandModel,
    betas: Tensor,
    root_wxyz: NDArray[np.float32],
    pose_wxyz: NDArray[np.float32],
    wrist_cam_m: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(T, S, 21, 3) joints of the hand model, some frames at a time; NaN where the hand is absent."""
    out = np.full((len(root_wxyz), 2, 21, 3), np.nan, np.float32)
    shaped = model.with_shape(betas)
    for start in range(0, len(out), _JOINT_CHUNK):
        part = slice(start, start + _JOINT_CHUNK)
        wxyz = torch.as_tensor(np.concatenate([root_wxyz[part, :, None], pose_wxyz[part]], 2)).double()
        absent = wxyz.isnan().any(-1, keepdim=True)
        identity = torch.tensor([1.0, 0, 0, 0]).double()
        rotations = quaternion_to_matrix(torch.where(absent, identity, wxyz))
        wrist_m = torch.as_tensor(wrist_cam_m[part]).double()
        out[part] = shaped.with_pose(rotations, wrist_m).joints21_m.numpy()
    return out
