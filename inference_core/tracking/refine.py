# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmarks of each expected hand, read again: by the landmark head, and by the landmark network in a wider square.

A network that is unsure reads a hand as large as hands usually are in its square, and the square comes from an
earlier reading: a hand once read too small, and so placed too far away, remains so. In a wider square the error has
the opposite sign; where the network is sure, both agree. Hands far from the camera are read at their true size in their
own square, and too large in the wider one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.hand_reader import read_hands
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.landmarks.landmark_head import in_frame
from inference_core.landmarks.networks import LandmarkNetworks
from inference_core.shared.presence import SEEN
from inference_core.tracking.expected_hands import SEEN_SCORE, ExpectedHands
from inference_core.tracking.hand_tracks import HandTracks

# Frames whose crops are read together.
_AT_ONCE = 32
# How much wider the landmark network's second square is.
_WIDER = 1.3
# Shares of the readings in the 2D landmarks, whose errors differ: the tracker's, the head's, and the wider square's.
_SHARES = 0.35, 0.3, 0.35
# Where hands lie on one another, or are far away, the wider square has no share, and size is left alone.
_SHARES_WITHOUT = 0.3, 0.7, 0.0
# Middles of hands this near, in sides of the own square, lie on one another, so that the wider one may show more of the
# other hand; those this far are apart.
_ON_IT, _APART = 0.28, 0.42
# What the own square of far hands spans (its side by the focal length; some 1.5 m away), and that of near ones (1 m).
_FAR, _NEAR = 0.2, 0.3
# The reading in the wider square may be another hand's: it counts if its presence is at least this, and its landmarks
# are on average within this share of the hand's own square of the head's.
_PRESENT, _SAME_HAND = 0.5, 0.25
# The most it may change the logarithm of a hand's size.
_LARGEST_CHANGE = 0.35


@dataclass(frozen=True)
class HandReadings:
    """Both networks' readings of the hands expected in T frames.

    points_px (T, S, 21, 2): the head's, frame pixels. wide_px (T, S, 21, 2): the landmark network's in a wider square;
    the head's where it does not find this hand there, or the hand is not seen, lies on the other or is far. world_m
    (T, S, 21, 3): the head's, relative to the wrist, in axes along the line of sight. trust (T, S, 21): 0..1, falls
    with a landmark's expected error. Entries are zero if read (T, S) is False: no hand was expected, or the frame has
    no picture.
    """

    points_px: NDArray[np.float64]
    wide_px: NDArray[np.float64]
    world_m: NDArray[np.float64]
    trust: NDArray[np.float64]
    read: NDArray[np.bool_]

    @staticmethod
    def nothing(count: int) -> "HandReadings":
        """Readings for `count` frames in which nothing was read."""
        shape = (count, 2)
        return HandReadings(
            np.zeros((*shape, 21, 2)),
            np.zeros((*shape, 21, 2)),
            np.zeros((*shape, 21, 3)),
            np.zeros((*shape, 21)),
            np.zeros(shape, bool),
        )


def read_expected_hands(
    frames: Iterable[Frame], expected: ExpectedHands, head: KeptReadings, focal_px: float
) -> HandReadings:
    """The readings of every expected hand. frames: as many as `expected` has, in order. focal_px: of the camera."""
    widely = _counts(expected, focal_px) > 0
    readings = HandReadings.nothing(len(expected.side_score))
    waiting: dict[int, Frame] = {}
    for at, frame in enumerate(frames):
        if frame.image is not None and (expected.score[at] > 0).any():
            waiting[at] = frame
        if len(waiting) == _AT_ONCE:
            _read(waiting, expected, widely, head, readings)
            waiting = {}
    _read(waiting, expected, widely, head, readings)
    return readings


def _read(
    frames: dict[int, Frame],
    expected: ExpectedHands,
    widely: NDArray[np.bool_],
    head: KeptReadings,
    readings: HandReadings,
) -> None:
    places = np.array(list(frames), np.int64)
    rows, sides = np.nonzero((expected.score[places] > 0).any(-1))
    at = places[rows]
    if not len(at):
        return
    crops = crops_from_landmarks(expected.points_px[at, sides])
    shown = [frames[place] for place in at.tolist()]
    points_px, world_m, trust = in_frame(head.read(shown, crops, sides), crops, sides)
    readings.points_px[at, sides] = points_px
    readings.wide_px[at, sides] = points_px
    seen = (expected.hand_score[at, sides] >= SEEN_SCORE) & widely[at, sides]
    if seen.any():
        images = [
            frame.image for frame, own in zip(shown, seen, strict=True) if own and frame.image is not None
        ]
        wide_px = _read_wider(images, crops[seen], points_px[seen], head.landmarks)
        readings.wide_px[at[seen], sides[seen]] = wide_px
    readings.world_m[at, sides] = world_m - world_m[:, :1]
    readings.trust[at, sides] = trust
    readings.read[at, sides] = True


