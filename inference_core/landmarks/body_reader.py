# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies in whole frames: the clearest person in each, with shoulders, elbows and wrists."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_persons, cut, to_frame, turn_to_frame
from inference_core.landmarks.formats import BODY_PX, PERSON_PX, PERSON_VALUES
from inference_core.landmarks.networks import PoseNetworks
from inference_core.landmarks.odds import probability
from inference_core.landmarks.palm_detector import anchor_centres, decoded_boxes, letterbox

# MediaPipe's own thresholds.
_MIN_PERSON, _MIN_BODY = 0.5, 0.5
_ANCHORS = anchor_centres(PERSON_PX, (8, 16, 32, 32, 32))
# Of the 33 landmarks: left and right shoulder, elbow, wrist.
_ARMS = np.array([[11, 13, 15], [12, 14, 16]])

SHOULDER, ELBOW, WRIST = 0, 1, 2

# A hand's length, wrist to fingertips, as a share of the shoulders' distance and of its forearm; in a picture, the
# longer of the two. A wrist with at least this score is in the picture.
_HAND_BY_SHOULDERS, _HAND_BY_FOREARM, _LEAST_SCORE = 0.5, 0.75, 0.5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Arms:
    """The arms of one person in N pictures: left and right; shoulder, elbow, wrist. NaN and score 0 without a person.

    points_px (N, S, 3, 2): in pixels of the frame; may lie outside it. world_m (N, S, 3, 3): about the middle of the
    hips, camera axes. score (N, S, 3): 0..1, how likely each is in the picture and visible.
    """

    points_px: Floats
    world_m: Floats
    score: Floats


def find_arms(images: Sequence[NDArray[np.uint8]], networks: PoseNetworks) -> Arms:
    """The arms of the person with the highest score in each RGB image (H, W, 3)."""
    found = Arms(
        np.full((len(images), 2, 3, 2), np.nan),
        np.full((len(images), 2, 3, 3), np.nan),
        np.zeros((len(images), 2, 3)),
    )
    crops = [_person(image, networks) for image in images]
    for row, (image, crop) in enumerate(zip(images, crops, strict=True)):
        if crop is not None:
            _read(image, crop, networks, found, row)
    return found


def hands_at_wrists(arms_px: Floats) -> Floats:
    """Middle x, y and length (N, 3) of the hands at the wrists of one body that are in the picture. arms_px (S, 3, 3):
    points and scores, as in `Arms`.
    """
    shown = np.flatnonzero(arms_px[:, WRIST, 2] >= _LEAST_SCORE)
    points_px = arms_px[shown, :, :2]
    forearm_px = points_px[:, WRIST] - points_px[:, ELBOW]
    length_px = np.maximum(
        _HAND_BY_FOREARM * np.linalg.norm(forearm_px, axis=-1),
        _HAND_BY_SHOULDERS * np.linalg.norm(arms_px[0, SHOULDER, :2] - arms_px[1, SHOULDER, :2]),
    )
    return np.column_stack([points_px[:, WRIST] + forearm_px / 4, length_px])


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
