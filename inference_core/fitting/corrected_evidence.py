# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmarks and predictions after the user's corrections: swapped sides, a hand marked absent, a hand's box."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.corrections import Correction
from inference_core.shared.errors import RequestError
from inference_core.shared.presence import ABSENT, FILLED, SEEN
from inference_core.shared.skeleton import SIDES
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.two_hand.predictions import TwoHandPredictions

# The score of landmarks moved into a box from another frame.
_BORROWED_SCORE = 0.4


@dataclass(frozen=True)
class CorrectedEvidence:
    """Evidence of T frames; changed (T, S) bool where it differs from what was read."""

    tracks: HandTracks
    predictions: TwoHandPredictions | None
    changed: NDArray[np.bool_]


def corrected_evidence(
    tracks: HandTracks,
    predictions: TwoHandPredictions | None,
    frames: NDArray[np.int64],
    corrections: Sequence[Correction],
) -> CorrectedEvidence:
    """The evidence with its corrections applied in order. frames (T,): numbers in the footage."""
    draft = _Draft(tracks, predictions)
    for item in corrections:
        rows = item.rows(frames)
        if item.kind == "sides":
            draft.exchange(rows)
        elif item.kind == "absent":
            draft.remove(rows, item.sides)
        elif item.kind == "box":
            assert item.box_px is not None
            draft.put_in_box(rows, item.sides[0], np.array(item.box_px))
    return draft.finished()


class _Draft:
    """Copies of the evidence that corrections may change."""

    def __init__(self, tracks: HandTracks, predictions: TwoHandPredictions | None) -> None:
        self._tracks, self._predictions = tracks, predictions
        self._landmarks_px, self._world_m = tracks.landmarks_px.copy(), tracks.world_m.copy()
        self._present = tracks.present.copy()
        self._changed = np.zeros(self._present.shape, bool)

    def exchange(self, rows: NDArray[np.int64]) -> None:
        for values in (self._landmarks_px, self._world_m, self._present, self._changed):
            values[rows] = values[rows][:, ::-1]
        self._changed[rows] = True

    def remove(self, rows: NDArray[np.int64], sides: tuple[int, ...]) -> None:
        for side in sides:
            self._landmarks_px[rows, side], self._world_m[rows, side] = np.nan, np.nan
            self._present[rows, side], self._changed[rows, side] = ABSENT, True

    def put_in_box(self, rows: NDArray[np.int64], side: int, box_px: NDArray[np.float64]) -> None:
        """Assign to the hand the landmarks in the box, whichever hand's they were.

        If the box has none, those of the nearest frame in which the hand is seen are moved into it.
        """
        other = 1 - side
        seen = self._seen()
        known = np.setdiff1d(np.flatnonzero(seen[:, side]), rows)
        for row in rows.tolist():
            if seen[row, side] and _inside(self._landmarks_px[row, side], box_px):
                continue
            if seen[row, other] and _inside(self._landmarks_px[row, other], box_px):
                self._move(row, other, side)
                continue
            if not len(known):
                raise RequestError(
                    f"The {SIDES[side]} hand is seen in no other frame, so there is nothing to put into the box. "
                    "Capture the footage again."
                )
            near = known[np.abs(known - row).argmin()]
            self._landmarks_px[row, side] = _laid_into(self._landmarks_px[near, side], box_px)
            self._world_m[row, side] = self._world_m[near, side]
            self._present[row, side], self._changed[row, side] = SEEN, True

    def finished(self) -> CorrectedEvidence:
        tracks = replace(
            self._tracks, landmarks_px=self._landmarks_px, world_m=self._world_m, present=self._present
        )
        predictions = self._predictions
        if predictions is not None:
            # The network's predictions no longer apply: it saw the hands as they were before.
            confidence, presence = (
                np.where(self._changed, np.float32(0), values)
                for values in (predictions.confidence, predictions.presence)
            )
            predictions = replace(predictions, confidence=confidence, presence=presence)
        return CorrectedEvidence(tracks, predictions, self._changed)

    def _seen(self) -> NDArray[np.bool_]:
        return (np.nan_to_num(self._landmarks_px[..., 2]) > 0).any(-1) & np.isfinite(self._world_m).all(
            (-1, -2)
        )

    def _move(self, row: int, source: int, side: int) -> None:
        for values in (self._landmarks_px, self._world_m):
            values[row, side], values[row, source] = values[row, source], np.nan
        self._present[row, side], self._present[row, source] = SEEN, FILLED
        self._changed[row] = True


def _inside(landmarks_px: NDArray[np.float32], box_px: NDArray[np.float64]) -> bool:
    """Whether more than half of the landmarks (21, 3) are in the box."""
    points = landmarks_px[:, :2]
    return bool(((points >= box_px[:2]) & (points <= box_px[2:])).all(-1).mean() > 0.5)


def _laid_into(landmarks_px: NDArray[np.float32], box_px: NDArray[np.float64]) -> NDArray[np.float32]:
    """Landmarks (21, 3) translated and scaled uniformly into the box."""
    points = landmarks_px[:, :2].astype(np.float64)
    low, high = points.min(0), points.max(0)
    size = ((box_px[2:] - box_px[:2]) / np.maximum(high - low, 1.0)).min()
    laid = (points - (low + high) / 2) * size + (box_px[:2] + box_px[2:]) / 2
    return np.column_stack([laid, np.full(len(laid), _BORROWED_SCORE)]).astype(np.float32)
