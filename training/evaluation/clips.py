# SPDX-License-Identifier: GPL-3.0-or-later
"""The shot solve with and without the network, on synthetic validation clips with landmarks detected in their frames.

This decides whether the network is on by default. T frames, S sides. A frame "overlaps" if the hands' true boxes do;
a hand is "lost" if it is in the picture but has no landmarks in its track by the landmark networks alone. The
network's solve has separate tracks if the network decides the sides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.chosen_network import choose_network
from inference_core.detection import detect
from inference_core.fitting.settings import SolveSettings
from inference_core.footage.records import Footage, Frame, footage_of_frames
from inference_core.geometry.camera import Camera, camera_from_intrinsics
from inference_core.hand_model.hand import HandModel
from inference_core.run import ChosenNetwork, Run
from inference_core.shared.presence import ABSENT, SEEN
from inference_core.stages import read, recover, solve, track
from inference_core.tracking.assign import TrackSettings
from training.data.sample import overlap
from training.evaluation import metrics
from training.evaluation.scoring import OVERLAPPING
from training.synthetic.sequence import SyntheticClip, generate_sequence
from training.synthetic.settings import Settings as SceneSettings

# Seeds of the clips, distinct from those of training and of validation stills.
CLIP_SEED = 950_000_000
# A lost hand counts as placed if its middle is this near to the truth, relative to the other hand.
PLACED_MM = 25.0
METHODS = ("landmarks only", "with network")

Values = NDArray[np.float64]


@dataclass(frozen=True)
class ClipErrors:
    """One method's errors on one clip; NaN if it gives no estimate or the hand is absent.

    mpjpe_mm (T, S): wrist root, scale aligned. mrrpe_mm (T,). placed_mm (T, S): distance of each hand's middle from
    the truth, both relative to the other hand's wrist. jitter_mm (T, S).
    """

    mpjpe_mm: Values
    mrrpe_mm: Values
    placed_mm: Values
    jitter_mm: Values


@dataclass(frozen=True)
class ClipResult:
    """All measurements of one clip. present, lost (T, S) bool; overlaps (T,) bool; presence_correct (T, S)."""

    seed: int
    present: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    overlaps: NDArray[np.bool_]
    presence_correct: Values
    errors: dict[str, ClipErrors]


def evaluate_clips(
    weights: Path,
    hand: HandModel,
    clips: int,
    frames: int,
    device: torch.device,
    settings: SceneSettings,
) -> list[ClipResult]:
    """Results of clips number 0 .. clips - 1 of the validation stream."""
    network = choose_network(str(weights), hand, device.type)
    assert network is not None
    results: list[ClipResult] = []
    for k in range(clips):
        clip = generate_sequence(CLIP_SEED + k, frames, device=device, settings=settings)
        time_s = clip.time_s.cpu().double().numpy()
        footage = footage_of_frames(clip_frames(clip), 1 / float(np.median(np.diff(time_s))))
        run = silent_run(footage, clip_camera(clip), hand, network, device)
        results.append(evaluate_clip(CLIP_SEED + k, clip, run))
        print(f"clip {k + 1} of {clips}: {summary_line(results[-1])}")
    return results


def silent_run(
    footage: Footage,
    camera: Camera,
    hand: HandModel,
    network: ChosenNetwork | None,
    device: torch.device | None = None,
) -> Run:
    """A capture's run with default settings, without cache or progress. device: the CPU by default."""
    device = device or torch.device("cpu")
    return Run(
        footage, camera, lambda: hand, device.type, network, TrackSettings(), SolveSettings(), None, _silent
    )


def evaluate_clip(seed: int, clip: SyntheticClip, run: Run) -> ClipResult:
    """Both solves of a clip compared with its truth, by the capture's own stages."""
    detected = detect(run)
    alone = replace(run, network=None)
    shots = {
        method: solve(of, read(of, recover(of, track(of, detected))))
        for method, of in zip(METHODS, (alone, run), strict=True)
    }
    tracks, solution = shots[METHODS[0]].tracks, shots[METHODS[1]].solution
    assert tracks is not None and solution is not None
    present = clip.present.cpu().numpy().astype(bool)
    true_joints = clip.joints_cam_m.cpu().double()
    overlaps = overlap(clip.joints_px.cpu(), clip.present.cpu().bool()) >= OVERLAPPING
    errors: dict[str, ClipErrors] = {}
    for method, shot in shots.items():
        assert shot.solution is not None
        errors[method] = clip_errors(shot.solution.joints_cam_m, true_joints, present)
    return ClipResult(
        seed=seed,
        present=present,
        lost=present & (tracks.present != SEEN),
        overlaps=overlaps.numpy(),
        presence_correct=((solution.present != ABSENT) == present).astype(float),
        errors=errors,
    )


def _silent(stage: str, done: int, total: int) -> None:
    pass


