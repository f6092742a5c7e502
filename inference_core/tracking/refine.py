# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmarks of each expected hand, read again: by the landmark head, and by the landmark network in a wider square."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.hand_reader import read_facing
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.landmarks.many_squares import MANY, TURNED, read_in_many_squares
from inference_core.landmarks.networks import LandmarkNetworks
from inference_core.landmarks.off_axis import are_off_axis, read_squares
from inference_core.shared.presence import SEEN
from inference_core.tracking.expected_hands import SEEN_SCORE, ExpectedHands
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.tracking.wider_square import apart, counts, grown, growth, is_same_hand, widened

# How large hands are changes slowly: of the frames that are read, every n-th of the shot is read in wider squares, too.
_WIDELY_EVERY = 4
# Frames whose crops are read together.
_AT_ONCE = 32
# Shares of the readings in the 2D landmarks, whose errors differ: the tracker's, the head's, and the wider square's;
# and where the wider square does not count.
_SHARES, _SHARES_WITHOUT = (0.35, 0.3, 0.35), (0.3, 0.7, 0.0)


@dataclass(frozen=True)
class HandReadings:
    """Both networks' readings of the hands expected in T frames.

    points_px (T, S, 21, 2): the head's, frame pixels. wide_px (T, S, 21, 2): the landmark network's in a wider square;
    NaN where that was not read, the head's where the network does not find this hand there. world_m
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


def asked_widely(expected: ExpectedHands, focal_px: float) -> NDArray[np.bool_]:
    """(T, S) which hands are read in wider squares, too: where these count, in every n-th frame and where that begins
    and ends.

    focal_px: of the camera.
    """
    counted = (_counts(expected, focal_px) > 0) & (expected.hand_score >= SEEN_SCORE)
    beside = np.pad(counted, ((1, 1), (0, 0)))
    due = (np.arange(len(counted)) % _WIDELY_EVERY == 0)[:, None]
    return counted & (due | ~beside[:-2] | ~beside[2:])


def read_expected_hands(
    frames: Iterable[Frame],
    expected: ExpectedHands,
    head: KeptReadings,
    widely: NDArray[np.bool_],
    K: NDArray[np.float64],
    closely: bool = False,
) -> HandReadings:
    """The readings of every expected hand. frames: as many as `expected` has, in order.

    widely (T, S): which are read in wider squares, too. K (3, 3): of the camera. closely: the head reads hands that do
    not lie on one another in many squares; otherwise, those of them that are far off the axis in a few.
    """
    readings = HandReadings.nothing(len(expected.side_score))
    waiting: dict[int, Frame] = {}
    for at, frame in enumerate(frames):
        if frame.image is not None and (expected.score[at] > 0).any():
            waiting[at] = frame
        if len(waiting) == _AT_ONCE:
            _read(waiting, expected, widely, K, head, closely, readings)
            waiting = {}
    _read(waiting, expected, widely, K, head, closely, readings)
    return readings


def _read(
    frames: dict[int, Frame],
    expected: ExpectedHands,
    widely: NDArray[np.bool_],
    K: NDArray[np.float64],
    head: KeptReadings,
    closely: bool,
    readings: HandReadings,
) -> None:
    places = np.array(list(frames), np.int64)
    rows, sides = np.nonzero((expected.score[places] > 0).any(-1))
    at = places[rows]
    if not len(at):
        return
    crops = crops_from_landmarks(expected.points_px[at, sides])
    shown = [frames[place] for place in at.tolist()]
    alone = apart(expected.points_px[places], expected.between_px[places])[rows, sides] > 0
    again = alone & (closely | are_off_axis(crops, K))
    points_px, world_m, trust = _read_by_head(
        shown, crops, sides, K, head, again, MANY if closely else TURNED
    )
    readings.points_px[at, sides] = points_px
    readings.wide_px[at, sides] = np.nan
    asked = widely[at, sides]
    if asked.any():
        images = [
            frame.image for frame, own in zip(shown, asked, strict=True) if own and frame.image is not None
        ]
        wide_px = _read_wider(images, crops[asked], points_px[asked], K, head.landmarks)
        readings.wide_px[at[asked], sides[asked]] = wide_px
    readings.world_m[at, sides] = world_m - world_m[:, :1]
    readings.trust[at, sides] = trust
    readings.read[at, sides] = True


def _read_by_head(
    frames: list[Frame],
    crops: NDArray[np.float64],
    sides: NDArray[np.int64],
    K: NDArray[np.float64],
    head: KeptReadings,
    again: NDArray[np.bool_],
    squares: Sequence[tuple[float, float]],
) -> tuple[NDArray[np.float64], ...]:
    """Landmarks (N, 21, 2), world landmarks (N, 21, 3) and trust (N, 21) of hands in crops (N, 4), N > 0.

    again (N,): which are read in these squares about their own one, not in that alone.
    """
    once, more = np.flatnonzero(~again), np.flatnonzero(again)
    found = list[tuple[NDArray[np.float64], ...]]()
    if len(once):
        found.append(read_squares([frames[n] for n in once], crops[once], sides[once], K, head)[1:])
    if len(more):
        shown = [frames[n] for n in more]
        found.append(read_in_many_squares(shown, crops[more], sides[more], K, head, squares))
    order = np.argsort(np.concatenate([once, more]))
    return tuple(np.concatenate(parts)[order] for parts in zip(*found, strict=True))


def _read_wider(
    images: list[NDArray[np.uint8]],
    crops: NDArray[np.float64],
    points_px: NDArray[np.float64],
    K: NDArray[np.float64],
    networks: LandmarkNetworks,
) -> NDArray[np.float64]:
    """(N, 21, 2) landmarks in wider squares than crops (N, 4), or the given ones where another hand is found."""
    wide_px, presence = read_facing(images, widened(crops), K, networks)
    same = is_same_hand(presence, wide_px, points_px, crops)
    return np.where(same[:, None, None], wide_px, points_px)


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
    points = _mixed(tracks, readings, _SHARES)
    points = grown(points, growth(points, readings.wide_px))
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
    return counts(expected.points_px, expected.between_px, focal_px)
