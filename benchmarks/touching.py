# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands that touch, solved, against the truth: python -m benchmarks.touching FOLDER [--kept] [--clips]

FOLDER keeps the clips (benchmarks.touching_clips); they are made at the first run. One table, a column a method:
  joints       mm, about the wrist, scale aligned
  MRRPE        mm, right minus left wrist; "touching": in frames whose true hands touch
  gap          mm, in those frames, between the two parts of skin that truly touch, median
  precision, recall   of touching, a frame at a time, from the solved skin (nearer than 5 mm); "said": the solve's own
  overlap      mm, deepest vertex inside the other hand, mean over frames with both hands, and the largest
  jitter       mm a frame squared, middle knuckle
  drift        mm of depth in a second, hands that are held still
  amplitude    share of the speed across the picture that is kept, in the fastest quarter of the frames
  sides        share of hands nearer to their own truth than to the other hand's
  fit          px at 720p, solved joints from the true ones in the picture
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.touching_clips import CHOOSING, FPS, KEPT, SIZE_PX, TouchingClip, cached_clips
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.shot import solve_shot
from inference_core.fitting.solution import ShotSolution
from inference_core.geometry.projection import project_pinhole
from inference_core.geometry.rotations import quaternion_to_matrix
from inference_core.hand_model.hand import HandModel, PosedHands
from inference_core.hand_model.load import load_hand_model
from training.evaluation import metrics

# Skin that is nearer than this touches, farther than that does not; between the two nothing is judged.
_TOUCHING_M, _APART_M, _SOLVED_TOUCHING_M = 0.003, 0.008, 0.005
_MIDDLE_MCP = 9

Floats = NDArray[np.float64]
Method = Callable[[TouchingClip, HandModel], ShotSolution]


