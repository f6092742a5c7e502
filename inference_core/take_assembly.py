# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds a take from the results of the stages: the solved shot, its tracks, the camera, the hand model."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core import __version__
from inference_core.fitting.lens import LensEstimate
from inference_core.fitting.settings import SOLVER_VERSION
from inference_core.fitting.solution import ShotSolution
from inference_core.footage import FootageInfo
from inference_core.geometry.camera import Camera
from inference_core.geometry.projection import project_pinhole
from inference_core.hand_model.at_rest import resting_arrays
from inference_core.hand_model.hand import HandModel, ShapedHands
from inference_core.shared.messages import CaptureRequest
from inference_core.shared.presence import ABSENT
from inference_core.shared.take import Take
from inference_core.take_evidence import evidence_arrays
from inference_core.tracking.arms import arms_in_camera
from inference_core.tracking.detections import ShotDetections
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.two_hand.predictions import TwoHandPredictions


def assemble_take(
    solution: ShotSolution,
    tracks: HandTracks,
    camera: Camera,
    info: FootageInfo,
    detections: ShotDetections,
    hand_model: HandModel,
    meta: Mapping[str, Any],
    predictions: TwoHandPredictions | None,
) -> Take:
    """The take of the solved shot, with the shaped hands at rest that its motion applies to, and
    the evidence it was solved from.
    """
    time_s = detections.time_s
    absent = solution.present == ABSENT
    moving = {
        name: np.where(absent.reshape(*absent.shape, *[1] * (value.ndim - 2)), np.nan, value).astype(
            np.float32
        )
        for name, value in _moving(solution, tracks, camera).items()
    }
    moving["landmarks_px"][absent, :, 2] = 0  # a score, which says that there is none
    betas = np.where(np.isfinite(solution.betas), solution.betas, 0).astype(np.float32)
    shaped = hand_model.with_shape(betas.astype(np.float64))
    poses = np.broadcast_to(camera.T_world_cam, (len(time_s), 4, 4))
    arms_cam_m, arms_score = arms_in_camera(detections, moving["wrist_cam_m"], camera.K)
    has_arms = bool((arms_score > 0).any())
    return Take(
        time_s=time_s,
        frame=np.array(info.numbers, np.int64),
        fps=info.fps,
        size_px=np.array(info.size_px, np.int64),
        K=camera.K,
        T_world_cam=poses.copy(),
        present=solution.present.astype(np.uint8),
        confidence=np.where(absent, 0, np.clip(solution.confidence, 0, 1)).astype(np.float32),
        betas=betas,
        pose_confidence=np.where(absent, 0, solution.pose_confidence).astype(np.float32),
        distance_confidence=np.where(absent, 0, solution.distance_confidence).astype(np.float32),
        contact=solution.contact.astype(np.float32),
        meta={**meta, "scale": _scale(shaped, meta["settings"]["hand_length_mm"])},
        arms_cam_m=arms_cam_m if has_arms else None,
        arms_score=arms_score if has_arms else None,
        **resting_arrays(shaped),
        **moving,
        **evidence_arrays(tracks, predictions, solution.world_scale),
    )


def take_meta(
    request: CaptureRequest,
    info: FootageInfo,
    camera: Camera,
    hand_model: HandModel,
    network: str | None,
    warnings: Sequence[str],
    cuts: Sequence[int] = (),
    plate: Path | None = None,
    lens: LensEstimate | None = None,
) -> dict[str, Any]:
    """The origin of a take as JSON values (docs/take_format.md). network: its name, None without one. cuts: numbers of
    the frames that begin a piece, apart from the first.

    plate: the movie of the processed frames, if Blender shows the footage differently. lens: by the hands, where the
    camera's is assumed.
    """
    return {
        "footage": info.as_json(plate),
        "camera": {
            "source": camera.source,
            "fov_deg": camera.fov_deg,
            "by_hands": None if lens is None else {name: round(of, 1) for name, of in vars(lens).items()},
        },
        "hand_model": {"name": hand_model.name, "licence": hand_model.licence},
        "network": network,
        "settings": asdict(request),
        "versions": {
            "duohand": __version__,
            "solver": SOLVER_VERSION,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": _torch_version(),
        },
        "warnings": list(warnings),
        **({"cuts": list(cuts)} if cuts else {}),
    }


def _torch_version() -> str:
    """Without importing it: where OpenVINO runs the networks, nothing needs it."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return "none"


def _scale(shaped: ShapedHands, given_mm: float | None) -> dict[str, Any]:
    """How the hands' size was determined, and their lengths, left and right, from the wrist to the middle fingertip."""
    wrist_m, tip_m = shaped.rest_joints_m[:, 0], shaped.rest_tips_m[:, 2]
    source = (
        "hand length given"
        if given_mm
        else "the population's mean adjusted by the footage: accurate to about 5 %"
    )
    return {
        "source": source,
        "hand_length_mm": [round(mm, 1) for mm in (1000 * np.linalg.norm(tip_m - wrist_m, axis=-1)).tolist()],
    }


def _moving(solution: ShotSolution, tracks: HandTracks, camera: Camera) -> dict[str, NDArray[np.float32]]:
    names = ("root_wxyz", "pose_wxyz", "wrist_cam_m", "joints_cam_m")
    solved = {name: getattr(solution, name) for name in names}
    raw = {f"raw_{name}": getattr(solution, f"raw_{name}") for name in names}
    return {**solved, **raw, "landmarks_px": _landmarks_px(solution, tracks, camera)}


def _landmarks_px(solution: ShotSolution, tracks: HandTracks, camera: Camera) -> NDArray[np.float32]:
    """(T, S, 21, 3) the tracks' landmarks; for a hand without any, its solved joints in the picture with score 0."""
    found = np.isfinite(tracks.landmarks_px).all((-1, -2))
    projected = project_pinhole(solution.joints_cam_m.astype(np.float64), camera.K)
    unseen = np.concatenate([projected, np.zeros_like(projected[..., :1])], -1)
    return np.where(found[..., None, None], tracks.landmarks_px, unseen).astype(np.float32)
