# SPDX-License-Identifier: GPL-3.0-or-later
"""A shot through the two-hand network: frames and tracks in, hands in the whole frame's camera out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.camera import Camera
from inference_core.errors import RequestError
from inference_core.evidence import HandEvidence, NetworkEvidence
from inference_core.footage.records import Frame
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import MANO_NAME
from inference_core.network.available_engines import batch_of, chosen_engine
from inference_core.network.crop import CropCamera, crop_camera, cut_crop, shot_crops
from inference_core.network.engine import Engine, HandEstimates
from inference_core.network.lost_hands import bridged
from inference_core.network.picture import normalised
from inference_core.network.placement import placed_alone, placed_together
from inference_core.network.records import CropEvidence
from inference_core.network.weights import WeightsCard, load_weights

Progress = Callable[[str, int, int], None]
Floats = NDArray[np.float32]

STAGE = "network"
# An expected joint error at which the network's word counts half.
_HALF_CONFIDENCE_M = 0.02
_UNIT_M = 0.15
# Landmarks drawn across a gap: their score beside a seen hand, and after how many frames it falls to a third.
BRIDGED_SCORE, BRIDGED_FRAMES = 0.45, 8.0


@dataclass(frozen=True)
class Predictor:
    """An engine with what must be known of its weights. batch: crops at once; betas_apply: whether they are of
    the hand model in use.
    """

    engine: Engine
    card: WeightsCard
    batch: int
    betas_apply: bool


@dataclass(frozen=True)
class _Crop:
    at: int
    camera: CropCamera
    image: NDArray[np.uint8]


def load_predictor(
    weights: Path, hand: HandModel, device: torch.device | str = "cpu", cache: Path | None = None
) -> Predictor:
    """The network of a weights folder, run on `device` by the engine that measured best there.

    cache: where the choice is kept; default: the user's folder. Raises WeightsError, and RequestError for
    weights that speak of MANO's hands where `hand` is another model.
    """
    network, card = load_weights(weights)
    engine = chosen_engine(network, fitting_hand(card, hand), torch.device(device), cache)
    return Predictor(engine, card, batch_of(torch.device(device)), card.hand_model == hand.name)


def fitting_hand(card: WeightsCard, hand: HandModel) -> HandModel:
    """The hand model as the weights know it: with their fingertips. Raises RequestError where they need MANO."""
    if card.hand_model == MANO_NAME and hand.name != MANO_NAME:
        raise RequestError(
            f"{card.configuration.name} weights speak of MANO's hands: name your MANO folder (--mano), "
            "or choose another network."
        )
    if card.tip_vertices is None:
        return hand
    tips = torch.tensor(card.tip_vertices, device=hand.tip_vertices.device)
    return replace(hand, tip_vertices=tips)


def predict_shot(
    frames: Iterable[Frame],
    evidence: HandEvidence,
    camera: Camera,
    predictor: Predictor,
    progress: Progress | None = None,
) -> NetworkEvidence:
    """What the network says of every frame of the shot, in the frame's camera.

    frames: as many as the evidence has, in order. Frames without a picture or without a hand nearby in time
    get NaN and confidence 0. Where the tracks say a hand is there but the network does not, its confidence
    is low.
    """
    count = len(evidence.present)
    result = _empty(count)
    squares, shot = shot_crops(evidence), shot_evidence(evidence)
    batch: list[_Crop] = []
    for at, crop in enumerate(_crops(frames, squares, camera)):
        if crop is not None:
            batch.append(crop)
        if len(batch) == predictor.batch:
            _predict_batch(batch, evidence, shot, predictor, result)
            batch = []
        if progress is not None:
            progress(STAGE, at + 1, count)
    if batch:
        _predict_batch(batch, evidence, shot, predictor, result)
    return result


@dataclass(frozen=True)
class ShotEvidence:
    """The landmarks of a shot as the network takes them: those of a lost hand drawn across the gap from the frames
    around, with a score that falls with the distance. Shapes as HandEvidence's; score (T, S, 21).
    """

    points_px: NDArray[np.float64]
    world_m: NDArray[np.float64]
    score: NDArray[np.float64]
    side_score: NDArray[np.float64]


def shot_evidence(evidence: HandEvidence) -> ShotEvidence:
    """What the tracks say of every frame, lost hands included."""
    points, world_m = evidence.landmarks_px[..., :2].astype(np.float64), evidence.world_m.astype(np.float64)
    score = np.nan_to_num(evidence.landmarks_px[..., 2].astype(np.float64))
    seen = np.isfinite(points).all(-1) & np.isfinite(world_m).all(-1) & (score > 0)
    known = seen.any(-1)
    points, distance = bridged(points, known)
    world_m, _ = bridged(world_m, known)
    side_score, _ = bridged(evidence.side_score.astype(np.float64), known)
    usable = np.isfinite(points).all(-1) & np.isfinite(world_m).all(-1)
    fallen = BRIDGED_SCORE * np.exp(-distance / BRIDGED_FRAMES)
    score = np.where(known[..., None], np.where(seen, score, 0.0), fallen[..., None]) * usable
    return ShotEvidence(np.nan_to_num(points), np.nan_to_num(world_m), score, np.nan_to_num(side_score))


def crop_evidence(evidence: ShotEvidence, at: int, camera: CropCamera) -> CropEvidence:
    """What the landmarks of frame `at` say in a crop, batch of one.

    World landmarks come from upright crops of their own, seen straight on: they are taken as they are in
    the crop's axes.
    """
    score = evidence.score[at]
    known = score > 0
    uv = np.where(known[..., None], camera.uv_from_px(evidence.points_px[at]), 0.0)
    world = evidence.world_m[at]
    rel = np.where(known[..., None], world - world[:, :1], 0.0)
    hand_score = score.sum(-1) / known.sum(-1).clip(1)
    side_score = np.where(known.any(-1), evidence.side_score[at], 0.0)
    arrays = (uv, score, rel, hand_score, side_score, np.float32(camera.focal_uv))
    return CropEvidence(*(torch.from_numpy(np.asarray(a, np.float32)[None]) for a in arrays))


def _crops(frames: Iterable[Frame], squares: NDArray[np.float64], camera: Camera) -> Iterator[_Crop | None]:
    intrinsics = np.broadcast_to(camera.K, (len(squares), 3, 3))
    for at, (frame, square) in enumerate(zip(frames, squares, strict=False)):
        if frame.image is None or not np.isfinite(square).all():
            yield None
            continue
        view = crop_camera(square, intrinsics[at])
        yield _Crop(at, view, cut_crop(frame.image, view, float(square[2])))


def _predict_batch(
    crops: list[_Crop],
    evidence: HandEvidence,
    shot: ShotEvidence,
    predictor: Predictor,
    result: NetworkEvidence,
) -> None:
    """Fills the frames of `crops` in `result`."""
    images = torch.from_numpy(np.stack([crop.image for crop in crops])).permute(0, 3, 1, 2).float() / 255
    known = [crop_evidence(shot, crop.at, crop.camera).tensors for crop in crops]
    joined = CropEvidence(*(torch.cat(values) for values in zip(*known, strict=True)))
    found = predictor.engine(normalised(images), joined)
    at = np.array([crop.at for crop in crops])
    tracked = (evidence.present[at] > 0).astype(np.float32)
    presence = tracked if found.presence is None else found.presence.numpy()
    wrists = _placed(found, joined.focal_uv, torch.from_numpy(presence > 0.5))
    back = torch.from_numpy(np.stack([crop.camera.turn.T for crop in crops])).float()
    rotations = found.rotations.clone()
    rotations[:, :, 0] = back[:, None] @ rotations[:, :, 0]
    result.rotations[at] = rotations.numpy()
    result.joints_rel_m[at] = torch.einsum("bxy,bsjy->bsjx", back, found.joints_m).numpy()
    result.wrist_cam_m[at] = torch.einsum("bxy,bsy->bsx", back, wrists).numpy()
    result.betas[at] = found.betas.numpy() if predictor.betas_apply else np.nan
    result.offset_m[at] = torch.einsum("bxy,by->bx", back, found.offset_m).numpy()
    result.presence[at] = presence
    result.confidence[at] = presence * _trust(found)


def _placed(found: HandEstimates, focal_uv: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    alone = placed_alone(found.joints_m.double(), found.joints_uv.double(), focal_uv.double())
    return placed_together(alone, found.offset_m.double(), present.all(1).double()).float()


def _trust(found: HandEstimates) -> Floats | float:
    """(B, S) 0..1 from the error the network expects of its joints; 1 for a network that does not say."""
    if found.log_sigma is None:
        return 1.0
    error_m = found.log_sigma[..., 1].exp() * _UNIT_M
    return (1 / (1 + (error_m / _HALF_CONFIDENCE_M).square())).numpy()


def _empty(count: int) -> NetworkEvidence:
    def missing(*shape: int) -> Floats:
        return np.full((count, *shape), np.nan, np.float32)

    def nothing() -> Floats:
        return np.zeros((count, 2), np.float32)

    return NetworkEvidence(
        rotations=missing(2, 16, 3, 3),
        joints_rel_m=missing(2, 21, 3),
        wrist_cam_m=missing(2, 3),
        betas=missing(2, 10),
        offset_m=missing(3),
        confidence=nothing(),
        presence=nothing(),
    )
