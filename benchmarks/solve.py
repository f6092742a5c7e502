# SPDX-License-Identifier: GPL-3.0-or-later
"""How well the shot solve fits its observations: python -m benchmarks.solve CLIP_OR_TAKE... [--fov DEG]

For a clip: finds the landmarks, solves, and prints a line a side; for a take: the same from its arrays (world
landmarks, which a take does not keep, left out).
  px, % box     mean distance of the solved hand's landmarks from the seen ones
  world mm      the same to the world landmarks, after a similarity alignment a frame
  shake         mean second difference of the wrist, mm a frame squared, before -> after (times lower)
  joints        that of the joints relative to the wrist
  swing %       how far the hand travels across the picture, solved over raw
  fast %        its speed in the fastest quarter of the frames, as a share of the landmarks' own
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.shot import solve_shot
from inference_core.footage import open_footage, parse_frame_range
from inference_core.geometry.camera import camera_from_fov, default_camera
from inference_core.geometry.rigid import fit_similarity
from inference_core.geometry.rotations import quaternion_to_matrix
from inference_core.hand_model.load import load_hand_model
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.shared.presence import ABSENT, FILLED, SEEN
from inference_core.shared.skeleton import SIDES
from inference_core.shared.take import load_take
from inference_core.tracking.assign import build_tracks
from inference_core.tracking.detect import detect_shot

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Result:
    """One solved shot: arrays as in the take; world_m (T, S, 21, 3) or None."""

    name: str
    K: Floats
    present: NDArray[np.uint8]
    landmarks_px: Floats
    world_m: Floats | None
    betas: Floats
    root_wxyz: Floats
    pose_wxyz: Floats
    wrist_cam_m: Floats
    joints_cam_m: Floats
    raw_wrist_cam_m: Floats
    raw_joints_cam_m: Floats


def main() -> None:
    """Print the figures of every file named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--fov", type=float, help="field of view of the clips, degrees")
    parser.add_argument("--smooth", type=float, default=0.5)
    arguments = parser.parse_args()
    for file in arguments.files:
        take = file.suffix == ".npz"
        result = _of_take(file) if take else _of_clip(file, arguments.fov, arguments.smooth)
        for line in figures(result):
            print(f"{file.name}: {line}", flush=True)


def figures(result: Result) -> list[str]:
    """A line for each side that is ever there."""
    return [_line(result, side) for side in (0, 1) if (result.present[:, side] != ABSENT).any()]


def _of_clip(file: Path, fov_deg: float | None, smooth: float) -> Result:
    footage = open_footage(file, parse_frame_range(""))
    size_px = footage.info.size_px
    camera = default_camera(size_px) if fov_deg is None else camera_from_fov(size_px, fov_deg)
    detections = detect_shot(footage, load_landmark_networks())
    tracks = build_tracks(detections)
    start, busy = time.perf_counter(), time.process_time()
    solution = solve_shot(tracks, camera, detections.time_s, load_hand_model(), SolveSettings(smooth=smooth))
    hands = max(1, int((solution.present != ABSENT).sum()))
    wall_ms, busy_ms = 1e3 * (time.perf_counter() - start) / hands, 1e3 * (time.process_time() - busy) / hands
    print(f"{file.name}: {hands} hand frames, {wall_ms:.1f} ms each ({busy_ms:.1f} ms of processor time)")
    fields = (
        "betas",
        "root_wxyz",
        "pose_wxyz",
        "wrist_cam_m",
        "joints_cam_m",
        "raw_wrist_cam_m",
        "raw_joints_cam_m",
    )
    return Result(
        file.name,
        camera.K,
        solution.present,
        tracks.landmarks_px,
        tracks.world_m,
        **{name: getattr(solution, name) for name in fields},
    )


def _of_take(file: Path) -> Result:
    take = load_take(file)
    fields = (
        "K",
        "present",
        "landmarks_px",
        "betas",
        "root_wxyz",
        "pose_wxyz",
        "wrist_cam_m",
        "joints_cam_m",
    )
    values = {name: getattr(take, name) for name in (*fields, "raw_wrist_cam_m", "raw_joints_cam_m")}
    return Result(file.name, world_m=None, **values)


