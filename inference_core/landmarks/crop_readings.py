# SPDX-License-Identifier: GPL-3.0-or-later
"""What networks read in N hand crops: their own hand, and the other one. Arrays, or tensors within a network."""

from __future__ import annotations

from dataclasses import dataclass

from inference_core.geometry.array_api import Array


@dataclass(frozen=True)
class RefinedLandmarks:
    """N hands in their crops.

    points (N, 21, 2): -1..1. world_m (N, 21, 3): about the hand's centre, in the crop's axes.
    log_sigma (N, 21, 2): logarithms of the expected errors of points (same unit) and of world_m (metres). right (N,):
    log odds that the crop shows a right hand, as it should; if not, it was mirrored wrongly.
    """

    points: Array
    world_m: Array
    log_sigma: Array
    right: Array


@dataclass(frozen=True)
class Partners:
    """What N hand crops show of another hand.

    there (N,): log odds that another hand is visible. points (N, 21, 2): its landmarks, -1..1 over the crop and beyond.
    log_sigma (N,): logarithm of their expected error, in the same unit.
    """

    there: Array
    points: Array
    log_sigma: Array
