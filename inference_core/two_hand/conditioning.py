# SPDX-License-Identifier: GPL-3.0-or-later
"""A shot's landmarks as evidence for the network: lost hands interpolated, then cut to each frame's crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.tracking.hand_tracks import HandTracks
from inference_core.tracking.interpolate import interpolated
from inference_core.two_hand.crop import CropCamera
from inference_core.two_hand.records import Conditioning

# Landmarks drawn across a gap: their score beside a seen hand, and after how many frames it falls to a third.
INTERPOLATED_SCORE, INTERPOLATED_FRAMES = 0.45, 8.0
# A hand with this score is seen in the frame itself.
SEEN_SCORE = 0.5


@dataclass(frozen=True)
class ShotConditioning:
    """The landmarks of a shot as the network takes them: those of a lost hand drawn across the gap from the frames
    around, with a score that falls with the distance. Shapes as HandTracks's; score (T, S, 21).
    """

    points_px: NDArray[np.float64]
    world_m: NDArray[np.float64]
    score: NDArray[np.float64]
    side_score: NDArray[np.float64]


def shot_conditioning(evidence: HandTracks) -> ShotConditioning:
    """What the tracks say of every frame, lost hands included."""
    points, world_m = evidence.landmarks_px[..., :2].astype(np.float64), evidence.world_m.astype(np.float64)
    score = np.nan_to_num(evidence.landmarks_px[..., 2].astype(np.float64))
    seen = np.isfinite(points).all(-1) & np.isfinite(world_m).all(-1) & (score > 0)
    known = seen.any(-1)
    points, distance = interpolated(points, known)
    world_m, _ = interpolated(world_m, known)
    side_score, _ = interpolated(evidence.side_score.astype(np.float64), known)
    usable = np.isfinite(points).all(-1) & np.isfinite(world_m).all(-1)
    fallen = INTERPOLATED_SCORE * np.exp(-distance / INTERPOLATED_FRAMES)
    score = np.where(known[..., None], np.where(seen, score, 0.0), fallen[..., None]) * usable
    return ShotConditioning(np.nan_to_num(points), np.nan_to_num(world_m), score, np.nan_to_num(side_score))


def crop_conditioning(evidence: ShotConditioning, at: int, camera: CropCamera) -> Conditioning:
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
    return Conditioning(*(torch.from_numpy(np.asarray(a, np.float32)[None]) for a in arrays))
