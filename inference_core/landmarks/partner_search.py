# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the second hand of a pair where the partner network expects it, from the crop of the first one.

A reading is accepted if the partner network is sure of another hand, and the landmark head reads one of the other side
near the place that the network predicts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.hand_crops import crop_features, points_to_frame, world_to_frame
from inference_core.landmarks.landmark_head import HeadWithLandmarks, RefinedLandmarks

# The head reads predicted crops that are larger by these factors (logarithms) and rotated by these angles (radians);
# the best is read again in the crop that it proposes.
_LARGER, _TURNED = (0.1, 0.5), (-0.5, 0.0, 0.5)
# Log odds at which the network is sure of another hand: for single hands they are below -2.9 unless blurred.
_SURE = 1.5
# The largest expected error of a reading, as a share of half its crop's side; the largest distance from the prediction
# and the least distance from the known hand, as shares of the crop's side.
_WORST_ERROR, _AGREES, _APART = 0.25, 0.25, 0.03
# A reading nearer to the known hand than this (of its crop's side), with at most these log odds of the other side, is
# the known hand.
_NEAR, _KNOWN_SIDE = 0.1, -4.0
_LEAST_PRESENCE = 0.1

Floats = NDArray[np.float64]
_NONE: Floats = np.empty((0, 21, 2))
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class PartnerReading:
    """The other hand as read by the head: points_px (21, 2) in the picture, world_m (21, 3), its crop (4,).

    side: its own. there, odds: log odds that another hand is there, and that this reading is of `side`. presence: the
    landmark network's, 0..1. error: the expected one, of half the crop's side. off, apart: mean distance from where the
    partner network puts it, and from the known hand, of the crop's side.
    """

    points_px: Floats
    world_m: Floats
    crop: Floats
    side: int
    there: float
    odds: float
    presence: float
    error: float
    off: float
    apart: float

    @property
    def good(self) -> bool:
        """Whether the reading is certain enough to be another hand."""
        read = self.error < _WORST_ERROR and self.off < _AGREES and self.presence >= _LEAST_PRESENCE
        is_known = self.apart < _APART or (self.apart < _NEAR and self.odds < _KNOWN_SIDE)
        return self.there > _SURE and read and not is_known


def read_partner(
    image: Image, known_px: Floats, side: int, head: HeadWithLandmarks, sighted_px: Floats = _NONE
) -> PartnerReading | None:
    """The reading beside the hand of `side` at known_px (21, 2) in an RGB image (H, W, 3), good or not; None if the
    partner network predicts none, or without one.

    sighted_px (N, 21, 2): what else was taken for a hand in this image, and may be this one.
    """
    if head.partner is None:
        return None
    crops, own, other = crops_from_landmarks(known_px)[None], np.array([side]), np.array([1 - side])
    with torch.inference_mode():
        told = head.partner(crop_features([image], crops, own, head.landmarks))
    if float(told.there) < _SURE:
        return None
    told_px = points_to_frame(told.points.double().cpu().numpy(), crops, own)
    apart_px = np.linalg.norm(sighted_px - known_px, axis=-1).mean(-1)
    sighted = crops_from_landmarks(sighted_px[apart_px > _NEAR * crops[0, 2]])
    crops = np.concatenate([_about(crops_from_landmarks(told_px)[0]), sighted])
    _, read = _read(image, crops, np.repeat(other, len(crops)), head)
    best = _errors(read).argmin(keepdims=True)
    crops = crops_from_landmarks(
        points_to_frame(read.points[best].double().cpu().numpy(), crops[best], other)
    )
    features, read = _read(image, crops, other, head)
    points_px = points_to_frame(read.points.double().cpu().numpy(), crops, other)
    with torch.inference_mode():
        presence = float(head.landmarks.read(features.numpy()).presence[0])
    apart, off = (
        float(np.linalg.norm(points_px[0] - place, axis=-1).mean() / crops[0, 2])
        for place in (known_px, told_px[0])
    )
    return PartnerReading(
        points_px[0],
        world_to_frame(read.world_m.double().cpu().numpy(), crops, other)[0],
        crops[0],
        1 - side,
        float(told.there),
        float(read.right),
        presence,
        float(_errors(read)[0]),
        off,
        apart,
    )


def _about(crop: Floats) -> Floats:
    """(N, 4) crops like one (4,)."""
    steps = [(0.0, 0.0, larger, turned) for larger in _LARGER for turned in _TURNED]
    crops = crop + np.array(steps)
    crops[:, 2] = crop[2] * np.exp([step[2] for step in steps])
    return crops


def _errors(read: RefinedLandmarks) -> Floats:
    """(N,) expected errors, of half the crop's side."""
    return read.log_sigma[..., 0].double().exp().mean(-1).cpu().numpy()


def _read(
    image: Image, crops: Floats, sides: NDArray[np.int64], head: HeadWithLandmarks
) -> tuple[Tensor, RefinedLandmarks]:
    features = crop_features([image] * len(crops), crops, sides, head.landmarks)
    with torch.inference_mode():
        return features, head.network(features)
