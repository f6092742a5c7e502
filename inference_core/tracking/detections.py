# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen of hands in a shot, before any hand is assigned to a person or side."""

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import HAND_IN_CROP

Floats = NDArray[np.float32]
_BY_FRAME, _OF_SHOT = ("time_s", "arms_px", "arms_m"), ("size_px", "cuts", "bars_px")


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
    cuts (C,): the frames that begin a piece of footage, apart from the first. bars_px: how wide the picture's bars are
    on the left, at the top, on the right and at the bottom.
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
    cuts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    bars_px: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def hand_sizes_px(self) -> NDArray[np.float64]:
        """(N,) how large each hand is."""
        return np.maximum(self.crops[:, 2].astype(np.float64) * HAND_IN_CROP, 1.0)

    @property
    def content_px(self) -> tuple[int, int, int, int]:
        """The picture without its bars: left, top, right, bottom."""
        (left, top, right, bottom), (width, height) = self.bars_px, self.size_px
        return left, top, width - right, height - bottom


def rows_of_frames(at: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows of each frame that has some, one frame after another; at (N,): the frames of rows ordered by frame."""
    return np.split(np.arange(len(at)), np.flatnonzero(np.diff(at)) + 1) if len(at) else []


def pieces_of(detections: ShotDetections) -> list[ShotDetections]:
    """The shot taken apart at its cuts, each piece as a shot of its own: frames are counted from its first one."""
    if not len(detections.cuts):
        return [detections]
    ends = [0, *detections.cuts.tolist(), len(detections.time_s)]
    return [_piece(detections, start, stop) for start, stop in pairwise(ends)]


def joined_pieces(pieces: list[ShotDetections], shot: ShotDetections) -> ShotDetections:
    """The shot that was taken apart into these pieces, as they are now. What the arms told is left out."""
    if len(pieces) == 1:
        return pieces[0]
    starts = [0, *shot.cuts.tolist()]
    whole = {
        name: np.concatenate([getattr(piece, name) for piece in pieces])
        for name in vars(shot)
        if name not in ("at", "arm_odds", *_OF_SHOT)
    }
    at = np.concatenate([piece.at + start for piece, start in zip(pieces, starts, strict=True)])
    return replace(shot, **whole, at=at)


def _piece(detections: ShotDetections, start: int, stop: int) -> ShotDetections:
    own = of_rows(detections, (detections.at >= start) & (detections.at < stop))
    by_frame = {name: getattr(own, name)[start:stop] for name in _BY_FRAME}
    return replace(own, **by_frame, at=own.at - start, cuts=own.cuts[:0])


def without_sightings(detections: ShotDetections) -> ShotDetections:
    """What is left once the tracks hold what was seen of hands: times, arms and the picture's form."""
    return of_rows(detections, np.zeros(len(detections.at), bool))


def of_rows(detections: ShotDetections, chosen: NDArray[np.bool_]) -> ShotDetections:
    """The chosen (N,) sightings."""
    return replace(
        detections,
        **{
            name: values[chosen]
            for name, values in vars(detections).items()
            if name not in (*_BY_FRAME, *_OF_SHOT) and len(values)
        },
    )