def main() -> None:
    """Print the table of the chosen clips."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kept", action="store_true", help="the clips kept for the last figure")
    parser.add_argument("--clips", action="store_true", help="a row a clip as well")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    arguments = parser.parse_args()
    hand = load_hand_model(dtype=torch.float64)
    parts: dict[str, list[dict[str, Floats]]] = {name: [] for name in arguments.methods}
    seconds = dict.fromkeys(arguments.methods, 0.0)
    for number, clip in enumerate(cached_clips(arguments.folder, KEPT if arguments.kept else CHOOSING)):
        for name in arguments.methods:
            start = time.perf_counter()
            solution = METHODS[name](clip, hand)
            seconds[name] += time.perf_counter() - start
            parts[name].append(_measures(clip, hand, solution))
            if arguments.clips:
                print(
                    f"{number:2d} {clip.kind:10s} {name:15s} {_line(_summary([parts[name][-1]]))}", flush=True
                )
    for name in arguments.methods:
        print(f"{name:15s} {_line(_summary(parts[name]))}  {seconds[name]:.1f} s")


def _solved(network: bool, contact: bool) -> Method:
    def method(clip: TouchingClip, hand: HandModel) -> ShotSolution:
        settings = SolveSettings(contact=contact)
        predictions = clip.predictions if network else None
        return solve_shot(clip.tracks, clip.camera, clip.time_s, hand, settings, predictions)

    return method


def _network_alone(clip: TouchingClip, hand: HandModel) -> ShotSolution:
    """The predictions as they are, each frame by itself."""
    base = solve_shot(clip.tracks, clip.camera, clip.time_s, hand, SolveSettings(0.0), clip.predictions)
    from inference_core.geometry.rotations import matrix_to_quaternion

    known = clip.predictions.confidence > 0
    wxyz = matrix_to_quaternion(torch.as_tensor(np.nan_to_num(clip.predictions.rotations))).numpy()
    wxyz[~known] = np.nan
    joints = clip.predictions.joints_rel_m + clip.predictions.wrist_cam_m[:, :, None]
    return dataclasses.replace(
        base,
        root_wxyz=wxyz[:, :, 0],
        pose_wxyz=wxyz[:, :, 1:],
        wrist_cam_m=np.where(known[..., None], clip.predictions.wrist_cam_m, np.nan),
        joints_cam_m=np.where(known[..., None, None], joints, np.nan),
    )


METHODS: dict[str, Method] = {
    "landmarks": _solved(network=False, contact=True),
    "network alone": _network_alone,
    "without contact": _solved(network=True, contact=False),
    "joint": _solved(network=True, contact=True),
}


def _measures(clip: TouchingClip, hand: HandModel, solution: ShotSolution) -> dict[str, Floats]:
    """Values of every measure, NaN left out; most a number a frame or a hand frame."""
    present, true_m = clip.present, torch.as_tensor(clip.joints_m).double()
    solved_m = torch.as_tensor(np.asarray(solution.joints_cam_m, np.float64))
    found = solved_m.isfinite().flatten(2).all(-1).numpy() & present
    safe = torch.nan_to_num(solved_m)
    both = found.all(1)
    offset, true_offset = (j[:, 1, 0] - j[:, 0, 0] for j in (safe, true_m))
    mrrpe = np.where(both, metrics.root_error_mm(offset, true_offset).numpy(), np.nan)
    posed = _posed(solution, hand)
    true_gap_m, gap_m, overlap_m, solved_gap_m = _surfaces(clip, hand, posed, both)
    touching, apart = both & (true_gap_m < _TOUCHING_M), both & (true_gap_m > _APART_M)
    says = solved_gap_m < _SOLVED_TOUCHING_M
    said = getattr(solution, "contact", None)
    told = says if said is None else np.nan_to_num(said).reshape(len(said), -1).max(1) > 0.5
    depth_error = (safe - true_m)[:, :, _MIDDLE_MCP, 2].numpy() * 1000
    return {
        "joints": np.where(found, metrics.hand_errors(safe, true_m).mpjpe.numpy(), np.nan),
        "MRRPE": mrrpe,
        "MRRPE touching": np.where(touching, mrrpe, np.nan),
        "gap": np.where(touching, 1000 * gap_m, np.nan),
        "says touching": says[touching | apart].astype(float),
        "said touching": told[touching | apart].astype(float),
        "touching": touching[touching | apart].astype(float),
        "overlap": np.where(both, 1000 * overlap_m, np.nan),
        "jitter": _jitter(safe[:, :, _MIDDLE_MCP].numpy(), found),
        "depth": np.where(found, np.abs(depth_error) / true_m[:, :, _MIDDLE_MCP, 2].numpy() / 10, np.nan),
        "drift": _drift(depth_error, found) if clip.kind == "still" else np.zeros(0),
        "amplitude": _amplitude(safe, true_m, clip.camera.K, found),
        "sides": _sides(safe, true_m, clip.camera.K, both),
        "fit": np.where(found, _fit_px(clip, safe, true_m), np.nan),
    }


def _posed(solution: ShotSolution, hand: HandModel) -> PosedHands:
    wxyz = np.concatenate([solution.root_wxyz[:, :, None], solution.pose_wxyz], 2)
    wxyz = torch.as_tensor(np.where(np.isnan(wxyz), [1.0, 0, 0, 0], wxyz)).double()
    wrist_m = torch.as_tensor(np.nan_to_num(solution.wrist_cam_m)).double()
    shaped = hand.with_shape(torch.as_tensor(solution.betas).double())
    return shaped.with_pose(quaternion_to_matrix(wxyz), wrist_m)


def _surfaces(
    clip: TouchingClip, hand: HandModel, posed: PosedHands, both: NDArray[np.bool_]
) -> tuple[Floats, Floats, Floats, Floats]:
    """(T,) least distance of the true skins; of the solved parts that are nearest in truth; deepest solved
    overlap; least distance of the solved skins (0 where they overlap)."""
    part = hand.skin_weights.argmax(-1)
    true_m, solved_m = clip.vertices_m(hand), posed.vertices_m
    out = np.full((4, len(both)), np.nan)
    for t in np.flatnonzero(both):
        apart_m = torch.cdist(true_m[t, 0].float(), true_m[t, 1].float())
        least = int(apart_m.argmin())
        left, right = divmod(least, apart_m.shape[1])
        out[0, t] = float(apart_m.flatten()[least])
        solved = torch.cdist(solved_m[t, 0].float(), solved_m[t, 1].float())
        these = solved[part[0] == part[0, left]][:, part[1] == part[1, right]]
        deep = _overlap_m(solved, solved_m[t].float(), hand.faces)
        out[1, t] = float(these.min())
        out[2, t] = deep
        out[3, t] = 0.0 if deep > 0 else float(solved.min())
    return out[0], out[1], out[2], out[3]


def _overlap_m(apart_m: Tensor, vertices_m: Tensor, faces: Tensor) -> float:
    """How deep the deepest vertex of either hand lies inside the other, by the nearest vertex's normal."""
    deepest = 0.0
    for own, other, table in ((0, 1, apart_m), (1, 0, apart_m.T)):
        distance, nearest = table.min(1)
        normals = _normals(vertices_m[other], faces[other])[nearest]
        height = ((vertices_m[own] - vertices_m[other][nearest]) * normals).sum(-1)
        inside = (height < -0.7 * distance) & (distance < 0.03)
        if bool(inside.any()):
            deepest = max(deepest, float(-height[inside].min()))
    return deepest


