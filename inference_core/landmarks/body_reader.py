# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies in whole frames: the clearest person in each, with shoulders, elbows, wrists and where the hands are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import (
    crops_from_persons,
    crops_from_points,
    crops_from_wrists,
    cut,
    to_frame,
    turn_to_frame,
)
from inference_core.landmarks.formats import BODY_PX, PERSON_PX, PERSON_VALUES, SQUARE_PX
from inference_core.landmarks.networks import PoseNetworks
from inference_core.landmarks.odds import probability
from inference_core.landmarks.palm_detector import anchor_centres, decoded_boxes, letterbox

# MediaPipe's own thresholds.
_MIN_PERSON, _MIN_BODY = 0.5, 0.5
_ANCHORS = anchor_centres(PERSON_PX, (8, 16, 32, 32, 32))
# Of the 33 landmarks: left and right shoulder, elbow, wrist.
_ARMS = np.array([[11, 13, 15], [12, 14, 16]])
# Left and right wrist, little and index finger.
_HANDS = np.array([[15, 17, 19], [16, 18, 20]])

SHOULDER, ELBOW, WRIST = 0, 1, 2

# A wrist with at least this score is in the picture.
_LEAST_SCORE = 0.5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Arms:
    """The arms of one person in N pictures: left and right; shoulder, elbow, wrist. NaN and score 0 without a person.

    points_px (N, S, 3, 2): in pixels of the frame; may lie outside it. world_m (N, S, 3, 3): about the middle of the
    hips, camera axes. score (N, S, 3): 0..1, how likely each is in the picture and visible. crops (N, S, 4): where to
    read the hands; NaN where the wrist is not in the picture.
    """

    points_px: Floats
    world_m: Floats
    score: Floats
    crops: Floats


def find_arms(images: Sequence[NDArray[np.uint8]], networks: PoseNetworks) -> Arms:
    """The arms of the person with the highest score in each RGB image (H, W, 3)."""
    found = Arms(
        np.full((len(images), 2, 3, 2), np.nan),
        np.full((len(images), 2, 3, 3), np.nan),
        np.zeros((len(images), 2, 3)),
        np.full((len(images), 2, 4), np.nan),
    )
    crops = [_person(image, networks) for image in images]
    for row, (image, crop) in enumerate(zip(images, crops, strict=True)):
        if crop is not None:
            _read(image, crop, networks, found, row)
    return found


def _person(image: NDArray[np.uint8], networks: PoseNetworks) -> Floats | None:
    """The crop (4,) around the person with the highest score."""
    picture, scale, offset = letterbox(image, PERSON_PX)
    values, logits = networks.run_person(picture[None])
    found, _ = decoded_boxes(values[0], logits[0], _ANCHORS, _MIN_PERSON)
    if not len(found):
        return None
    return crops_from_persons((found[0, 4:].reshape((PERSON_VALUES - 4) // 2, 2) - offset) / scale)


def _read(image: NDArray[np.uint8], crop: Floats, networks: PoseNetworks, found: Arms, row: int) -> None:
    """Fill one row of `found` if the crop shows a body."""
    points, presence, world_m = networks.run_body(cut(image, crop, BODY_PX)[None])
    if presence[0] < _MIN_BODY:
        return
    points_px = to_frame(points[:, :, :3].astype(np.float64), crop[None], BODY_PX)[0]
    found.points_px[row] = points_px[_ARMS, :2]
    found.world_m[row] = turn_to_frame(world_m.astype(np.float64), crop[None])[0, _ARMS]
    found.score[row] = probability(points[0, :, 3:]).prod(-1)[_ARMS]
    shown = found.score[row, :, WRIST] >= _LEAST_SCORE
    if shown.any():
        found.crops[row, shown] = _hand_crops(image, points_px[_HANDS[shown], :2], networks)


def _hand_crops(image: NDArray[np.uint8], points_px: Floats, networks: PoseNetworks) -> Floats:
    """Crops (N, 4) in which to read hands. points_px (N, 3, 2): a body's wrist, little and index finger."""
    rough = crops_from_wrists(points_px)
    found = networks.run_square(np.stack([cut(image, crop, SQUARE_PX) for crop in rough]))
    points = np.zeros((len(rough), 2, 3))
    points[..., :2] = found.reshape(-1, 2, 2)
    return crops_from_points(*to_frame(points, rough, SQUARE_PX)[..., :2].swapaxes(0, 1))
