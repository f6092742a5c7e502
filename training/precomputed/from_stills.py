# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples from synthetic stills, with what the landmark network really reads in them.

A still has no frames before it: the network is shown where a tracker would look, give or take, and what it reads there
is kept or lost as a tracker would.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.hand_model.hand import HandModel
from inference_core.landmarks.crops import crops_from_landmarks
from inference_core.landmarks.hand_reader import HandReadings, read_hands
from inference_core.landmarks.trails import SAME_HAND
from inference_core.landmarks.weights import LandmarkNetworks
from inference_core.landmarks.window import DetectionSettings
from inference_core.network.records import CropEvidence
from inference_core.skeleton import LEFT, RIGHT
from training.sample import Sample
from training.synthetic.settings import Settings
from training.synthetic_source import made_samples

# How far off a tracker's crop is: of its side (place; logarithm of size), and radians.
_CROP_OFF, _CROP_GROWN, _CROP_TURNED = 0.05, 0.08, 0.15

Floats = NDArray[np.float64]


def still_samples(
    settings: Settings, hand: HandModel, networks: LandmarkNetworks, seed: int, first: int, count: int
) -> Sample:
    """Pictures number first ... of the stream `seed`, with evidence read in them."""
    sample = made_samples(settings, hand, seed, first, count, torch.device("cpu"))
    return replace(sample, evidence=read_evidence(sample, networks, np.random.default_rng((seed, first))))


def read_evidence(sample: Sample, networks: LandmarkNetworks, random: np.random.Generator) -> CropEvidence:
    """What the landmark network reads of the present hands."""
    assert sample.landmarks_uv is not None
    half = sample.image.shape[-1] / 2
    rows, sides = np.nonzero(sample.present.numpy())
    points_px = (sample.landmarks_uv.numpy().astype(np.float64)[rows, sides] + 1) * half
    images = (sample.image.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    evidence = CropEvidence.none(sample.batch)
    focal_uv = sample.K[:, 0, 0] / half
    if len(rows) == 0:
        return replace(evidence, focal_uv=focal_uv)
    crops = _as_tracked(crops_from_landmarks(points_px), random)
    readings = read_hands([images[row] for row in rows], crops, networks)
    kept = _kept(readings, rows, sides)
    rows, sides = rows[kept], sides[kept]
    presence = torch.from_numpy(readings.presence[kept]).float()
    world_m = torch.from_numpy(readings.world_m[kept]).float()
    evidence.landmarks_uv[rows, sides] = torch.from_numpy(readings.points_px[kept, :, :2] / half - 1).float()
    evidence.landmark_score[rows, sides] = presence[:, None].expand(-1, 21)
    evidence.world_rel_m[rows, sides] = world_m - world_m[:, :1]
    evidence.hand_score[rows, sides] = presence
    evidence.side_score[rows, sides] = torch.from_numpy(_own_side(readings, sides, kept)).float()
    return replace(evidence, focal_uv=focal_uv)


def _as_tracked(crops: Floats, random: np.random.Generator) -> Floats:
    side, count = crops[:, 2:3], len(crops)
    return np.concatenate(
        [
            crops[:, :2] + _CROP_OFF * side * random.standard_normal((count, 2)),
            side * np.exp(_CROP_GROWN * random.standard_normal((count, 1))),
            crops[:, 3:] + _CROP_TURNED * random.standard_normal((count, 1)),
        ],
        -1,
    )


def _kept(readings: HandReadings, rows: NDArray[np.int64], sides: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) hands found; of two readings of one hand the one that looks more like its side stays."""
    kept = readings.presence >= DetectionSettings().min_presence
    own = _own_side(readings, sides, np.ones(len(rows), bool))
    for first in np.flatnonzero(sides == LEFT):
        second = first + 1
        if second == len(rows) or rows[second] != rows[first] or not (kept[first] and kept[second]):
            continue
        apart = readings.points_px[first, :, :2] - readings.points_px[second, :, :2]
        size = max(readings.crops[first, 2], readings.crops[second, 2])
        if np.linalg.norm(apart, axis=-1).mean() < SAME_HAND * size:
            kept[first if own[first] < own[second] else second] = False
    return kept


def _own_side(readings: HandReadings, sides: NDArray[np.int64], chosen: NDArray[np.bool_]) -> Floats:
    right = readings.right[chosen]
    return np.where(sides == RIGHT, right, 1 - right)
