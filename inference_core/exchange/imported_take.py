# SPDX-License-Identifier: GPL-3.0-or-later
"""A take made from another engine's hands: its rotations on our hand model, in the camera that it used."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core import __version__
from inference_core.exchange.engine_hands import EngineHands, Floats, pinhole
from inference_core.exchange.frame_results import FOCAL_OF_WIDER_SIDE
from inference_core.exchange.hand_size import betas_of_bones, betas_of_length
from inference_core.exchange.import_settings import ImportSettings, joints_or_wrist, size_of_pictures
from inference_core.geometry.camera import Camera
from inference_core.hand_model.at_rest import resting_arrays
from inference_core.hand_model.hand import HandModel, ShapedHands
from inference_core.shared import quaternions
from inference_core.shared.presence import ABSENT, FILLED, SEEN
from inference_core.shared.skeleton import PARENTS_21
from inference_core.shared.take import Take

_USUAL_FPS = 30.0
_NARROW_DEG = 15.0  # an assumed lens under this places hands many metres away


@dataclass(frozen=True)
class _Motion:
    """rotations (T, 2, 16, 3, 3), wrist_m (T, 2, 3) and joints_m (T, 2, 21, 3) in camera axes."""

    rotations: Floats
    wrist_m: Floats
    joints_m: Floats


def imported_take(
    hands: EngineHands, files: Sequence[Path], model: HandModel, settings: ImportSettings
) -> tuple[Take, list[str]]:
    """The take, and notices for the user. hands: as hands_to_import returns them."""
    size_px = size_of_pictures(hands, settings)
    betas, scale = _betas(hands, model, settings.hand_length_mm)
    shaped = model.with_shape(betas)
    camera, motion, said = _seen(hands, _posed(hands, model, shaped), size_px, settings.lens)
    lengths = 1000 * np.linalg.norm(shaped.rest_tips_m[:, 2] - shaped.rest_joints_m[:, 0], axis=-1)
    arrays: dict[str, Any] = {**resting_arrays(shaped), **_moving(hands, motion, camera.K)}
    take = Take(
        time_s=_times(hands, settings),
        frame=hands.frame,
        fps=_fps(hands, settings),
        size_px=np.array(size_px, np.int64),
        K=camera.K,
        T_world_cam=hands.T_world_cam,
        present=np.where(hands.present, np.where(hands.filled, FILLED, SEEN), ABSENT).astype(np.uint8),
        confidence=np.where(hands.present, hands.confidence, 0).astype(np.float32),
        betas=betas.astype(np.float32),
        meta={
            "footage": settings.footage.info.as_json() if settings.footage else {},
            "camera": {"source": camera.source, "fov_deg": camera.fov_deg},
            "hand_model": {"name": model.name, "licence": model.licence},
            "network": hands.engine,
            "imported": {
                "engine": hands.engine,
                "files": [str(path) for path in files],
                "rotations": _rotations_said(hands, model),
            },
            "scale": {"source": scale, "hand_length_mm": [round(mm, 1) for mm in lengths.tolist()]},
            "settings": {},
            "versions": {
                "duohand": __version__,
                "python": platform.python_version(),
                "numpy": np.__version__,
            },
            "warnings": said,
        },
        **arrays,
    )
    return take, said


def _posed(hands: EngineHands, model: HandModel, shaped: ShapedHands) -> _Motion:
    rotations, wrist_m = np.concatenate([hands.root[:, :, None], hands.fingers], 2), _wrists(hands, model)
    posed = shaped.with_pose(rotations, wrist_m)
    return _Motion(rotations, wrist_m, posed.joints21_m)


def _seen(
    hands: EngineHands, motion: _Motion, size_px: tuple[int, int], lens: Camera | None
) -> tuple[Camera, _Motion, list[str]]:
    """The camera, the hands as seen by it, and warnings."""
    own = Camera(_own_lens(hands, size_px), size_px, np.eye(4), f"by {hands.engine}")
    if not hands.assumes_lens:
        return own, motion, []
    if lens is not None:
        return lens, _seen_through(motion, own.K, lens.K), []
    if own.fov_deg >= _NARROW_DEG:
        return own, motion, []
    said = (
        f"{hands.engine} does not know the lens: it assumes {own.fov_deg:.1f} degrees, so the hands stand much too far "
        "away. Give the true lens by --fov."
    )
    return replace(own, source=f"assumed by {hands.engine}"), motion, [said]


def _own_lens(hands: EngineHands, size_px: tuple[int, int]) -> Floats:
    """The engine's K for pictures of this size."""
    if hands.K is not None and hands.size_px is not None:
        return np.diag([size_px[0] / hands.size_px[0], size_px[1] / hands.size_px[1], 1.0]) @ hands.K
    return pinhole(hands.focal_px or FOCAL_OF_WIDER_SIDE * max(size_px), np.array(size_px) / 2)