def _read_wider(
    images: list[NDArray[np.uint8]],
    crops: NDArray[np.float64],
    points_px: NDArray[np.float64],
    networks: LandmarkNetworks,
) -> NDArray[np.float64]:
    """(N, 21, 2) landmarks in wider squares than crops (N, 4), or the given ones where another hand is found."""
    wide = read_hands(images, crops * np.array([1.0, 1.0, _WIDER, 1.0]), networks)
    apart_px = np.linalg.norm(wide.points_px[..., :2] - points_px, axis=-1).mean(-1)
    same = (wide.presence >= _PRESENT) & (apart_px < _SAME_HAND * crops[:, 2])
    return np.where(same[:, None, None], wide.points_px[..., :2], points_px)


def refined_hands(expected: ExpectedHands, readings: HandReadings) -> ExpectedHands:
    """The expected hands with the head's readings substituted where it read them."""
    read = readings.read[..., None]
    return ExpectedHands(
        np.where(read[..., None], readings.points_px, expected.points_px),
        np.where(read[..., None], readings.world_m, expected.world_m),
        np.where(read, readings.trust * expected.hand_score[..., None], expected.score),
        expected.side_score,
    )


def refined_tracks(
    tracks: HandTracks, expected: ExpectedHands, readings: HandReadings, focal_px: float
) -> HandTracks:
    """The tracks with the readings of seen hands. focal_px: of the camera.

    2D landmarks are a weighted mean of all readings, scaled to the size of the one in the wider square where that
    counts; world landmarks and scores are the head's. Interpolated hands are unchanged, since they are not seen.
    """
    seen = readings.read & (expected.hand_score >= SEEN_SCORE)
    wide = _counts(expected, focal_px)[..., None, None]
    points = _scaled_to(_mixed(tracks, readings, _SHARES), readings.wide_px)
    points = wide * points + (1 - wide) * _mixed(tracks, readings, _SHARES_WITHOUT)
    score = readings.trust * expected.hand_score[..., None]
    landmarks = np.concatenate([points, score[..., None]], -1).astype(np.float32)
    chosen = seen[..., None, None]
    return replace(
        tracks,
        landmarks_px=np.where(chosen, landmarks, tracks.landmarks_px),
        world_m=np.where(chosen, readings.world_m.astype(np.float32), tracks.world_m),
        present=np.where(seen, np.uint8(SEEN), tracks.present),
    )


def _mixed(
    tracks: HandTracks, readings: HandReadings, shares: tuple[float, float, float]
) -> NDArray[np.float64]:
    """(T, S, 21, 2) the mean of the tracker's, the head's and the wider square's landmarks by their shares; without
    the tracker's where it has none.
    """
    tracked_px = tracks.landmarks_px[..., :2]
    there = (tracks.present == SEEN)[..., None, None] & np.isfinite(tracked_px)
    tracked, head, wide = shares
    total = np.where(there, tracked, 0) + head + wide
    own = np.where(there, tracked * tracked_px, 0)
    return (own + head * readings.points_px + wide * readings.wide_px) / total


def _counts(expected: ExpectedHands, focal_px: float) -> NDArray[np.float64]:
    """(T, S) how much the wider square counts for each expected hand: 0 not at all, 1 in full."""
    side_px = crops_from_landmarks(expected.points_px)[..., 2].clip(1e-6)
    middle_px = expected.points_px.mean(-2)
    between_px = np.linalg.norm(middle_px[:, 0] - middle_px[:, 1], axis=-1, keepdims=True)
    other = (expected.score > 0).any(-1)[:, ::-1]
    apart = np.where(other, _ramp(between_px / side_px, _ON_IT, _APART), 1.0)
    return apart * _ramp(side_px / focal_px, _FAR, _NEAR)


def _ramp(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """0 up to `low`, 1 from `high` on."""
    return ((values - low) / (high - low)).clip(0, 1)


def _scaled_to(points_px: NDArray[np.float64], others_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points (..., 21, 2) scaled about their middle to the size of the others."""
    middle = points_px.mean(-2, keepdims=True)
    own, theirs = (
        np.linalg.norm(points - points.mean(-2, keepdims=True), axis=(-2, -1)).clip(1e-6)
        for points in (points_px, others_px)
    )
    change = np.exp(np.log(theirs / own).clip(-_LARGEST_CHANGE, _LARGEST_CHANGE))
    return middle + (points_px - middle) * change[..., None, None]
