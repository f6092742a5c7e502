# SPDX-License-Identifier: GPL-3.0-or-later
"""A shot through the two-hand network: frames and tracks in, hands in the whole frame's camera out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.fitting.initial_fit import fitted, for_refined, shape_of
from inference_core.footage.records import Frame
from inference_core.geometry.camera import Camera
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import MANO_NAME
from inference_core.landmarks.hand_crops import HandCrops, cut_hand_crops
from inference_core.landmarks.landmark_head import HeadWithLandmarks, refined, stored_head
from inference_core.shared.errors import RequestError
from inference_core.shared.presence import SEEN
from inference_core.tracking.hand_tracks import REMEMBERED_FRAMES, HandTracks, frames_to_known
from inference_core.tracking.recover import recover_hands
from inference_core.two_hand.available_engines import batch_of, chosen_engine
from inference_core.two_hand.conditioning import (
    SEEN_SCORE,
    ShotConditioning,
    crop_conditioning,
    shot_conditioning,
)
from inference_core.two_hand.crop import CropCamera, crop_camera, cut_crop, shot_crops
from inference_core.two_hand.engine import Engine, HandEstimates
from inference_core.two_hand.picture import normalised
from inference_core.two_hand.placement import placed_alone, placed_together
from inference_core.two_hand.predictions import TwoHandPredictions
from inference_core.two_hand.records import Conditioning
from inference_core.two_hand.weights import WeightsCard, stored_network

Progress = Callable[[str, int, int], None]
Floats = NDArray[np.float32]

STAGE = "network"
# An expected joint error at which the network's word counts half.
_HALF_CONFIDENCE_M = 0.02
_UNIT_M = 0.15
# How likely a hand that is seen a little before and a little after is there, however little is seen of it.
_THERE_BETWEEN = 0.9
# Crops held while the hand model is fitted to their landmarks, all together.
_FITTED_AT_ONCE = 64


@dataclass(frozen=True)
class Predictor:
    """An engine with what must be known of its weights. hand: the model fitted to the landmarks first, float64.
    head: reads the evidence's hands again; None where the weights come without one or take no evidence.
    batch: crops at once; betas_apply: whether they are of the hand model in use.
    """

    engine: Engine
    card: WeightsCard
    hand: HandModel
    head: HeadWithLandmarks | None
    batch: int
    betas_apply: bool


@dataclass(frozen=True)
class _Crop:
    at: int
    camera: CropCamera
    image: NDArray[np.uint8]
    hand_crops: HandCrops | None


def load_predictor(
    weights: Path, hand: HandModel, device: torch.device | str = "cpu", cache: Path | None = None
) -> Predictor:
    """The network of a weights folder, run on `device` by the engine that measured best there.

    cache: where the choice is kept; default: the user's folder. Raises WeightsError, and RequestError for
    weights that speak of MANO's hands where `hand` is another model.
    """
    network = stored_network(weights)
    card = network.card
    engine = chosen_engine(network, fitting_hand(card, hand), torch.device(device), cache)
    return Predictor(
        engine,
        card,
        hand.to("cpu", torch.float64),
        stored_head(network.file.parent) if card.configuration.evidence else None,
        batch_of(torch.device(device)),
        betas_apply=card.hand_model == hand.name,
    )


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


def recover_and_predict(
    footage: Callable[[], Iterable[Frame]],
    evidence: HandTracks,
    camera: Camera,
    predictor: Predictor,
    progress: Progress | None = None,
) -> TwoHandPredictions:
    """What the network says of every frame, after a second look for the hands that the tracks lost.

    footage: gives the frames from the start whenever it is called.
    """
    if predictor.head is not None:
        evidence = recover_hands(footage(), evidence, predictor.head)
    return predict_shot(footage(), evidence, camera, predictor, progress)


def predict_shot(
    frames: Iterable[Frame],
    evidence: HandTracks,
    camera: Camera,
    predictor: Predictor,
    progress: Progress | None = None,
) -> TwoHandPredictions:
    """What the network says of every frame of the shot, in the frame's camera.

    frames: as many as the evidence has, in order. Frames without a picture or without a hand nearby in time
    get NaN and confidence 0. Where the tracks say a hand is there but the network does not, its confidence
    is low.
    """
    count = len(evidence.present)
    result = _empty(count)
    squares, shot = shot_crops(evidence), shot_conditioning(evidence)
    views = _views(squares, camera)

    known_of_shot = Conditioning.joined([crop_conditioning(shot, at, view) for at, view in views.items()])
    row_of = {at: row for row, at in enumerate(views)}
    takes_evidence = predictor.card.configuration.evidence
    shape = shape_of(known_of_shot, predictor.hand) if takes_evidence else None
    if shape is not None and predictor.head is not None:
        shape = for_refined(shape, predictor.hand)

    def finish(crops: list[_Crop]) -> None:
        chosen = [row_of[crop.at] for crop in crops]
        known = known_of_shot.map(lambda value: value[chosen])
        if predictor.head is not None and shape is not None:
            known = _lifted(known, crops, predictor.head, result)
        if shape is not None:
            known = fitted(known, shape)
        for start in range(0, len(crops), predictor.batch):
            rows = slice(start, start + predictor.batch)
            _predict_batch(
                crops[rows], known.map(lambda value, rows=rows: value[rows]), evidence, predictor, result
            )

    waiting: list[_Crop] = []
    for at, frame in enumerate(frames):
        if frame.image is not None and at in views:
            picture = cut_crop(frame.image, views[at], float(squares[at, 2]))
            waiting.append(_Crop(at, views[at], picture, _looks(frame.image, shot, at, views[at], predictor)))
        if len(waiting) == _FITTED_AT_ONCE:
            finish(waiting)
            waiting = []
        if progress is not None:
            progress(STAGE, at + 1, count)
    if waiting:
        finish(waiting)
    # What one frame says of a hand, and that it is seen a little before and a little after.
    before, after = frames_to_known(evidence.present == SEEN)
    chance = _THERE_BETWEEN * (np.maximum(before, after) <= REMEMBERED_FRAMES)
    np.copyto(result.presence, 1 - (1 - result.presence) * (1 - chance), where=result.presence > 0)
    return result


def _views(squares: NDArray[np.float64], camera: Camera) -> dict[int, CropCamera]:
    """The crop's camera of every frame that has a square."""
    intrinsics = np.broadcast_to(camera.K, (len(squares), 3, 3))
    there = np.flatnonzero(np.isfinite(squares).all(1)).tolist()
    return {at: crop_camera(squares[at], intrinsics[at]) for at in there}


