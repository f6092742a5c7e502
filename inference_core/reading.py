# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading single frames, once the tracks say where the hands are.

    refine -> initial fit -> predict

All three in one pass, so that a frame is decoded once: while a network runs for some frames, the hands of others are
cut and fitted. Refining takes few frames at a time, because it holds them whole; fitting takes many, because a step
costs as much for 4 frames as for 20.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
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
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.tracking.refine import HandReadings, read_expected_hands, refined_hands
from inference_core.two_hand.predictions import TwoHandPredictions
from inference_core.two_hand.predictor import Picture, Predictor, cut_pictures, predict

# Frames whose hands are looked at together, held whole meanwhile.
_LOOKED_AT_ONCE = 2
# Pictures whose hands are fitted together: of each frame, only what the networks are shown is held by then.
_FITTED_AT_ONCE = 32

Record = TypeVar("Record", ExpectedHands, HandReadings, HandTracks, TwoHandPredictions)


@dataclass(frozen=True)
class FrameReader:
    """What frames are read with. head: None without one. fitting: waits for the two-hand network, and for the shape of
    the initial fit, None for a network without conditioning. closely: hands are read in many squares.
    """

    camera: Camera
    head: KeptReadings | None
    fitting: Callable[[], tuple[Predictor, ShotShape | None]]
    closely: bool = False

    def read(
        self,
        frames: Iterable[Frame],
        expected: ExpectedHands,
        squares_px: NDArray[np.float64],
        widely: NDArray[np.bool_],
    ) -> tuple[HandReadings, TwoHandPredictions]:
        """Each frame's readings by the head and the two-hand network. frames: T, in order.

        squares_px (T, 3): crops for the two-hand network; NaN: none. widely (T, S): as in `read_expected_hands`.
        """

        def look(item: tuple[int, list[Frame]]) -> _Looked:
            rows = slice(item[0], item[0] + len(item[1]))
            return self._look(item[1], part(expected, rows), squares_px[rows], widely[rows])

        def tell(item: tuple[int, _Looked]) -> tuple[HandReadings, TwoHandPredictions]:
            start, looked = item
            rows = slice(start, start + len(looked.pictures))
            return looked.readings, self._predictions(looked, part(expected, rows), squares_px[rows])

        # In one thread: the networks use all processors for the hands of two frames, and a second one holds 30 MB.
        looked = in_order(look, _some_at_a_time(frames), at_once=1)
        found = [(HandReadings.nothing(0), TwoHandPredictions.nothing(0))]
        found.extend(in_order(tell, _many_at_a_time(looked)))
        return joined([hands for hands, _ in found]), joined([predictions for _, predictions in found])

    def _look(
        self,
        frames: list[Frame],
        expected: ExpectedHands,
        squares_px: NDArray[np.float64],
        widely: NDArray[np.bool_],
    ) -> "_Looked":
        with timed(REFINE):
            readings = HandReadings.nothing(len(frames))
            if self.head is not None:
                readings = read_expected_hands(
                    frames, expected, self.head, widely, self.camera.first_K, self.closely
                )
            return _Looked(readings, cut_pictures(frames, squares_px, self.camera))

    def _predictions(
        self, looked: "_Looked", expected: ExpectedHands, squares_px: NDArray[np.float64]
    ) -> TwoHandPredictions:
        if not np.isfinite(squares_px).any():
            return TwoHandPredictions.nothing(len(squares_px))
        expected = refined_hands(expected, looked.readings)
        predictor, shape = self.fitting()
        if shape is not None:
            with timed(FIT):
                expected = fit_expected_hands(expected, squares_px, self.camera, shape)
        with timed(PREDICT):
            return predict(looked.pictures, expected, squares_px, self.camera, predictor)


@dataclass(frozen=True)
class _Looked:
    """What the head reads in some frames, and what the two-hand network will be shown of each."""

    readings: HandReadings
    pictures: list[Picture | None]


def part(record: Record, rows: slice | NDArray[np.int64]) -> Record:
    """Some frames of a record of arrays (T, ...)."""
    return type(record)(**{name: values[rows] for name, values in vars(record).items()})


def joined(records: list[Record]) -> Record:
    """The frames of several records, one after the other."""
    if len(records) == 1:
        return records[0]
    columns = {name: np.concatenate([getattr(one, name) for one in records]) for name in vars(records[0])}
    return type(records[0])(**columns)


def _some_at_a_time(frames: Iterable[Frame]) -> Iterator[tuple[int, list[Frame]]]:
    """The frames in lists, each with the place of its first one."""
    coming, start = iter(frames), 0
    while some := list(islice(coming, _LOOKED_AT_ONCE)):
        yield start, some
        start += len(some)


def _many_at_a_time(looked: Iterable[_Looked]) -> Iterator[tuple[int, _Looked]]:
    """The same frames in longer runs, each with the place of its first one."""
    start, waiting = 0, list[_Looked]()
    for some in looked:
        waiting.append(some)
        if sum(picture is not None for one in waiting for picture in one.pictures) >= _FITTED_AT_ONCE:
            yield start, _together(waiting)
            start, waiting = start + sum(len(one.pictures) for one in waiting), []
    if waiting:
        yield start, _together(waiting)


def _together(looked: list[_Looked]) -> _Looked:
    return _Looked(
        joined([one.readings for one in looked]), [picture for one in looked for picture in one.pictures]
    )
