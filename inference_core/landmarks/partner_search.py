# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the second hand of a pair where the partner network expects it, from the crop of the first one.

A reading is accepted if the partner network is sure of another hand, and the landmark head reads one of the other side
near the place that the network predicts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_readings import Partners, RefinedLandmarks
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.hand_crops import Features, crop_features
from inference_core.landmarks.head_reader import (
    HeadWithLandmarks,
    expected_errors,
    points_in_frame,
    world_in_frame,
)

# The network is asked in a square this much wider than a tracker's, which shows more of the other hand.
_WIDER = np.array([1.0, 1.0, 1.3, 1.0])
# Hands that touch are at most this many times as large as each other.
_LARGEST = 1.7
# Nats that tell a second hand from a blurred one read again (`is_told_of`): 94 % of second hands have more, and 5 of 17
# second readings.
_CERTAIN, _ERROR, _MOST_ODDS = 19.0, 3.0, 3.0
# The head reads crops about the predicted place that are larger by these factors (logarithms) and rotated by these
# angles (radians); the best few are read again in the crops that they propose.
_LARGER, _TURNED, _AGAIN = (-0.2, 0.2), (-0.5, 0.0, 0.5), 3
# Log odds at which the network is sure of another hand, and below which it is sure of none: for single hands they are
# below -3 unless blurred.
SURE, ALONE = 1.5, -2.5
# The largest expected error of a reading, as a share of half its crop's side; the largest distance from the prediction
# and the least distance from the known hand, as shares of the crop's side.
_WORST_ERROR, _AGREES, _APART = 0.25, 0.25, 0.06
# A reading with lower log odds of the other side is the known hand; so is a sighting nearer to it (of its crop's side).
_KNOWN_SIDE, _NEAR = -2.0, 0.1
# Of a hand that the landmark network does not see at all, such as a fist in a palm, the head must be surer.
_LEAST_PRESENCE, _WORST_ERROR_UNSEEN = 0.1, 0.18

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
        worst = _WORST_ERROR if self.presence >= _LEAST_PRESENCE else _WORST_ERROR_UNSEEN
        is_known = self.apart < _APART or self.odds < _KNOWN_SIDE
        return self.there > SURE and self.error < worst and self.off < _AGREES and not is_known


def read_partner(
    image: Image,
    known_px: Floats,
    side: int,
    head: HeadWithLandmarks,
    sighted_px: Floats = _NONE,
    told: Partners | None = None,
) -> PartnerReading | None:
    """The reading beside the hand of `side` at known_px (21, 2) in an RGB image (H, W, 3), good or not; None if the
    partner network predicts none, or without one.

    sighted_px (N, 21, 2): what else was taken for a hand in this image, and may be this one. told: what the known hand
    tells, if that was asked already (`told_by`).
    """
    if head.partner is None:
        return None
    crop, own, other = crops_from_landmarks(known_px), np.array([side]), np.array([1 - side])
    told = told_by(image, known_px, side, head) if told is None else told
    there = float(told.there[0])
    if there < SURE:
        return None
    told_px = _sized(points_in_frame(told, asked_square(known_px)[None], own), crop[2])
    apart_px = np.linalg.norm(sighted_px - known_px, axis=-1).mean(-1)
    sighted = crops_from_landmarks(sighted_px[apart_px > _NEAR * crop[2]])
    crops = np.concatenate([_about(crops_from_landmarks(told_px)[0]), sighted])
    sides = np.repeat(other, len(crops))
    _, read = _read(image, crops, sides, head)
    best = np.argsort(expected_errors(read), kind="stable")[:_AGAIN]
    crops, sides = crops_from_landmarks(points_in_frame(read, crops, sides)[best]), sides[best]
    readings = _readings(image, crops, sides, head, known_px, told_px[0], there)
    return min(readings, key=lambda reading: (not reading.good, reading.error))


def is_told_of(image: Image, found: PartnerReading, head: HeadWithLandmarks) -> bool:
    """Whether a hand found by `read_partner` in an RGB image (H, W, 3) is not the known one read again: asked in turn,
    it tells of another hand, the surer the less sure its reading is.
    """
    odds = min(max(found.odds, -_MOST_ODDS), _MOST_ODDS)
    back = float(told_by(image, found.points_px, found.side, head).there[0])
    return bool(found.there + back + odds - _ERROR * np.log(found.error) > _CERTAIN)


def told_by(image: Image, known_px: Floats, side: int, head: HeadWithLandmarks) -> Partners:
    """What the hand of `side` at known_px (21, 2) in an RGB image (H, W, 3) tells of another one. head: with a
    partner network.
    """
    assert head.partner is not None
    features = crop_features([image], asked_square(known_px)[None], np.array([side]), head.landmarks)
    return head.partner(features)


def asked_square(known_px: Floats) -> Floats:
    """The crop (4,) of the hand at known_px (21, 2) from which the partner network predicts the other one."""
    return crops_from_landmarks(known_px) * _WIDER


def _sized(points_px: Floats, side_px: float) -> Floats:
    """Predicted landmarks (1, 21, 2) scaled about their middle until the side of their crop is the geometric mean of
    what is predicted and the known hand's: hands that touch are about equally large, and both together are right more
    often than either.
    """
    side = crops_from_landmarks(points_px)[0, 2].clip(1e-6)
    wanted = side_px * np.sqrt((side / side_px).clip(1 / _LARGEST, _LARGEST))
    middle = points_px.mean(1, keepdims=True)
    return middle + (points_px - middle) * wanted / side


def _readings(
    image: Image,
    crops: Floats,
    sides: NDArray[np.int64],
    head: HeadWithLandmarks,
    known_px: Floats,
    told_px: Floats,
    there: float,
) -> list[PartnerReading]:
    """A reading of each crop (N, 4), compared with the known hand and the predicted one, (21, 2) each."""
    features, read = _read(image, crops, sides, head)
    points_px, world_m = points_in_frame(read, crops, sides), world_in_frame(read, crops, sides)
    presence = head.landmarks.read(features).presence
    apart, off = (
        np.linalg.norm(points_px - place, axis=-1).mean(-1) / crops[:, 2] for place in (known_px, told_px)
    )
    return [
        PartnerReading(
            points_px[n],
            world_m[n],
            crops[n],
            int(side),
            there,
            float(read.right[n]),
            float(presence[n]),
            float(error),
            float(off[n]),
            float(apart[n]),
        )
        for n, (side, error) in enumerate(zip(sides, expected_errors(read), strict=True))
    ]


def _about(crop: Floats) -> Floats:
    """(N, 4) crops like one (4,)."""
    steps = [(0.0, 0.0, larger, turned) for larger in _LARGER for turned in _TURNED]
    crops = crop + np.array(steps)
    crops[:, 2] = crop[2] * np.exp([step[2] for step in steps])
    return crops


def _read(
    image: Image, crops: Floats, sides: NDArray[np.int64], head: HeadWithLandmarks
) -> tuple[Features, RefinedLandmarks]:
    features = crop_features([image] * len(crops), crops, sides, head.landmarks)
    return features, head.network(features)
