# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames through the two-hand network: pictures and expected hands in; hands in the whole frame's camera out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.geometry.camera import Camera
from inference_core.hand_model.hand import HandModel
from inference_core.runtime.network_run import device_kind
from inference_core.shared.errors import WeightsError
from inference_core.shared.presence import SEEN
from inference_core.tracking.expected_hands import ExpectedHands
from inference_core.tracking.hand_tracks import REMEMBERED_FRAMES, frames_to_known
from inference_core.two_hand.card import WeightsCard, check_hand, stored_network
from inference_core.two_hand.conditioning import crop_conditioning
from inference_core.two_hand.crop import CropCamera, crop_camera, cut_crop
from inference_core.two_hand.engine import Engine, HandEstimates, stored_engine
from inference_core.two_hand.picture import normalised
from inference_core.two_hand.placement import placed_alone, placed_together
from inference_core.two_hand.predictions import TwoHandPredictions
from inference_core.two_hand.records import OFFSET_UNIT_M, Conditioning

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

# Crops per call of the engine.
_BATCHES = {"cpu": 4, "cuda": 32, "mps": 8}
# The expected joint error at which the confidence is one half.
_HALF_CONFIDENCE_M = 0.02
# The presence of a hand that is seen shortly before and after, however little of it is visible.
_THERE_BETWEEN = 0.9


@dataclass(frozen=True)
class Predictor:
    """An engine, and the facts about its weights that are needed to use it.

    batch: crops per call. betas_apply: whether its betas are those of the hand model in use.
    """

    engine: Engine
    card: WeightsCard
    batch: int
    betas_apply: bool


def load_predictor(weights: Path, hand: HandModel, device: str = "cpu") -> Predictor:
    """The network in a weights folder, ready to run on `device`.

    Raises WeightsError, and RequestError for weights that need MANO's hands if `hand` is another model.
    """
    network = stored_network(weights)
    card = network.card
    engine = stored_engine(network, fitting_hand(card, hand), device)
    batch = _BATCHES.get(device_kind(device), 8)
    return Predictor(engine, card, batch, betas_apply=card.hand_model == hand.name)


def fitting_hand(card: WeightsCard, hand: HandModel) -> HandModel:
    """The hand model with the weights' fingertips. Raises RequestError if the weights need MANO."""
    check_hand(card, hand.name)
    if card.tip_vertices is None:
        return hand
    vertices = hand.template_m.shape[-2]
    if max(tip for side in card.tip_vertices for tip in side) >= vertices:
        raise WeightsError(
            f"The card of {card.configuration.name} names fingertips beyond the {vertices} vertices there are. "
            "Use the weights with the hand model they were trained with."
        )
    return replace(hand, tip_vertices=np.array(card.tip_vertices, np.int64))


def cut_pictures(
    frames: Iterable[Frame], squares_px: NDArray[np.float64], camera: Camera
) -> list[Picture | None]:
    """The network's picture of each frame (256, 256, 3); None without a square or an image.

    frames: as many as squares_px (T, 3) has, in order: centre x, y and side of each frame's crop.
    """
    views = frame_views(squares_px, camera)
    return [
        None
        if frame.image is None or at not in views
        else cut_crop(frame.image, views[at], float(squares_px[at, 2]))
        for at, frame in enumerate(frames)
    ]


def predict(
    pictures: Sequence[Picture | None],
    expected: ExpectedHands,
    squares_px: NDArray[np.float64],
    camera: Camera,
    predictor: Predictor,
) -> TwoHandPredictions:
    """The network's estimates for each frame on its own, in the frame's camera.

    pictures: from `cut_pictures`, as many as `expected` and squares_px (T, 3) have. Frames
    without one get NaN and confidence 0.
    """
    predictions = TwoHandPredictions.nothing(len(squares_px))
    views = frame_views(squares_px, camera)
    shown = [_Crop(at, views[at], picture) for at, picture in enumerate(pictures) if picture is not None]
    for start in range(0, len(shown), predictor.batch):
        _predict_batch(shown[start : start + predictor.batch], expected, predictor, predictions)
    return predictions


