# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of a solved clip compared with its true motion. T frames, S sides; NaN for undefined values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from inference_core.fitting.solution import ShotSolution
from inference_core.geometry.projection import project_pinhole
from inference_core.geometry.rotations import quaternion_to_matrix
from inference_core.hand_model.hand import HandModel
from inference_core.shared.skeleton import MIDDLE_MCP_21
from training.evaluation import metrics
from training.evaluation.known_motion import FPS, SIZE_PX, KnownMotion
from training.synthetic.meshes import vertex_normals

# True skins nearer than the first touch, farther apart than the second do not; in
# between, contact is not evaluated.
_TOUCHING_M, _APART_M = 0.003, 0.008
# For a method without contact estimates, skins nearer than this count as contact.
_CLAIMED_M = 0.005
# Vertices deeper than this inside the other hand belong to its far side.
_REACH_M = 0.03
_PICTURE_HEIGHT = 720

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# The measures by their rows' names, with the project's targets.
ROWS = {
    "joints": "joints about the wrist, scale aligned (mm)",
    "mrrpe": "right minus left wrist, MRRPE (mm)",
    "mrrpe_touching": "MRRPE where hands touch (mm)",
    "gap": "gap between skins that touch, median (mm, < 8)",
    "precision": "contact, precision (> 0.85)",
    "recall": "contact, recall (> 0.85)",
    "overlap": "penetration, mean (mm, < 2)",
    "overlap_largest": "penetration, largest (mm, < 8)",
    "jitter": "jitter that the true motion lacks (mm a frame squared)",
    "drift": "depth of still hands, drift in a second (mm, < 8)",
    "amplitude": "amplitude kept across the picture (> 0.95)",
    "sides": "sides right (share)",
    "distance": "distance from the camera, error (%)",
    "distance_bias": "the same, bias (%, + too far)",
    "fit": "joints in the picture, from the true ones (px at 720p)",
    "answered": "hands with an estimate (share)",
    "pose_calibration": "confidence of the pose, calibration error (< 0.1)",
    "distance_calibration": "confidence of the distance, calibration error (< 0.1)",
}
# The events that confidences predict: joints about the middle knuckle within 10 mm; distance within 5 %.
_PROMISES = {"pose": 10.0, "distance": 5.0}
_TENTHS = 10


@dataclass(frozen=True)
class Judged:
    """One method's values on one clip by measure: any number of values, NaN if undefined."""

    values: dict[str, Floats]

    @staticmethod
    def of(clip: KnownMotion, hand: HandModel, solution: ShotSolution, says_contact: bool) -> "Judged":
        """The values of a solution. says_contact: whether its own contact estimate is used; if
        not, the distance of its skins is.
        """
        true_m = torch.as_tensor(clip.joints_m)
        solved_m = torch.as_tensor(np.asarray(solution.joints_cam_m, np.float64))
        found = solved_m.isfinite().flatten(2).all(-1).numpy() & clip.present
        solved_m = torch.nan_to_num(solved_m)
        both = found.all(1)
        skins = _skins(clip, hand, solution, both)
        touching, judged = both & (skins.true_m < _TOUCHING_M), both & (skins.true_m > _APART_M)
        judged |= touching
        claimed = solution.contact > 0.5 if says_contact else skins.least_m < _CLAIMED_M
        offset, true_offset = (joints[:, 1, 0] - joints[:, 0, 0] for joints in (solved_m, true_m))
        mrrpe = np.where(both, metrics.root_error_mm(offset, true_offset).numpy(), np.nan)
        middle, true_middle = (joints[:, :, MIDDLE_MCP_21].numpy() for joints in (solved_m, true_m))
        deeper_m = (middle - true_middle)[..., 2]
        share = np.where(found, 100 * deeper_m / true_middle[..., 2], np.nan)
        still = clip.kind == "still"
        values = {
            "joints": np.where(found, metrics.hand_errors(solved_m, true_m).mpjpe.numpy(), np.nan),
            "pose": np.where(
                found, metrics.hand_errors(solved_m, true_m, root="mcp").raw_mpjpe.numpy(), np.nan
            ),
            "mrrpe": mrrpe,
            "mrrpe_touching": np.where(touching, mrrpe, np.nan),
            "gap": np.where(touching, 1000 * skins.gap_m, np.nan),
            "claimed": claimed[judged].astype(float),
            "touching": touching[judged].astype(float),
            "overlap": np.where(both, 1000 * skins.overlap_m, np.nan),
            "jitter": _jitter(middle - true_middle, found),
            "drift": _drift(np.where(found, 1000 * deeper_m, np.nan)) if still else np.zeros(0),
            "amplitude": np.zeros(0) if still else _amplitude(solved_m, true_m, clip.camera.K, found),
            "sides": _sides(solved_m, true_m, clip.camera.K, both),
            "distance": np.abs(share),
            "distance_bias": share,
            "fit": np.where(found, _fit_px(solved_m, true_m, clip.camera.K), np.nan),
            "answered": np.where(clip.present, found, np.nan).astype(float),
        }
        for name in _PROMISES:
            values[f"{name}_confidence"] = np.where(found, getattr(solution, f"{name}_confidence"), np.nan)
        return Judged({name: np.asarray(value, np.float64).ravel() for name, value in values.items()})