def _seen_through(motion: _Motion, K: Floats, wanted: Floats) -> _Motion:
    """The hands moved nearer or farther and rotated with the line of sight, so that another lens shows them with the
    same size and place in the picture.
    """
    centre_m = motion.joints_m.mean(-2)
    pixels = centre_m @ K.T / centre_m[..., 2:]
    moved_m = pixels @ np.linalg.inv(wanted).T * (centre_m[..., 2:] * wanted[0, 0] / K[0, 0])
    turns = _between(centre_m, moved_m)
    return _Motion(
        rotations=np.concatenate(
            [turns[:, :, None] @ motion.rotations[:, :, :1], motion.rotations[:, :, 1:]], 2
        ),
        wrist_m=np.einsum("tsij,tsj->tsi", turns, motion.wrist_m - centre_m) + moved_m,
        joints_m=np.einsum("tsij,tskj->tski", turns, motion.joints_m - centre_m[..., None, :])
        + moved_m[..., None, :],
    )


def _between(first: Floats, second: Floats) -> Floats:
    """The smallest rotations (..., 3, 3) from one direction (..., 3) to another."""
    a = first / np.linalg.norm(first, axis=-1, keepdims=True)
    b = second / np.linalg.norm(second, axis=-1, keepdims=True)
    half = np.concatenate([1 + (a * b).sum(-1, keepdims=True), np.cross(a, b)], -1)
    return quaternions.to_matrix(half)


def _wrists(hands: EngineHands, model: HandModel) -> Floats:
    """(T, 2, 3): exact where joints are known, and with MANO's own hands, whose betas determine the resting wrist."""
    wrist_m = joints_or_wrist(hands)
    if hands.model != model.name:
        return wrist_m
    resting = model.with_shape(hands.betas).rest_joints_m[..., 0, :]
    unknown = hands.present & ~np.isfinite(hands.joints_m).all((-1, -2))
    return np.where(unknown[..., None], hands.transl_m + resting, wrist_m)


def _betas(hands: EngineHands, model: HandModel, hand_length_mm: float | None) -> tuple[Floats, str]:
    """betas (2, 10) of the model, and where they come from."""
    if hands.model == model.name:
        return _median(hands.betas, hands.present), f"{hands.engine}'s"
    if hand_length_mm is not None:
        return betas_of_length(model, hand_length_mm), "hand length given"
    bones = hands.joints_m[:, :, 1:] - hands.joints_m[:, :, PARENTS_21[1:]]
    lengths = np.linalg.norm(bones, axis=-1)
    known = np.isfinite(lengths).any((0, -1))
    medians = np.stack(
        [np.nanmedian(lengths[:, side], 0) if known[side] else np.full(20, np.nan) for side in (0, 1)]
    )
    source = f"fitted to the joints of {hands.engine}'s hands" if known.any() else "people's mean"
    return betas_of_bones(model, medians), source


def _median(betas: Floats, present: NDArray[np.bool_]) -> Floats:
    """(2, 10) one shape per hand; zeros for a hand that is never seen."""
    sides = [betas[present[:, side], side] for side in (0, 1)]
    return np.stack([np.median(side, 0) if len(side) else np.zeros(10) for side in sides])


def _moving(hands: EngineHands, motion: _Motion, K: Floats) -> dict[str, NDArray[np.float32]]:
    wxyz = quaternions.from_matrix(motion.rotations)
    values = {
        "root_wxyz": wxyz[:, :, 0],
        "pose_wxyz": wxyz[:, :, 1:],
        "wrist_cam_m": motion.wrist_m,
        "joints_cam_m": motion.joints_m,
    }
    values |= {f"raw_{name}": value.copy() for name, value in values.items()}
    seen = np.einsum("tij,tskj->tski", np.broadcast_to(K, (hands.frame_count, 3, 3)), motion.joints_m)
    values["landmarks_px"] = np.concatenate([seen[..., :2] / seen[..., 2:], np.zeros_like(seen[..., :1])], -1)
    typed = {name: value.astype(np.float32) for name, value in values.items()}
    for value in typed.values():
        value[~hands.present] = np.nan
    typed["landmarks_px"][~hands.present, :, 2] = 0
    return typed


def _rotations_said(hands: EngineHands, model: HandModel) -> str:
    if hands.model == model.name:
        return f"exact, on {model.name}"
    return "MANO's, on the open hand: fingertips differ by some millimetres"


def _times(hands: EngineHands, settings: ImportSettings) -> Floats:
    if settings.footage is None:
        return hands.frame / _fps(hands, settings) if hands.time_s is None else hands.time_s
    return np.array([settings.footage.time_s(int(number)) for number in hands.frame], np.float64)


def _fps(hands: EngineHands, settings: ImportSettings) -> float:
    return settings.footage.info.fps if settings.footage else settings.fps or hands.fps or _USUAL_FPS
