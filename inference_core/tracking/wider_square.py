# SPDX-License-Identifier: GPL-3.0-or-later
"""How large a hand is, read in a wider square than its own.

A network that is unsure reads a hand as large as hands usually are in its square, and the square comes from an
earlier reading: a hand once read too small, and so placed too far away, remains so. In a wider square the error has
the opposite sign; where the network is sure, both agree. Hands far from the camera are read at their true size in their
own square, and too large in the wider one.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.tracking.detections import ShotDetections, rows_of_frames

# How much wider the second square is.
_WIDER = np.array([1.0, 1.0, 1.3, 1.0])
# Middles of hands this near, in sides of the own square, lie on one another, so that the wider one may show more of the
# other hand; those this far are apart.
_ON_IT, _APART = 0.28, 0.42
# What the own square of far hands spans (its side by the focal length; some 1.5 m away), and that of near ones (1 m).
_FAR, _NEAR = 0.2, 0.3
# The reading in the wider square may be another hand's: it counts if its presence is at least this, and its landmarks
# are on average within this share of the hand's own square of those known.
_PRESENT, _SAME_HAND = 0.5, 0.25
# The most it may change the logarithm of a hand's size.
_LARGEST_CHANGE = 0.35

Floats = NDArray[np.float64]


def widened(crops: Floats) -> Floats:
    """The wider squares (..., 4) about crops (..., 4)."""
    return crops * _WIDER


def is_same_hand(presence: Floats, wide_px: Floats, points_px: Floats, crops: Floats) -> NDArray[np.bool_]:
    """(...) whether hands read in wider squares, wide_px (..., 21, 2), are those at points_px in crops (..., 4)."""
    apart_px = np.linalg.norm(wide_px - points_px, axis=-1).mean(-1)
    return (presence >= _PRESENT) & (apart_px < _SAME_HAND * crops[..., 2])


def counts(points_px: Floats, between_px: Floats, focal_px: float) -> Floats:
    """(...) how much the wider square counts for hands at points_px (..., 21, 2): 0 not at all, 1 in full.

    between_px (...): from the hand's middle to that of the nearest other hand. focal_px: of the camera.
    """
    side_px = crops_from_landmarks(points_px)[..., 2].clip(1e-6)
    return apart(points_px, between_px) * _ramp(side_px / focal_px, _FAR, _NEAR)


def apart(points_px: Floats, between_px: Floats) -> Floats:
    """(...) how far these hands are from lying on another one: 0 on it, 1 apart."""
    return _ramp(sides_between(points_px, between_px), _ON_IT, _APART)


def sides_between(points_px: Floats, between_px: Floats) -> Floats:
    """(...) distances between_px (...) in sides of the own square of hands at points_px (..., 21, 2)."""
    return between_px / crops_from_landmarks(points_px)[..., 2].clip(1e-6)


def growth(points_px: Floats, wide_px: Floats) -> Floats:
    """(...) logarithm of the hands' size in the wider square, wide_px (..., 21, 2), relative to points_px."""
    own, theirs = (
        np.linalg.norm(points - points.mean(-2, keepdims=True), axis=(-2, -1)).clip(1e-6)
        for points in (points_px, wide_px)
    )
    return np.log(theirs / own).clip(-_LARGEST_CHANGE, _LARGEST_CHANGE)


def grown(points_px: Floats, by: Floats) -> Floats:
    """Hands (..., 21, 2) with the logarithm of their size changed by (...), about their middle."""
    middle = points_px.mean(-2, keepdims=True)
    return middle + (points_px - middle) * np.exp(by)[..., None, None]


def with_sizes(detections: ShotDetections, focal_px: float) -> ShotDetections:
    """The detections with hands as large as they are read in wider squares, where these count; interpolated between
    the sightings of a tracklet whose wider square was read.
    """
    read = np.flatnonzero(np.isfinite(detections.growth))
    if not len(read):
        return detections
    points_px = detections.points_px[..., :2].astype(np.float64)
    share = counts(points_px[read], to_nearest_px(detections.at, points_px.mean(-2))[read], focal_px)
    change = np.zeros(len(points_px))
    change[read] = share * detections.growth[read]
    for tracklet in np.unique(detections.tracklet[read]):
        rows, some = (
            np.flatnonzero(detections.tracklet == tracklet),
            read[detections.tracklet[read] == tracklet],
        )
        change[rows] = np.interp(detections.at[rows], detections.at[some], change[some])
    points = detections.points_px.copy()
    points[..., :2] = grown(points_px, change)
    return replace(detections, points_px=points)


def to_nearest_px(at: NDArray[np.int64], middle_px: Floats) -> Floats:
    """(N,) distance of each hand's middle (N, 2) to the nearest other one in its frame; infinite without one."""
    nearest_px = np.full(len(at), np.inf)
    for rows in rows_of_frames(at):
        apart_px = np.linalg.norm(middle_px[rows, None] - middle_px[rows], axis=-1)
        np.fill_diagonal(apart_px, np.inf)
        nearest_px[rows] = apart_px.min(1, initial=np.inf)
    return nearest_px


def _ramp(values: Floats, low: float, high: float) -> Floats:
    """0 up to `low`, 1 from `high` on."""
    return ((values - low) / (high - low)).clip(0, 1)