def clip_errors(
    joints_cam_m: NDArray[np.floating], true_joints: torch.Tensor, present: NDArray[np.bool_]
) -> ClipErrors:
    """Errors of solved joints (T, S, 21, 3) against the true ones."""
    joints = torch.from_numpy(np.asarray(joints_cam_m, np.float64))
    found = joints.isfinite().flatten(2).all(-1).numpy() & present
    safe = torch.nan_to_num(joints)
    mpjpe = metrics.hand_errors(safe, true_joints).mpjpe.numpy()
    offset, true_offset = (j[:, 1, 0] - j[:, 0, 0] for j in (safe, true_joints))
    seen_from_other, true_seen = (j.mean(dim=2) - j[:, :, 0].flip(1) for j in (safe, true_joints))
    placed = (seen_from_other - true_seen).norm(dim=-1).numpy() * 1000
    jitter = np.full(present.shape, np.nan)
    jitter[1:-1] = metrics.jitter_mm(safe).numpy()
    steady = found.copy()
    steady[1:-1] = found[:-2] & found[1:-1] & found[2:]
    both = found.all(axis=1)
    return ClipErrors(
        mpjpe_mm=np.where(found, mpjpe, np.nan),
        mrrpe_mm=np.where(both, metrics.root_error_mm(offset, true_offset).numpy(), np.nan),
        placed_mm=np.where(both[:, None], placed, np.nan),
        jitter_mm=np.where(steady, jitter, np.nan),
    )


def clip_table(results: Iterable[ClipResult]) -> dict[str, dict[str, float]]:
    """Rows of measures, one column per method, over all frames of all clips; `ROWS` describes them."""
    results = list(results)
    table: dict[str, dict[str, float]] = {}
    for method in METHODS:
        columns: dict[str, list[Values]] = {}
        for result in results:
            for name, values in _measures(result, method).items():
                columns.setdefault(name, []).append(values[np.isfinite(values)])
        for name, parts in columns.items():
            joined = np.concatenate(parts)
            table.setdefault(name, {})[method] = float(joined.mean()) if joined.size else float("nan")
    return table


def summary_line(result: ClipResult) -> str:
    """A clip's results in a line for the terminal."""
    parts: list[str] = []
    for method in METHODS:
        measures = _measures(result, method)
        means = {name: values[np.isfinite(values)] for name, values in measures.items()}
        mpjpe, mrrpe = means["MPJPE, overlapping (mm)"], means["MRRPE (mm)"]
        parts.append(f"{method}: {_mean(mpjpe):.1f} mm where hands overlap, MRRPE {_mean(mrrpe):.1f} mm")
    return "; ".join(parts)


def clip_camera(clip: SyntheticClip) -> Camera:
    """The clip's own camera."""
    height, width = clip.frames.shape[-2:]
    return camera_from_intrinsics((width, height), clip.K.cpu().double().numpy())


def clip_frames(clip: SyntheticClip) -> list[Frame]:
    """The clip's frames as footage."""
    images = clip.frames.permute(0, 2, 3, 1).cpu().numpy()
    return [Frame(k, float(t), np.ascontiguousarray(images[k])) for k, t in enumerate(clip.time_s.tolist())]


def _measures(result: ClipResult, method: str) -> dict[str, Values]:
    errors = result.errors[method]
    # Hands that a method does not estimate must not improve its average: errors are compared where
    # all methods have an estimate.
    common = np.isfinite(np.stack([e.mpjpe_mm for e in result.errors.values()])).all(axis=0)
    common_pair = np.isfinite(np.stack([e.mrrpe_mm for e in result.errors.values()])).all(axis=0)
    overlapping = result.overlaps[:, None] & common
    both = result.present.all(axis=1)[:, None]
    placed, near = _placed(errors.placed_mm), f"hands within {PLACED_MM:.0f} mm (share)"
    return {
        "MPJPE, overlapping (mm)": np.where(overlapping, errors.mpjpe_mm, np.nan),
        "MPJPE, elsewhere (mm)": np.where(common & ~result.overlaps[:, None], errors.mpjpe_mm, np.nan),
        "MRRPE (mm)": np.where(common_pair, errors.mrrpe_mm, np.nan),
        "MRRPE, overlapping (mm)": np.where(common_pair & result.overlaps, errors.mrrpe_mm, np.nan),
        f"lost {near}": np.where(both & result.lost, placed, np.nan),
        f"other {near}": np.where(both & result.present & ~result.lost, placed, np.nan),
        "hands with an estimate (share)": np.where(result.present, np.isfinite(errors.mpjpe_mm), np.nan),
        "presence correct (share)": result.presence_correct,
        "jitter (mm per frame squared)": errors.jitter_mm,
        "hands lost by the landmarks (share)": np.where(result.present, result.lost, np.nan).astype(float),
        "frames that overlap (share)": result.overlaps.astype(float),
    }


def _placed(distance_mm: Values) -> Values:
    """1 if near, 0 if far or without an estimate."""
    return (np.nan_to_num(distance_mm, nan=np.inf) <= PLACED_MM).astype(float)


def _mean(values: Values) -> float:
    return float(values.mean()) if values.size else float("nan")