def _line(result: Result, side: int) -> str:
    seen = result.present[:, side] == SEEN
    counts = f"{seen.sum()} seen, {(result.present[:, side] == FILLED).sum()} filled of {len(seen)}"
    landmarks_m = _landmarks(result)[:, side]
    px = result.landmarks_px[:, side, :, :2]
    box_px = np.linalg.norm(px.max(1) - px.min(1), axis=-1)
    error_px = np.linalg.norm(_project(result.K, landmarks_m) - px, axis=-1).mean(1)
    world = ""
    if result.world_m is not None:
        found, target = (torch.as_tensor(a[seen]).double() for a in (landmarks_m, result.world_m[:, side]))
        aligned = fit_similarity(found, target).apply(found)
        world = f"world {1e3 * float((aligned - target).norm(dim=-1).mean()):.2f} mm; "
    raw, solved = result.raw_wrist_cam_m[:, side], result.wrist_cam_m[:, side]
    raw_joints, joints = (
        (a - a[:, :1]) for a in (result.raw_joints_cam_m[:, side], result.joints_cam_m[:, side])
    )
    fingers = f"joints {_shake(raw_joints):.2f} -> {_shake(joints):.2f}"
    return (
        f"{SIDES[side]}: {counts}; "
        f"{error_px[seen].mean():.2f} px = {100 * (error_px / box_px)[seen].mean():.3f} % box; "
        f"{world}shake {_shake(raw):.2f} -> {_shake(solved):.2f} ({_shake(raw) / _shake(solved):.1f} times); "
        f"{fingers}; swing {100 * _swing(result.K, solved, raw):.1f} %; "
        f"fast {100 * _fast_share(_project(result.K, landmarks_m), px, seen):.1f} %; "
        f"depth {np.nanmin(solved[:, 2]):.2f}..{np.nanmax(solved[:, 2]):.2f} m; "
        f"betas {np.round(result.betas[side, :3], 1).tolist()}"
    )


def _landmarks(result: Result) -> Floats:
    """(T, S, 21, 3) the solved hands' landmarks, camera axes."""
    wxyz = np.concatenate([result.root_wxyz[:, :, None], result.pose_wxyz], 2, dtype=np.float64)
    absent = np.isnan(wxyz).any(-1, keepdims=True)
    rotations = quaternion_to_matrix(np.where(absent, [1.0, 0, 0, 0], wxyz))
    shaped = load_hand_model().with_shape(result.betas.astype(np.float64))
    return shaped.with_pose(rotations, result.wrist_cam_m.astype(np.float64)).landmarks21_m


def _project(K: Floats, points_m: Floats) -> Floats:
    points = points_m @ np.swapaxes(K, -1, -2)
    return points[..., :2] / points[..., 2:]


def _shake(points_m: Floats) -> float:
    second = points_m[2:] - 2 * points_m[1:-1] + points_m[:-2]
    return 1e3 * float(np.nanmean(np.linalg.norm(second, axis=-1)))


def _swing(K: Floats, solved_m: Floats, raw_m: Floats) -> float:
    """Extent of the wrist's path across the picture, solved over raw, in the direction where it is largest."""
    there = np.isfinite(solved_m[:, 0])
    solved, raw = _project(K, solved_m[:, None])[there, 0], _project(K, raw_m[:, None])[there, 0]
    _, _, directions = np.linalg.svd(raw - raw.mean(0), full_matrices=False)
    return float(np.ptp(solved @ directions[0]) / np.ptp(raw @ directions[0]))


def _fast_share(solved_px: Floats, seen_px: Floats, seen: NDArray[np.bool_]) -> float:
    """Slope of the solved landmarks' mean velocity over the seen ones', in the fastest quarter of the frames."""
    both = seen[1:] & seen[:-1]
    own, theirs = (np.diff(a.mean(1), axis=0)[both] for a in (solved_px, seen_px))
    speed = np.linalg.norm(theirs, axis=-1)
    fast = speed >= np.quantile(speed, 0.75)
    return float((own[fast] * theirs[fast]).sum() / np.square(theirs[fast]).sum())


if __name__ == "__main__":
    main()
