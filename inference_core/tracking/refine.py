# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmarks of each expected hand, read again by the landmark head."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.landmarks.landmark_head import in_frame
from inference_core.shared.presence import SEEN
from inference_core.tracking.expected_hands import SEEN_SCORE, ExpectedHands
from inference_core.tracking.hand_tracks import HandTracks

# Frames whose crops are read together.
_AT_ONCE = 32
# The weight of the head's 2D landmarks against the landmark network's, whose errors differ.
_HEAD_SHARE = 0.7


@dataclass(frozen=True)
class HandReadings:
    """The landmark head's readings of the hands expected in T frames.

    points_px (T, S, 21, 2): frame pixels. world_m (T, S, 21, 3): relative to the wrist, in axes along the line of
    sight. trust (T, S, 21): 0..1, falls with a landmark's expected error. Entries are zero if read (T, S) is False:
    no hand was expected, or the frame has no picture.
    """

    points_px: NDArray[np.float64]
    world_m: NDArray[np.float64]
    trust: NDArray[np.float64]
    read: NDArray[np.bool_]

    @staticmethod
    def nothing(count: int) -> "HandReadings":
        """Readings for `count` frames in which nothing was read."""
        shape = (count, 2)
        return HandReadings(
            np.zeros((*shape, 21, 2)),
            np.zeros((*shape, 21, 3)),
            np.zeros((*shape, 21)),
            np.zeros(shape, bool),
        )


def read_expected_hands(frames: Iterable[Frame], expected: ExpectedHands, head: KeptReadings) -> HandReadings:
    """The head's readings of every expected hand. frames: as many as `expected` has, in order."""
    readings = HandReadings.nothing(len(expected.side_score))
    waiting: dict[int, Frame] = {}
    for at, frame in enumerate(frames):
        if frame.image is not None and (expected.score[at] > 0).any():
            waiting[at] = frame
        if len(waiting) == _AT_ONCE:
            _read(waiting, expected, head, readings)
            waiting = {}
    _read(waiting, expected, head, readings)
    return readings


def _read(
    frames: dict[int, Frame], expected: ExpectedHands, head: KeptReadings, readings: HandReadings
) -> None:
    places = np.array(list(frames), np.int64)
    rows, sides = np.nonzero((expected.score[places] > 0).any(-1))
    at = places[rows]
    if not len(at):
        return
    crops = crops_from_landmarks(expected.points_px[at, sides])
    read = head.read([frames[place] for place in at.tolist()], crops, sides)
    points_px, world_m, trust = in_frame(read, crops, sides)
    readings.points_px[at, sides] = points_px
    readings.world_m[at, sides] = world_m - world_m[:, :1]
    readings.trust[at, sides] = trust
    readings.read[at, sides] = True


def refined_hands(expected: ExpectedHands, readings: HandReadings) -> ExpectedHands:
    """The expected hands with the head's readings substituted where it read them."""
    read = readings.read[..., None]
    return ExpectedHands(
        np.where(read[..., None], readings.points_px, expected.points_px),
        np.where(read[..., None], readings.world_m, expected.world_m),
        np.where(read, readings.trust * expected.hand_score[..., None], expected.score),
        expected.side_score,
    )


def refined_tracks(tracks: HandTracks, expected: ExpectedHands, readings: HandReadings) -> HandTracks:
    """The tracks with the head's readings of seen hands.

    2D landmarks are a weighted mean of both networks' readings; world landmarks and scores are the head's.
    Interpolated hands are unchanged, since they are not seen.
    """
    seen = readings.read & (expected.hand_score >= SEEN_SCORE)
    there = (tracks.present == SEEN)[..., None, None] & np.isfinite(tracks.landmarks_px[..., :2])
    between = (1 - _HEAD_SHARE) * tracks.landmarks_px[..., :2] + _HEAD_SHARE * readings.points_px
    points = np.where(there, between, readings.points_px)
    score = readings.trust * expected.hand_score[..., None]
    landmarks = np.concatenate([points, score[..., None]], -1).astype(np.float32)
    chosen = seen[..., None, None]
    return replace(
        tracks,
        landmarks_px=np.where(chosen, landmarks, tracks.landmarks_px),
        world_m=np.where(chosen, readings.world_m.astype(np.float32), tracks.world_m),
        present=np.where(seen, np.uint8(SEEN), tracks.present),
    )