def _looks(
    image: NDArray[np.uint8], shot: ShotConditioning, at: int, view: CropCamera, predictor: Predictor
) -> HandCrops | None:
    """At the hands of frame `at` that landmarks of the frame or of those around tell of."""
    if predictor.head is None:
        return None
    known = (shot.score[at : at + 1] > 0).any(-1)
    return cut_hand_crops(
        [image], shot.points_px[at : at + 1], known, view.crop_from_frame[None], predictor.head.landmarks
    )


def _lifted(
    known: Conditioning, crops: list[_Crop], head: HeadWithLandmarks, result: TwoHandPredictions
) -> Conditioning:
    """The evidence as the head reads it; what it reads of seen hands is written into `result`, in the frame."""
    hand_crops = HandCrops.joined([crop.hand_crops for crop in crops if crop.hand_crops is not None])
    seen = (known.hand_score >= SEEN_SCORE).numpy()
    known = refined(known, hand_crops, head.network)
    for row, crop in enumerate(crops):
        px = crop.camera.px_from_uv(known.landmarks_uv[row].double().numpy())
        score = known.landmark_score[row, ..., None].numpy()
        result.landmarks_px[crop.at, seen[row]] = np.concatenate([px, score], -1)[seen[row]]
        result.world_m[crop.at, seen[row]] = known.world_rel_m[row].numpy()[seen[row]]
    return known


def _predict_batch(
    crops: list[_Crop],
    known: Conditioning,
    evidence: HandTracks,
    predictor: Predictor,
    result: TwoHandPredictions,
) -> None:
    """Fills the frames of `crops`, of which `known` is the evidence, in `result`."""
    images = torch.from_numpy(np.stack([crop.image for crop in crops])).permute(0, 3, 1, 2).float() / 255
    found = predictor.engine(normalised(images), known)
    at = np.array([crop.at for crop in crops])
    tracked = (evidence.present[at] > 0).astype(np.float32)
    presence = tracked if found.presence is None else found.presence.numpy()
    wrists = _placed(found, known.focal_uv, torch.from_numpy(presence > 0.5))
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


def _empty(count: int) -> TwoHandPredictions:
    def missing(*shape: int) -> Floats:
        return np.full((count, *shape), np.nan, np.float32)

    def nothing() -> Floats:
        return np.zeros((count, 2), np.float32)

    return TwoHandPredictions(
        rotations=missing(2, 16, 3, 3),
        joints_rel_m=missing(2, 21, 3),
        wrist_cam_m=missing(2, 3),
        betas=missing(2, 10),
        offset_m=missing(3),
        confidence=nothing(),
        presence=nothing(),
        landmarks_px=missing(2, 21, 3),
        world_m=missing(2, 21, 3),
    )
