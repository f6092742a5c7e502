# SPDX-License-Identifier: GPL-3.0-or-later
"""Pauses at the cuts of a shot: rows without a picture, so that nothing reaches from one piece to the next.

A hand is interpolated, remembered and smoothed over a few seconds at most. Between the pieces of footage that is cut,
the record of the shot therefore holds longer pauses while hands are recovered, read and solved.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.footage import Footage, Frame
from inference_core.geometry.camera import Camera
from inference_core.run import Run, Shot

# A pause is longer than a hand is remembered, in frames, and than a gap may be that is filled, in seconds.
_PAUSE_FRAMES, _PAUSE_S = 96, 1.0
_WHOLE_SHOT = ("betas", "world_scale")


@dataclass(frozen=True)
class Pauses:
    """The T frames of a shot in a longer list of rows. row (T,): of each frame. count: of rows."""

    row: NDArray[np.int64]
    count: int

    @property
    def frame(self) -> NDArray[np.int64]:
        """(count,) the frame of each row; -1 in a pause."""
        frame = np.full(self.count, -1)
        frame[self.row] = np.arange(len(self.row))
        return frame

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values (T, ...) or () in all rows (count, ...): NaN or 0 in pauses."""
        if not len(values):
            return values
        empty = np.nan if np.issubdtype(values.dtype, np.floating) else 0
        spread = np.full((self.count, *values.shape[1:]), empty, values.dtype)
        spread[self.row] = values
        return spread


def with_pauses(run: Run, shot: Shot) -> tuple[Run, Shot, Pauses]:
    """The tracked shot with pauses at its cuts, and what the stages work with, which then counts rows."""
    detections, tracks = shot.detections, shot.tracks
    assert tracks is not None, "the stages run in their order"
    pauses = _pauses(detections.time_s, detections.cuts)
    if not len(detections.cuts):
        return run, shot, pauses
    spread = pauses.spread
    tracks = replace(tracks, **{name: spread(values) for name, values in vars(tracks).items()})
    tracks.landmarks_px[pauses.frame < 0, ..., 2] = tracks.side_score[pauses.frame < 0] = 0
    detections = replace(
        detections,
        at=pauses.row[detections.at],
        time_s=_times(detections.time_s, pauses),
        arms_px=spread(detections.arms_px),
        arms_m=spread(detections.arms_m),
        cuts=pauses.row[detections.cuts],
    )

    def progress(stage: str, done: int, total: int) -> None:
        run.progress(stage, int(np.searchsorted(pauses.row, done)), len(pauses.row))

    footage, camera = _footage(run.footage, pauses), _camera(run.camera, pauses)
    paused = replace(run, footage=footage, camera=camera, progress=progress)
    searched = {int(pauses.row[at]): found for at, found in shot.searched.items()}
    return paused, replace(shot, detections=detections, searched=searched, tracks=tracks), pauses


def without_pauses(shot: Shot, pauses: Pauses, tracked: Shot) -> Shot:
    """The solved shot without its pauses. tracked: before they were added."""
    if len(pauses.row) == pauses.count:
        return shot

    def frames(record: Any) -> Any:
        some = {name: values[pauses.row] for name, values in vars(record).items() if name not in _WHOLE_SHOT}
        return replace(record, **some)

    predictions = None if shot.predictions is None else frames(shot.predictions)
    solution, tracks = frames(shot.solution), frames(shot.tracks)
    return Shot(tracked.detections, tracks=tracks, predictions=predictions, solution=solution)


def _pauses(time_s: NDArray[np.float64], cuts: NDArray[np.int64]) -> Pauses:
    rows = np.arange(len(time_s))
    if not len(cuts):
        return Pauses(rows, len(rows))
    length = max(_PAUSE_FRAMES, round(_PAUSE_S / float(np.median(np.diff(time_s)))))
    rows = rows + length * np.searchsorted(cuts, rows, side="right")
    return Pauses(rows, int(rows[-1]) + 1)


def _times(time_s: NDArray[np.float64], pauses: Pauses) -> NDArray[np.float64]:
    """(count,) the rows' times: pauses pass at the usual rate."""
    steps = np.full(pauses.count, float(np.median(np.diff(time_s))))
    follows = np.diff(pauses.row) == 1
    steps[pauses.row[1:][follows]] = np.diff(time_s)[follows]
    return np.cumsum(steps) - steps[0] + time_s[0]


def _footage(footage: Footage, pauses: Pauses) -> Footage:
    frame = pauses.frame

    def read(rows: Sequence[int]) -> Iterator[Frame]:
        shown = [int(frame[row]) for row in rows]
        coming = footage.at([at for at in shown if at >= 0])
        return (next(coming) if at >= 0 else Frame(-1, np.nan, None) for at in shown)

    return Footage(replace(footage.info, numbers=range(pauses.count)), read, footage.time_s)


def _camera(camera: Camera, pauses: Pauses) -> Camera:
    shown = np.maximum.accumulate(pauses.frame)

    def of_rows(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
        return matrices if matrices.ndim == 2 else matrices[shown]

    return replace(camera, K=of_rows(camera.K), T_world_cam=of_rows(camera.T_world_cam))
