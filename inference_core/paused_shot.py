# SPDX-License-Identifier: GPL-3.0-or-later
"""A shot with pauses at its cuts while it is captured, and what the stages work with meanwhile."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.footage import Footage, Frame
from inference_core.geometry.camera import Camera
from inference_core.pauses import Pauses, pauses_at
from inference_core.run import Run, Shot
from inference_core.tracking.detections import ShotDetections

_WHOLE_SHOT = ("betas", "world_scale")


def with_pauses(run: Run, shot: Shot) -> tuple[Run, Shot, Pauses]:
    """The tracked shot with pauses at its cuts, and what the stages work with, which then counts rows."""
    detections, tracks = shot.detections, shot.tracks
    assert tracks is not None, "the stages run in their order"
    pauses = pauses_at(detections.cuts, detections.time_s)
    if not len(detections.cuts):
        return run, shot, pauses
    spread = pauses.spread
    tracks = replace(tracks, **{name: spread(values) for name, values in vars(tracks).items()})
    tracks.landmarks_px[pauses.frame < 0, ..., 2] = tracks.side_score[pauses.frame < 0] = 0
    detections = replace(
        detections,
        at=pauses.row[detections.at],
        time_s=pauses.times(detections.time_s),
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


def without_pauses(shot: Shot, pauses: Pauses, detections: ShotDetections) -> Shot:
    """The solved shot without its pauses. detections: before they were added."""
    if len(pauses.row) == pauses.count:
        return shot

    def frames(record: Any) -> Any:
        some = {name: values[pauses.row] for name, values in vars(record).items() if name not in _WHOLE_SHOT}
        return replace(record, **some)

    predictions = None if shot.predictions is None else frames(shot.predictions)
    solution, tracks = frames(shot.solution), frames(shot.tracks)
    return Shot(detections, others=shot.others, tracks=tracks, predictions=predictions, solution=solution)


def _footage(footage: Footage, pauses: Pauses) -> Footage:
    frame = pauses.frame

    def read(rows: Sequence[int]) -> Iterator[Frame]:
        shown = [int(frame[row]) for row in rows]
        coming = footage.at([at for at in shown if at >= 0])
        return (next(coming) if at >= 0 else Frame(-1, np.nan, None) for at in shown)

    return Footage(replace(footage.info, numbers=range(pauses.count)), read, footage.time_s)


def _camera(camera: Camera, pauses: Pauses) -> Camera:
    def of_rows(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
        return matrices if matrices.ndim == 2 else matrices[pauses.last_frame]

    return replace(camera, K=of_rows(camera.K), T_world_cam=of_rows(camera.T_world_cam))
