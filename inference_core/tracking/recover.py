# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery of hands that the tracks lost, where the surrounding frames expect them.

Following a hand ends where it is hidden, and it is found again only where a palm shows. Between, the hand is often
plain enough for one who knows where to look. Each frame found tells better where to look in its neighbours, so a gap is
gone through forwards and backwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.footage.records import Frame
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.hand_crops import crop_features, points_to_frame, world_to_frame
from inference_core.landmarks.landmark_head import HeadWithLandmarks, RefinedLandmarks
from inference_core.shared.presence import SEEN
from inference_core.tracking.expected_hands import SEEN_SCORE
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.tracking.interpolate import MAX_GAP_FRAMES, interpolated
from inference_core.tracking.tracklets import SAME_HAND

# Images held at once.
_MOST_FRAMES, _MOST_BYTES = 48, 200_000_000

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]


def hands_in_crops(features: Tensor, head: HeadWithLandmarks) -> tuple[Tensor, RefinedLandmarks]:
    """(N,) 0..1 how surely a hand of the crop's side is in each crop, and how the head reads it; 0 where the head
    takes it for one of the other side. features (N, 112, 14, 14): early ones.
    """
    with torch.inference_mode():
        read = head.network(features)
        presence = head.landmarks.read(features).presence
    return presence * (read.right > 0), read


class Recovery:
    """The search for lost hands: the tracks so far, and lost (T, S) bool: hands known in other frames of the shot only.

    Made anew from the tracks of a search that was stopped, it goes on from there.
    """

    def __init__(self, tracks: HandTracks, head: HeadWithLandmarks) -> None:
        self.tracks = HandTracks(**{name: values.copy() for name, values in vars(tracks).items()})
        self._head = head
        self._known = (tracks.present == SEEN) & np.isfinite(tracks.landmarks_px).all((-1, -2))
        self.lost = ~self._known & self._known.any(0)

    def run(self, frames: Iterable[Frame], start: int = 0) -> Iterator[int]:
        """Search frames from the shot's `start`-th on, yielding now and then how many of the shot are done.

        Holds some dozens of images at most.
        """
        waiting: dict[int, Image] = {}
        for at, frame in enumerate(frames, start):
            if self.lost[at].any() and frame.image is not None:
                waiting[at] = frame.image
            full = (
                len(waiting) == _MOST_FRAMES or sum(image.nbytes for image in waiting.values()) > _MOST_BYTES
            )
            if waiting and (full or not self.lost[at].any()):
                self._through(waiting)
                waiting = {}
                yield at + 1
        self._through(waiting)

    def _through(self, images: Mapping[int, Image]) -> None:
        """Look for the lost hands of some frames, in the order given and back."""
        if not images:
            return
        around = slice(max(0, min(images) - MAX_GAP_FRAMES), max(images) + MAX_GAP_FRAMES + 1)
        there = self._between(around)
        looked = np.full_like(there, np.nan)
        forwards = list(images)
        for at in (*forwards, *reversed(forwards)):
            row = at - around.start
            for side in np.flatnonzero(self.lost[at]):
                points_px = there[row, side]
                if not np.isfinite(points_px).all() or np.array_equal(points_px, looked[row, side]):
                    continue
                looked[row, side] = points_px
                if self._look(images[at], at, int(side), points_px):
                    there = self._between(around)

    def _between(self, around: slice) -> Floats:
        points_px = self.tracks.landmarks_px[around, ..., :2].astype(np.float64)
        return interpolated(points_px, self._known[around])[0]

    def _look(self, image: Image, at: int, side: int, points_px: Floats) -> bool:
        """Whether the hand is where it would be; it is known then."""
        crop, sides = crops_from_landmarks(points_px[None]), np.array([side])
        presence, read = hands_in_crops(crop_features([image], crop, sides, self._head.landmarks), self._head)
        found_px = points_to_frame(read.points.double().cpu().numpy(), crop, sides)[0]
        if float(presence) < SEEN_SCORE or self._is_other(found_px, at, side, float(crop[0, 2])):
            return False
        self.tracks.landmarks_px[at, side] = np.concatenate(
            [found_px, np.full((len(found_px), 1), float(presence))], -1
        )
        self.tracks.world_m[at, side] = world_to_frame(read.world_m.double().cpu().numpy(), crop, sides)[0]
        self.tracks.present[at, side] = SEEN
        self.tracks.side_score[at, side] = float(torch.sigmoid(read.right))
        self._known[at, side], self.lost[at, side] = True, False
        return True

    def _is_other(self, found_px: Floats, at: int, side: int, crop_px: float) -> bool:
        if not self._known[at, 1 - side]:
            return False
        other_px = self.tracks.landmarks_px[at, 1 - side, :, :2]
        return bool(np.linalg.norm(found_px - other_px, axis=-1).mean() < SAME_HAND * crop_px)