def _normals(vertices_m: Tensor, faces: Tensor) -> Tensor:
    corners = vertices_m[faces]
    across = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = torch.zeros_like(vertices_m)
    for corner in range(3):
        total.index_add_(0, faces[:, corner], across)
    return torch.nn.functional.normalize(total, dim=-1)


def _jitter(points_m: Floats, found: NDArray[np.bool_]) -> Floats:
    second = 1000 * np.linalg.norm(points_m[2:] - 2 * points_m[1:-1] + points_m[:-2], axis=-1)
    return np.where(found[:-2] & found[1:-1] & found[2:], second, np.nan)


def _drift(depth_error_mm: Floats, found: NDArray[np.bool_]) -> Floats:
    """Extent of the depth's error within every second."""
    values, second = np.where(found, depth_error_mm, np.nan), round(FPS)
    windows = np.lib.stride_tricks.sliding_window_view(values, second, 0)
    return np.ptp(windows, axis=-1)


def _amplitude(solved_m: Tensor, true_m: Tensor, K: Floats, found: NDArray[np.bool_]) -> Floats:
    there = found[1:] & found[:-1]
    own, theirs = (np.diff(_pixels(j, K).mean(2), axis=0)[there] for j in (solved_m, true_m))
    speed = np.linalg.norm(theirs, axis=-1)
    if not len(speed) or np.quantile(speed, 0.75) < 1.0:
        return np.zeros(0)
    fast = speed >= np.quantile(speed, 0.75)
    return np.array([(own[fast] * theirs[fast]).sum() / np.square(theirs[fast]).sum()])


def _sides(solved_m: Tensor, true_m: Tensor, K: Floats, both: NDArray[np.bool_]) -> Floats:
    own, theirs = (_pixels(j, K).mean(2)[both] for j in (solved_m, true_m))
    straight = np.linalg.norm(own - theirs, axis=-1).sum(1)
    crossed = np.linalg.norm(own - theirs[:, ::-1], axis=-1).sum(1)
    return (straight <= crossed).astype(float)


def _fit_px(clip: TouchingClip, solved_m: Tensor, true_m: Tensor) -> Floats:
    own, theirs = (_pixels(joints, clip.camera.K) for joints in (solved_m, true_m))
    return np.linalg.norm(own - theirs, axis=-1).mean(-1) * 720 / SIZE_PX[1]


def _pixels(points_m: Tensor, K: Floats) -> Floats:
    return project_pinhole(points_m, torch.as_tensor(K).double()).numpy()


def _summary(parts: list[dict[str, Floats]]) -> dict[str, float]:
    joined = {name: np.concatenate([part[name].ravel() for part in parts]) for name in parts[0]}
    known = {name: values[np.isfinite(values)] for name, values in joined.items()}
    row = {name: float(values.mean()) if len(values) else np.nan for name, values in known.items()}
    truth = known["touching"] > 0.5
    row["gap"] = float(np.median(known["gap"])) if len(known["gap"]) else np.nan
    row["overlap max"] = float(known["overlap"].max(initial=0))
    for name in ("says", "said"):
        claims = known[f"{name} touching"] > 0.5
        row[f"{name} precision"] = float((claims & truth).sum() / max(1, claims.sum()))
        row[f"{name} recall"] = float((claims & truth).sum() / max(1, truth.sum()))
    return row


def _line(row: dict[str, float]) -> str:
    order = (
        "joints", "MRRPE", "MRRPE touching", "depth", "gap", "says precision", "says recall", "said precision",
        "said recall", "overlap", "overlap max", "jitter", "drift", "amplitude", "sides", "fit",
    )  # fmt: skip
    return "  ".join(f"{name} {row[name]:.2f}" for name in order)


if __name__ == "__main__":
    main()