def summary(clips: Sequence[Judged]) -> dict[str, float]:
    """The measures of ROWS over all clips: means over frames and hands, but for the gap's median and the largest."""
    joined = {name: np.concatenate([clip.values[name] for clip in clips]) for name in clips[0].values}
    known = {name: values[np.isfinite(values)] for name, values in joined.items()}
    row = {name: float(values.mean()) if len(values) else np.nan for name, values in known.items()}
    truth, claimed = known["touching"] > 0.5, known["claimed"] > 0.5
    row["gap"] = float(np.median(known["gap"])) if len(known["gap"]) else np.nan
    row["overlap_largest"] = float(known["overlap"].max(initial=0))
    row["precision"] = float((claimed & truth).sum() / claimed.sum()) if claimed.any() else np.nan
    row["recall"] = float((claimed & truth).sum() / truth.sum()) if truth.any() else np.nan
    for name in _PROMISES:
        row[f"{name}_calibration"] = sum(
            share * abs(said - kept) for said, kept, share in promises(clips, name)
        )
    return {name: row[name] for name in ROWS}


def promises(clips: Sequence[Judged], name: str) -> list[tuple[float, float, float]]:
    """For each occupied tenth of a confidence ("pose" or "distance"): its mean, how often the event occurred,
    and its share of all hand frames.
    """
    said, error = (
        np.concatenate([clip.values[key] for clip in clips]) for key in (f"{name}_confidence", name)
    )
    known = np.isfinite(said) & np.isfinite(error)
    said, kept = said[known], error[known] < _PROMISES[name]
    tenth = (said * _TENTHS).astype(int).clip(max=_TENTHS - 1)
    groups = (tenth == number for number in np.unique(tenth))
    return [(float(said[of].mean()), float(kept[of].mean()), float(of.mean())) for of in groups]


@dataclass(frozen=True)
class _Skins:
    """Of each frame (T,), metres: least distance of the true skins; of the solved skins between the two bones whose
    true ones are nearest; deepest overlap of the solved ones; their least distance, 0 where they overlap.
    """

    true_m: Floats
    gap_m: Floats
    overlap_m: Floats
    least_m: Floats


def _skins(clip: KnownMotion, hand: HandModel, solution: ShotSolution, both: Bools) -> _Skins:
    bone = hand.skin_weights.argmax(-1)
    true_m, solved_m = clip.vertices_m(hand), _vertices_m(solution, hand)
    normals = np.stack([_normals(solved_m[:, side], hand.faces[side]) for side in (0, 1)], 1)
    out = np.full((4, len(both)), np.nan)
    for t in np.flatnonzero(both):
        left, right, apart_m = _nearest(*true_m[t])
        own, other = (solved_m[t, side][bone[side] == bone[side, at]] for side, at in ((0, left), (1, right)))
        hands = solved_m[t, 0], solved_m[t, 1]
        deep = max(_depth_m(*hands, normals[t, 1]), _depth_m(hands[1], hands[0], normals[t, 0]))
        least = 0.0 if deep > 0 else _nearest(*hands)[2]
        out[:, t] = apart_m, _nearest(own, other)[2], deep, least
    return _Skins(*out)


