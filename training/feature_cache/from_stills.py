# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples from synthetic stills, with the landmark network's actual readings.

A still has no previous frames: the network reads a crop near the one that a tracker would use, and its reading is
kept or dropped as by a tracker.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.hand_model.hand import HandModel
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.formats import CROP_PX
from inference_core.landmarks.hand_crops import crop_features, points_to_frame, world_to_frame
from inference_core.landmarks.hand_reader import HandReadings
from inference_core.landmarks.networks import LandmarkNetworks
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.expected_hands import INTERPOLATED_FRAMES, INTERPOLATED_SCORE, SEEN_SCORE
from inference_core.tracking.settings import DetectionSettings
from inference_core.tracking.tracklets import SAME_HAND
from inference_core.two_hand.records import Conditioning
from training.data.hand_crops import HandCrops
from training.data.sample import Sample
from training.data.synthetic_source import made_samples
from training.synthetic.settings import Settings

# Errors of a tracker's crop: as shares of its side (position; logarithm of size), and radians.
_CROP_OFF, _CROP_GROWN, _CROP_TURNED = 0.05, 0.08, 0.15
# Interpolated hands: their share of all hands, and of those that the landmark network loses; the most frames
# interpolated; and how much further off their crop is.
_INTERPOLATED, _INTERPOLATED_OF_LOST, _INTERPOLATED_FOR, _INTERPOLATED_OFF = 0.15, 0.5, 12, 2.5

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def still_samples(
    settings: Settings, hand: HandModel, networks: LandmarkNetworks, seed: int, first: int, count: int
) -> Sample:
    """Pictures number first ... of the stream `seed`, with hand crops and the conditioning read in them."""
    sample = made_samples(settings, hand, seed, first, count, torch.device("cpu"))
    return with_hand_crops(sample, networks, np.random.default_rng((seed, first)))


def with_hand_crops(sample: Sample, networks: LandmarkNetworks, random: np.random.Generator) -> Sample:
    """The sample with crops of the present hands, and the landmark network's readings of them as conditioning."""
    half = sample.image.shape[-1] / 2
    rows, sides, points_px = present_hands(sample)
    crops, interpolated = tracked_crops(points_px, random)
    images = pictures(sample)
    features = torch.from_numpy(crop_features([images[row] for row in rows], crops, sides, networks))
    uv_from_px = torch.tensor([[1 / half, 0.0, -1.0], [0.0, 1 / half, -1.0], [0.0, 0.0, 1.0]])
    hand_crops = HandCrops(
        features.new_zeros(sample.batch, 2, *features.shape[1:]),
        torch.zeros(sample.batch, 2, 4),
        uv_from_px.expand(sample.batch, 3, 3),
    )
    conditioning = replace(Conditioning.none(sample.batch, torch.zeros), focal_uv=sample.K[:, 0, 0] / half)
    if len(rows):
        readings = _read(features, crops, sides, networks)
        scores = _scores(readings, rows, sides, interpolated, random)
        _fill(conditioning, readings, rows, sides, scores, half)
        hand_crops.features[rows, sides] = features
        hand_crops.crops[rows, sides] = torch.from_numpy(crops).float()
        # As in a shot, the landmark head reads a seen hand in the crop round its landmarks in this very picture.
        seen = scores >= SEEN_SCORE
        rows, sides, crops = rows[seen], sides[seen], readings.next_crops[seen]
        again = crop_features([images[row] for row in rows], crops, sides, networks)
        hand_crops.features[rows, sides] = torch.from_numpy(again)
        hand_crops.crops[rows, sides] = torch.from_numpy(crops).float()
    return replace(sample, conditioning=conditioning, hand_crops=hand_crops)


def present_hands(sample: Sample) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Row and side (N,) of the present hands, and their landmarks (N, 21, 2) in the picture's pixels."""
    assert sample.landmarks_uv is not None
    rows, sides = np.nonzero(sample.present.numpy())
    uv = sample.landmarks_uv.numpy().astype(np.float64)[rows, sides]
    return rows, sides, (uv + 1) * (sample.image.shape[-1] / 2)


def pictures(sample: Sample) -> list[NDArray[np.uint8]]:
    """The sample's pictures as RGB images (H, W, 3)."""
    return list((sample.image.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8))


