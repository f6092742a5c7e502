# SPDX-License-Identifier: GPL-3.0-or-later
"""A take at a glance: figures for each hand, the frames to check first, and pictures of them."""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference_core.batch.records import HandRecord
from inference_core.cli.take_report import hand_figures, reprojection_px
from inference_core.footage import FrameRange, limits_of, open_footage
from inference_core.preview import draw_frame
from inference_core.shared.errors import DuohandError
from inference_core.shared.messages import CaptureRequest
from inference_core.shared.presence import ABSENT
from inference_core.shared.take import Take

_WORST = 3
_APART_S = 0.5  # minimum between two of the worst frames, since neighbours show the same
_PICTURE_WIDTH_PX = 320
_JPEG_QUALITY = 80


def hand_record(take: Take, side: int) -> HandRecord:
    """One hand's figures."""
    figures = hand_figures(take, side)
    return HandRecord(
        figures.seen,
        figures.filled,
        figures.absent,
        _known(figures.confidence, 3),
        _known(figures.reprojection_px, 2),
        _known(figures.shake_mm, 2),
    )


def worst_rows(take: Take) -> tuple[int, ...]:
    """Rows of the take with the least confidence, some time apart, worst first. Only rows with a hand."""
    there = take.present != ABSENT
    doubt = np.where(there, 1 - take.confidence, 0).max(1)
    misfit = np.nan_to_num(reprojection_px(take)).max(1) / max(take.size_px)
    order = np.argsort(-(doubt + misfit), kind="stable")
    chosen: list[int] = []
    for row in order[there.any(1)[order]].tolist():
        if all(abs(take.time_s[row] - take.time_s[other]) >= _APART_S for other in chosen):
            chosen.append(row)
        if len(chosen) == _WORST:
            break
    return tuple(chosen)


def typical_row(take: Take) -> int:
    """The middle one of the rows with the most hands."""
    count = (take.present != ABSENT).sum(1)
    rows = np.flatnonzero(count == count.max())
    return int(rows[len(rows) // 2])


def write_pictures(
    take: Take, request: CaptureRequest, rows: tuple[int, ...], folder: Path, name: str
) -> None:
    """Write NAME_FRAME.jpg for each row: the take's hands over its frame, or over grey if that cannot be read.

    OSError if the folder cannot be written to.
    """
    folder.mkdir(exist_ok=True)
    for row in rows:
        image = draw_frame(take, row, _frame(take, request, row))
        height = max(round(image.shape[0] * _PICTURE_WIDTH_PX / image.shape[1]), 1)
        small = cv2.resize(image, (_PICTURE_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
        jpeg = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
        picture_path(folder, name, int(take.frame[row])).write_bytes(jpeg.tobytes())


def picture_path(folder: Path, name: str, frame: int) -> Path:
    """The path of a frame's picture."""
    return folder / f"{name}_{frame}.jpg"


def presence_runs(take: Take, side: int) -> Iterator[tuple[float, float, int]]:
    """Start and length, as shares of the shot, and presence of each run of equal frames."""
    values = take.present[:, side]
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    for start, stop in pairwise(edges):
        yield start / len(values), (stop - start) / len(values), int(values[start])


def confidence_curve(take: Take, side: int, points: int) -> list[NDArray[np.float64]]:
    """Pieces (N, 2) of the curve of confidence: share of the shot and 0..1, at most that many points in all."""
    step = max(math.ceil(take.frame_count / points), 1)
    rows = np.arange(0, take.frame_count, step)
    there = take.present[rows, side] != ABSENT
    curve = np.stack([(rows + 0.5) / take.frame_count, take.confidence[rows, side].astype(np.float64)], -1)
    cuts = np.flatnonzero(np.diff(there)) + 1
    pieces = zip(np.split(curve, cuts), np.split(there, cuts), strict=True)
    return [piece for piece, is_there in pieces if is_there.any()]


def _frame(take: Take, request: CaptureRequest, row: int) -> NDArray[np.uint8] | None:
    number = int(take.frame[row])
    try:
        limits = limits_of(request.max_pixels, request.max_frames)
        footage = open_footage(
            request.footage, FrameRange(number, number + 1, 1), request.fps, lambda _: None, limits
        )
        image = next(iter(footage)).image
    except (DuohandError, StopIteration):
        return None
    fits = image is not None and image.shape[:2] == (take.size_px[1], take.size_px[0])
    return image if fits else None


def _known(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
