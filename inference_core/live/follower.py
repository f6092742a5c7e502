# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows two hands from frame to frame, using earlier frames only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_palms
from inference_core.landmarks.hand_reader import HandReadings, read_hands
from inference_core.landmarks.networks import LandmarkNetworks
from inference_core.landmarks.palm_detector import detect_palms
from inference_core.shared.skeleton import LEFT, RIGHT

# Palms are detected on every n-th frame while a hand is missing, more often while both are.
_EVERY, _EVERY_EMPTY = 6, 2
_LEAST_PRESENCE, _HANDS = 0.5, 2
# Readings closer than this share of their crop's side are of one hand.
_SAME = 0.25
# What a hand was read as before counts for this much against what it is read as now.
_REMEMBERED = 0.85

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SeenHand:
    """A hand in a frame: points_px (21, 2), world_m (21, 3) about its centre, presence 0..1; right: 0..1, smoothed."""

    points_px: Floats
    world_m: Floats
    presence: float
    right: float
    next_crop: Floats


class HandFollower:
    """Follows up to two hands."""

    def __init__(self, networks: LandmarkNetworks) -> None:
        self._networks = networks
        self._hands: list[SeenHand] = []
        self._count = 0

    def look(self, image: NDArray[np.uint8]) -> dict[int, SeenHand]:
        """The hands in the next frame (H, W, 3) by side; two hands are always a left and a right one."""
        followed = self._read(image, [hand.next_crop for hand in self._hands], self._hands)
        every = _EVERY if followed else _EVERY_EMPTY
        if len(followed) < _HANDS and self._count % every == 0:
            followed += self._found(image)
        self._count += 1
        self._hands = _apart(followed)[:_HANDS]
        return _by_side(self._hands)

    def _found(self, image: NDArray[np.uint8]) -> list[SeenHand]:
        (palms,) = detect_palms([image], self._networks)
        crops = crops_from_palms(palms.boxes_px[:_HANDS], palms.key_points_px[:_HANDS])
        first = self._read(image, list(crops), [])
        return self._read(image, [hand.next_crop for hand in first], [])

    def _read(self, image: NDArray[np.uint8], crops: list[Floats], before: list[SeenHand]) -> list[SeenHand]:
        if not crops:
            return []
        found = read_hands([image] * len(crops), np.stack(crops), self._networks)
        rows = np.flatnonzero(found.presence >= _LEAST_PRESENCE)
        return [_hand(found, int(row), before[row] if before else None) for row in rows]


def _hand(found: HandReadings, row: int, before: SeenHand | None) -> SeenHand:
    right = float(found.right[row])
    return SeenHand(
        points_px=found.points_px[row, :, :2],
        world_m=found.world_m[row],
        presence=float(found.presence[row]),
        right=right if before is None else _REMEMBERED * before.right + (1 - _REMEMBERED) * right,
        next_crop=found.next_crops[row],
    )


def _apart(hands: list[SeenHand]) -> list[SeenHand]:
    """One reading per hand, preferring those that are followed."""
    kept: list[SeenHand] = []
    for hand in hands:
        if all(
            np.linalg.norm(hand.points_px - other.points_px, axis=-1).mean() > _SAME * other.next_crop[2]
            for other in kept
        ):
            kept.append(hand)
    return kept


def _by_side(hands: list[SeenHand]) -> dict[int, SeenHand]:
    if len(hands) == _HANDS:
        left, right = sorted(hands, key=lambda hand: hand.right)
        return {LEFT: left, RIGHT: right}
    return {RIGHT if hand.right > 0.5 else LEFT: hand for hand in hands}