def tracked_crops(points_px: Floats, random: np.random.Generator) -> tuple[Floats, Flags]:
    """Where a tracker looks for hands with landmarks at points_px (N, 21, 2), and whether (N,) it only knows of them
    from neighbouring frames.
    """
    interpolated = random.random(len(points_px)) < _INTERPOLATED
    crops = crops_from_landmarks(points_px)
    side, count = crops[:, 2:3], len(crops)
    off = np.where(interpolated, _INTERPOLATED_OFF, 1.0)[:, None]
    moved = np.concatenate(
        [
            crops[:, :2] + _CROP_OFF * off * side * random.standard_normal((count, 2)),
            side * np.exp(_CROP_GROWN * off * random.standard_normal((count, 1))),
            crops[:, 3:] + _CROP_TURNED * off * random.standard_normal((count, 1)),
        ],
        -1,
    )
    return moved, interpolated


def _read(
    features: Tensor, crops: Floats, sides: NDArray[np.int64], networks: LandmarkNetworks
) -> HandReadings:
    """The landmark network's output for its own early features."""
    read = networks.read(features.numpy())
    points, world_m = (values.astype(np.float64) for values in (read.points[..., :2], read.world_m))
    points_px = points_to_frame(points / (CROP_PX / 2) - 1, crops, sides)
    right = read.right.astype(np.float64)
    return HandReadings(
        points_px,
        world_to_frame(world_m, crops, sides),
        read.presence.astype(np.float64),
        np.where(sides == LEFT, 1 - right, right),
        crops,
        crops_from_landmarks(points_px),
    )


def _scores(
    readings: HandReadings,
    rows: NDArray[np.int64],
    sides: NDArray[np.int64],
    interpolated: Flags,
    random: np.random.Generator,
) -> Floats:
    """(N,) presence for hands that are found, a score as in a shot for interpolated ones, 0 for lost ones."""
    kept = _kept(readings, rows, sides)
    interpolated = interpolated | (~kept & (random.random(len(rows)) < _INTERPOLATED_OF_LOST))
    distance = random.integers(1, _INTERPOLATED_FOR + 1, len(rows))
    across = INTERPOLATED_SCORE * np.exp(-distance / INTERPOLATED_FRAMES)
    return np.where(interpolated, across, np.where(kept, readings.presence, 0.0))


def _fill(
    conditioning: Conditioning,
    readings: HandReadings,
    rows: NDArray[np.int64],
    sides: NDArray[np.int64],
    scores: Floats,
    half: float,
) -> None:
    """Write readings with a score above 0 into the conditioning."""
    known, own_side = scores > 0, _own_side(readings, sides)
    rows, sides, score = rows[known], sides[known], torch.from_numpy(scores[known]).float()
    world_m = torch.from_numpy(readings.world_m[known]).float()
    conditioning.landmarks_uv[rows, sides] = torch.from_numpy(readings.points_px[known] / half - 1).float()
    conditioning.landmark_score[rows, sides] = score[:, None].expand(-1, 21)
    conditioning.world_rel_m[rows, sides] = world_m - world_m[:, :1]
    conditioning.hand_score[rows, sides] = score
    conditioning.side_score[rows, sides] = torch.from_numpy(own_side[known]).float()


def _kept(readings: HandReadings, rows: NDArray[np.int64], sides: NDArray[np.int64]) -> Flags:
    """(N,) which hands are kept; of two readings of one hand, the one that looks more like its side."""
    kept = readings.presence >= DetectionSettings().min_presence
    own = _own_side(readings, sides)
    for first in np.flatnonzero(sides == LEFT):
        second = first + 1
        if second == len(rows) or rows[second] != rows[first] or not (kept[first] and kept[second]):
            continue
        apart = readings.points_px[first] - readings.points_px[second]
        size = max(readings.crops[first, 2], readings.crops[second, 2])
        if np.linalg.norm(apart, axis=-1).mean() < SAME_HAND * size:
            kept[first if own[first] < own[second] else second] = False
    return kept


def _own_side(readings: HandReadings, sides: NDArray[np.int64]) -> Floats:
    return np.where(sides == RIGHT, readings.right, 1 - readings.right)