def _nearest(left_m: Floats, right_m: Floats) -> tuple[int, int, float]:
    """The nearest pair of points of two sets (V, 3), and their distance."""
    tree: Any = KDTree(right_m)
    distance, index = tree.query(left_m)
    left = int(distance.argmin())
    return left, int(index[left]), float(distance[left])


def _depth_m(own_m: Floats, other_m: Floats, normals: Floats) -> float:
    """Depth of the deepest of points (V, 3) inside the other hand, along the nearest vertex's normal."""
    tree: Any = KDTree(other_m)
    distance, index = tree.query(own_m, distance_upper_bound=_REACH_M)
    near = np.isfinite(distance)
    height = ((own_m[near] - other_m[index[near]]) * normals[index[near]]).sum(-1)
    return float(-height[height < -0.7 * distance[near]].min(initial=0.0))


def _vertices_m(solution: ShotSolution, hand: HandModel) -> Floats:
    wxyz = np.concatenate([solution.root_wxyz[:, :, None], solution.pose_wxyz], 2, dtype=np.float64)
    rotations = quaternion_to_matrix(np.where(np.isnan(wxyz), [1.0, 0, 0, 0], wxyz))
    wrist_m = np.nan_to_num(solution.wrist_cam_m).astype(np.float64)
    return hand.with_shape(solution.betas.astype(np.float64)).with_pose(rotations, wrist_m).vertices_m


def _normals(vertices_m: Floats, faces: NDArray[np.int64]) -> Floats:
    """(T, V, 3) outward; 0 on the open edge at the wrist, from which nothing is inside or outside the hand."""
    normals = vertex_normals(torch.from_numpy(vertices_m), torch.from_numpy(faces)).numpy()
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edge, count = np.unique(edges, axis=0, return_counts=True)
    normals[:, edge[count == 1]] = 0
    return normals


def _jitter(error_m: Floats, found: Bools) -> Floats:
    """Second differences of the middle knuckles' error (T, S, 3)."""
    second = 1000 * np.linalg.norm(error_m[2:] - 2 * error_m[1:-1] + error_m[:-2], axis=-1)
    return np.where(found[:-2] & found[1:-1] & found[2:], second, np.nan)


def _drift(depth_error_mm: Floats) -> Floats:
    """Range of the depth error within every second."""
    windows = np.lib.stride_tricks.sliding_window_view(depth_error_mm, round(FPS), 0)
    return np.ptp(windows, axis=-1)


def _amplitude(solved_m: Tensor, true_m: Tensor, K: Floats, found: Bools) -> Floats:
    """(1,) share of the speed across the picture that is kept in the fastest quarter; () if nothing moves."""
    there = found[1:] & found[:-1]
    own, theirs = (np.diff(_pixels(joints, K).mean(2), axis=0)[there] for joints in (solved_m, true_m))
    speed = np.linalg.norm(theirs, axis=-1)
    if not len(speed) or np.quantile(speed, 0.75) < 1.0:
        return np.zeros(0)
    fast = speed >= np.quantile(speed, 0.75)
    return np.array([(own[fast] * theirs[fast]).sum() / np.square(theirs[fast]).sum()])


def _sides(solved_m: Tensor, true_m: Tensor, K: Floats, both: Bools) -> Floats:
    """1 for frames in which the hands are nearer to their own truth than to the other hand's."""
    own, theirs = (_pixels(joints, K).mean(2)[both] for joints in (solved_m, true_m))
    straight = np.linalg.norm(own - theirs, axis=-1).sum(1)
    crossed = np.linalg.norm(own - theirs[:, ::-1], axis=-1).sum(1)
    return (straight <= crossed).astype(float)


def _fit_px(solved_m: Tensor, true_m: Tensor, K: Floats) -> Floats:
    own, theirs = (_pixels(joints, K) for joints in (solved_m, true_m))
    return np.linalg.norm(own - theirs, axis=-1).mean(-1) * _PICTURE_HEIGHT / SIZE_PX[1]


def _pixels(points_m: Tensor, K: Floats) -> Floats:
    return project_pinhole(points_m, torch.as_tensor(K).double()).numpy()
