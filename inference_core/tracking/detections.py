# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen of hands in a shot, before any hand is assigned to a person or side."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ShotDetections:
    """N sightings of hands in a shot of T frames, ordered by frame.

    at (N,): the frame of each, counted from 0. tracklet (N,): the tracklet it belongs to.
    points_px (N, 21, 3): x, y in pixels of the whole frame (centres at +0.5), z on the same scale.
    world_m (N, 21, 3): metres about the hand's centre, camera axes (x right, y down, z forward).
    presence (N,): 0..1. right (N,): 0..1, near 1 for a right hand in plain, unmirrored footage.
    crops (N, 4): the crop it was read in, see `crop_squares`.
    time_s (T,). size_px: width, height; (0, 0) if no frame had an image.
    arms_px (T, S, 3, 3): shoulder, elbow, wrist of the most prominent person: x, y in pixels of the frame, score
    0..1; NaN in frames that were not searched; score 0 with x, y NaN if no person was found. arms_m (T, S, 3, 3): the
    same in metres about the middle of the hips, camera axes. Both are empty if no frame was searched.
    arm_odds (N,): the arms' part of `right`, in nats for a right hand; empty if arms were not used.
    growth (N,): logarithm of the hand's size as read in a wider square, relative to its own; NaN where that was not
    read; empty if it never was. odds (N,): the landmark head's log odds of a right hand; likewise.
    """

    at: NDArray[np.int64]
    tracklet: NDArray[np.int64]
    points_px: Floats
    world_m: Floats
    presence: Floats
    right: Floats
    crops: Floats
    time_s: NDArray[np.float64]
    size_px: tuple[int, int]
    arms_px: Floats = field(default_factory=lambda: np.zeros((0, 2, 3, 3), np.float32))
    arms_m: Floats = field(default_factory=lambda: np.zeros((0, 2, 3, 3), np.float32))
    arm_odds: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    growth: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    odds: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