def frame_views(squares_px: NDArray[np.float64], camera: Camera) -> dict[int, CropCamera]:
    """The crop's camera, by frame, of each frame whose square squares_px (T, 3) is not NaN."""
    intrinsics = np.broadcast_to(camera.K, (len(squares_px), 3, 3))
    there = np.flatnonzero(np.isfinite(squares_px).all(1)).tolist()
    return {at: crop_camera(squares_px[at], intrinsics[at]) for at in there}


def with_presence_of_shot(
    predictions: TwoHandPredictions, present: NDArray[np.uint8], gone: NDArray[np.bool_]
) -> TwoHandPredictions:
    """The predictions with presence raised for hands seen shortly before and after, and
    zeroed for hands that are `gone`.

    present, gone (T, S): of the whole shot.
    """
    before, after = frames_to_known(present == SEEN)
    chance = _THERE_BETWEEN * (np.maximum(before, after) <= REMEMBERED_FRAMES)
    raised = 1 - (1 - predictions.presence) * (1 - chance)
    presence = np.where((predictions.presence > 0) & ~gone, raised, 0.0).astype(np.float32)
    confidence = np.where(gone, np.float32(0), predictions.confidence)
    return replace(predictions, presence=presence, confidence=confidence)


@dataclass(frozen=True)
class _Crop:
    at: int
    camera: CropCamera
    image: Picture


def _predict_batch(
    crops: list[_Crop], expected: ExpectedHands, predictor: Predictor, predictions: TwoHandPredictions
) -> None:
    """Write the batch's frames into `predictions`."""
    known = Conditioning.joined([crop_conditioning(expected, crop.at, crop.camera) for crop in crops])
    images = np.stack([crop.image for crop in crops]).transpose(0, 3, 1, 2) / np.float32(255)
    found = predictor.engine(normalised(images), known)
    at = np.array([crop.at for crop in crops])
    expected_there = (expected.hand_score[at] > 0).astype(np.float32)
    presence = expected_there if found.presence is None else found.presence
    wrists = _placed(found, known.focal_uv, presence > 0.5)
    back = np.stack([crop.camera.rotation.T for crop in crops]).astype(np.float32)
    rotations = found.rotations.copy()
    rotations[:, :, 0] = back[:, None] @ rotations[:, :, 0]
    predictions.rotations[at] = rotations
    predictions.joints_rel_m[at] = _turned(back[:, None], found.joints_m)
    predictions.wrist_cam_m[at] = _turned(back, wrists)
    predictions.betas[at] = found.betas if predictor.betas_apply else np.nan
    predictions.offset_m[at] = _turned(back, found.offset_m[:, None])[:, 0]
    predictions.presence[at] = presence
    predictions.confidence[at] = presence * _trust(found)


def _turned(rotations: Floats, points: Floats) -> Floats:
    """Points (..., N, 3) turned by rotations (..., 3, 3)."""
    return points @ np.swapaxes(rotations, -1, -2)


def _placed(found: HandEstimates, focal_uv: Floats, present: NDArray[np.bool_]) -> Floats:
    joints_m, joints_uv, offset_m, focal = (
        values.astype(np.float64) for values in (found.joints_m, found.joints_uv, found.offset_m, focal_uv)
    )
    alone = placed_alone(joints_m, joints_uv, focal)
    return placed_together(alone, offset_m, present.all(1).astype(np.float64)).astype(np.float32)


def _trust(found: HandEstimates) -> Floats | float:
    """(B, S) confidence 0..1 from the joint error that the network expects; 1 for a network without that head."""
    if found.log_sigma is None:
        return 1.0
    error_m = np.exp(+found.log_sigma[..., 1]) * OFFSET_UNIT_M
    return 1 / (1 + np.square(error_m / _HALF_CONFIDENCE_M))
