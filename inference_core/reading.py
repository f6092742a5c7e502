# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading single frames, once the tracks say where the hands are.

    refine -> initial fit -> predict

All three in one pass, so that a frame is decoded once, some frames at a time: while a network runs for some, the
hands of others are cut and fitted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.initial_fit import fit_expected_hands
from inference_core.fitting.single_frame import ShotShape
from inference_core.footage.records import Frame
from inference_core.geometry.camera import Camera
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.runtime.ahead import in_order
from inference_core.runtime.stopwatch import FIT, PREDICT, REFINE, timed
from inference_core.tracking.expected_hands import ExpectedHands
from inference_core.tracking.refine import HandReadings, read_expected_hands, refined_hands
from inference_core.two_hand.predictions import TwoHandPredictions
from inference_core.two_hand.predictor import Predictor, predict_frames

# Pictures held at once, at least as many of them as a network takes.
_MOST_BYTES, _LEAST_FRAMES = 64_000_000, 4

Record = TypeVar("Record", ExpectedHands, HandReadings, TwoHandPredictions)


@dataclass(frozen=True)
class FrameReader:
    """What frames are read with. head, shape: None for a network without conditioning or without a head."""

    camera: Camera
    predictor: Predictor
    head: KeptReadings | None
    shape: ShotShape | None

    def read(
        self,
        frames: Iterable[Frame],
        expected: ExpectedHands,
        squares_px: NDArray[np.float64],
    ) -> tuple[HandReadings, TwoHandPredictions]:
        """What the head and the two-hand network say of each frame. frames: as many as the rest has, in order."""

        def work(item: tuple[int, list[Frame]]) -> tuple[HandReadings, TwoHandPredictions]:
            rows = slice(item[0], item[0] + len(item[1]))
            return self._read(item[1], part(expected, rows), squares_px[rows])

        found = list(in_order(work, _some_at_a_time(frames, self.predictor.batch)))
        return joined([hands for hands, _ in found]), joined([predictions for _, predictions in found])

    def _read(
        self,
        frames: list[Frame],
        expected: ExpectedHands,
        squares_px: NDArray[np.float64],
    ) -> tuple[HandReadings, TwoHandPredictions]:
        readings = HandReadings.nothing(len(frames))
        if self.head is not None:
            with timed(REFINE):
                readings = read_expected_hands(frames, expected, self.head)
            expected = refined_hands(expected, readings)
        if self.shape is not None:
            with timed(FIT):
                expected = fit_expected_hands(expected, squares_px, self.camera, self.shape)
        with timed(PREDICT):
            return readings, predict_frames(frames, expected, squares_px, self.camera, self.predictor)


def part(record: Record, rows: slice) -> Record:
    """Some frames of a record of arrays (T, ...)."""
    return type(record)(**{name: values[rows] for name, values in vars(record).items()})


def joined(records: list[Record]) -> Record:
    """The frames of several records, one after the other."""
    columns = {name: np.concatenate([getattr(one, name) for one in records]) for name in vars(records[0])}
    return type(records[0])(**columns)


def _some_at_a_time(frames: Iterable[Frame], most: int) -> Iterator[tuple[int, list[Frame]]]:
    """The frames in lists, each with the place of its first one."""
    some: list[Frame] = []
    start, limit = 0, most
    for frame in frames:
        some.append(frame)
        if frame.image is not None:
            limit = min(most, max(_LEAST_FRAMES, _MOST_BYTES // frame.image.nbytes))
        if len(some) >= limit:
            yield start, some
            start, some = start + len(some), []
    if some:
        yield start, some
