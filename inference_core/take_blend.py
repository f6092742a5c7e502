# SPDX-License-Identifier: GPL-3.0-or-later
"""Blends a solved range into the surrounding take."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.corrected_evidence import CorrectedEvidence
from inference_core.fitting.shot_record import joints_cam_m
from inference_core.fitting.solution import ShotSolution
from inference_core.fitting.solve_constraints import HARD_PIN, Poses
from inference_core.geometry.projection import project_pinhole
from inference_core.hand_model.hand import HandModel
from inference_core.shared import quaternions
from inference_core.shared.presence import ABSENT
from inference_core.shared.take import Take
from inference_core.take_evidence import evidence_arrays

_TURNS = ("root_wxyz", "pose_wxyz")

Floats = NDArray[np.floating]

_MOVING = (
    "root_wxyz",
    "pose_wxyz",
    "wrist_cam_m",
    "raw_root_wxyz",
    "raw_pose_wxyz",
    "raw_wrist_cam_m",
    "raw_joints_cam_m",
    "confidence",
    "pose_confidence",
    "distance_confidence",
    "contact",
    "present",
)


@dataclass(frozen=True)
class PinnedPoses:
    """Pinned poses of T frames: trust (T, S), 0 for none; present (T, S); doubt (T, S) of the observations."""

    poses: Poses
    trust: NDArray[np.float64]
    doubt: NDArray[np.float64]
    present: NDArray[np.uint8]

    @property
    def stay(self) -> NDArray[np.bool_]:
        """(T, S) where a pose must not change."""
        return self.trust >= HARD_PIN


def solved_rows(solution: ShotSolution, rows: range, part: range) -> dict[str, Floats]:
    """The rows of the result of solving part of the take."""
    inner = slice(rows.start - part.start, rows.stop - part.start)
    return {name: getattr(solution, name)[inner] for name in _MOVING}


def blended(
    take: Take,
    solved: Mapping[str, Floats],
    poses: PinnedPoses,
    rows: range,
    model: HandModel,
    blend: int,
    continues: tuple[bool, bool],
) -> Take:
    """The take with the solved rows, blended over `blend` frames at the ends beyond which it continues: the first and
    the last. Fixed poses do not change.
    """
    span = slice(rows.start, rows.stop)
    present = solved["present"].copy()
    stay = poses.stay[span]
    present[stay] = poses.present[span][stay]
    fade = _fade(len(rows), blend, continues)
    share = fade[:, None]
    old_there = take.present[span] != ABSENT
    share = np.where(old_there, share, 1.0)  # A hand that was absent has no motion to blend from.
    arrays: dict[str, Any] = {}
    for name in ("root_wxyz", "pose_wxyz", "wrist_cam_m"):
        pinned = getattr(poses.poses, name)[span]
        new = np.where(_wide(stay, pinned), pinned, solved[name])
        mixed = _mixed(getattr(take, name)[span], new, share, name in _TURNS)
        arrays[name] = np.where(_wide(present == ABSENT, mixed), np.nan, mixed).astype(np.float32)
    joints_m = joints_cam_m(model, take.betas.astype(np.float64), *arrays.values())
    same = stay & (poses.present[span] == take.present[span]) & _alike(take, arrays, span)
    arrays["joints_cam_m"] = np.where(_wide(same, joints_m), take.joints_cam_m[span], joints_m)
    arrays["present"] = present
    for name in ("confidence", "pose_confidence", "distance_confidence"):
        old = getattr(take, name)
        if old is not None:
            mixed = np.where(stay, old[span], old[span] + share * (solved[name] - old[span]))
            arrays[name] = np.where(present == ABSENT, 0, np.clip(mixed, 0, 1))
    if take.contact is not None:
        arrays["contact"] = take.contact[span] + fade * (solved["contact"] - take.contact[span])
    return _with_rows(take, arrays, span)


def with_corrected_evidence(
    result: Take, take: Take, corrected: CorrectedEvidence, solved: Mapping[str, Floats], rows: range
) -> Take:
    """The take with its evidence and raw motion in the rows replaced where the corrections changed them."""
    span = slice(rows.start, rows.stop)
    changed = corrected.changed[span]
    absent = result.present[span] == ABSENT
    arrays: dict[str, Any] = {}
    for name in ("raw_root_wxyz", "raw_pose_wxyz", "raw_wrist_cam_m", "raw_joints_cam_m"):
        raw = getattr(take, name)[span]
        unknown = ~np.isfinite(raw).all(tuple(range(2, raw.ndim)))
        raw = np.where(_wide(changed | unknown, raw), solved[name], raw)
        arrays[name] = np.where(_wide(absent, raw), np.nan, raw)
    K = take.K if take.K.ndim == 2 else take.K[span]
    shown = project_pinhole(result.joints_cam_m[span].astype(np.float64), K)
    shown = np.concatenate([shown, np.zeros_like(shown[..., :1])], -1)
    landmarks = corrected.tracks.landmarks_px[span]
    unread = ~np.isfinite(landmarks).all((-1, -2))
    landmarks = np.where(_wide(unread, landmarks), shown, landmarks)
    landmarks[absent] = np.nan
    landmarks[absent, :, 2] = 0
    touched = changed | (take.present[span] != result.present[span])
    arrays["landmarks_px"] = np.where(_wide(touched, landmarks), landmarks, take.landmarks_px[span])
    assert take.evidence_world_scale is not None
    if changed.any():
        kept = evidence_arrays(corrected.tracks, corrected.predictions, take.evidence_world_scale)
        arrays |= {name: values[span] for name, values in kept.items() if name != "evidence_world_scale"}
    return _with_rows(result, arrays, span)


def _with_rows(take: Take, arrays: dict[str, Any], span: slice) -> Take:
    changed: dict[str, Any] = {}
    for name, values in arrays.items():
        whole = getattr(take, name).copy()
        whole[span] = values
        changed[name] = whole
    return replace(take, **changed)


def _fade(count: int, blend: int, continues: tuple[bool, bool]) -> NDArray[np.float64]:
    """(R,) weights of the new motion: 1, but falling towards the ends beyond which the take continues."""
    share: NDArray[np.float64] = np.ones(count)
    at = np.arange(count, dtype=np.float64)
    if continues[0]:
        share = np.minimum(share, (at + 1) / (blend + 1))
    if continues[1]:
        share = np.minimum(share, (count - at) / (blend + 1))
    return share**2 * (3 - 2 * share)


def _mixed(old: Floats, new: Floats, share: Floats, turns: bool) -> Floats:
    old, new = old.astype(np.float64), new.astype(np.float64)
    wide = _wide(share, new)
    old = np.where(np.isfinite(old), old, new)
    if not turns:
        return old + wide * (new - old)
    new = new * np.where((old * new).sum(-1, keepdims=True) < 0, -1.0, 1.0)
    return quaternions.normalized(old + wide * (new - old))


def _wide(values: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """Values (R, S) with trailing axes added, to combine with an array (R, S, ...)."""
    return values.reshape(*values.shape, *[1] * (like.ndim - values.ndim))


def _alike(take: Take, arrays: dict[str, Any], span: slice) -> NDArray[np.bool_]:
    """(R, S) where the motion equals the take's up to rounding."""
    return np.stack(
        [
            np.isclose(getattr(take, name)[span], arrays[name], atol=1e-6, equal_nan=True).all(
                tuple(range(2, arrays[name].ndim))
            )
            for name in ("root_wxyz", "pose_wxyz", "wrist_cam_m")
        ]
    ).all(0)
