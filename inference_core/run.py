# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stages of a capture work with, and the record of the shot that goes through them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.chosen_network import ChosenNetwork
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.solution import ShotSolution
from inference_core.footage import Footage, Frame
from inference_core.geometry.camera import Camera
from inference_core.hand_model.hand import HandModel
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.resume_cache import ResumeCache
from inference_core.runtime.process import give_back_memory
from inference_core.runtime.program import program_digest
from inference_core.runtime.stopwatch import DECODE, timed_items
from inference_core.shared.messages import Progress
from inference_core.tracking.assign import TrackSettings
from inference_core.tracking.detections import ShotDetections
from inference_core.tracking.expected_hands import ExpectedHands
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.tracking.mixed_up import Searched
from inference_core.two_hand.predictions import TwoHandPredictions

# A stage saves its results after this many frames: about ten seconds of work.
PIECE_FRAMES = 480
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Run:
    """What the stages work with.

    hand: waits for the hand model. network: None for landmarks alone. cache: None if nothing is to be saved.
    share: of the pieces that are read, the first and every how manieth.
    """

    footage: Footage
    camera: Camera
    hand: Callable[[], HandModel]
    device: str
    network: ChosenNetwork | None
    tracking: TrackSettings
    solving: SolveSettings
    cache: ResumeCache | None
    progress: Progress
    share: tuple[int, int] = (0, 1)

    @property
    def head(self) -> HeadWithLandmarks | None:
        """The landmark head, if there is one; waits for it."""
        return self.network.loaded().head if self.network else None

    @property
    def network_identity(self) -> str:
        """The network's identity; empty without one."""
        return self.network.identity if self.network else ""

    def frames(self, stage: str, at: Sequence[int]) -> Iterator[Frame]:
        """The footage's frames at these rising positions; reports the run's progress as they are read."""
        for place, frame in zip(at, timed_items(DECODE, self.footage.at(at)), strict=True):
            yield frame
            self.progress(stage, place + 1, self.footage.info.count)

    def load(self, stage: str, depends_on: Mapping[str, Any]) -> dict[str, NDArray[Any]] | None:
        """The arrays saved by an earlier run of the same request; None if there are none."""
        return None if self.cache is None else self.cache.load(stage, self._key(depends_on))

    def keep(self, stage: str, depends_on: Mapping[str, Any], arrays: Arrays) -> None:
        """Save arrays for a resumed run, replacing those under the same key."""
        if self.cache is not None:
            self.cache.save(stage, self._key(depends_on), arrays)

    def once(
        self, stage: str, depends_on: Mapping[str, Any], work: Callable[[], Arrays]
    ) -> dict[str, NDArray[Any]]:
        """The arrays that `work` returns, or returned in an earlier run."""
        arrays = self.load(stage, depends_on)
        if arrays is None:
            arrays = dict(work())
            self.keep(stage, depends_on, arrays)
        return arrays

    def in_pieces(
        self, stage: str, depends_on: Mapping[str, Any], work: Callable[[int, int], Arrays]
    ) -> dict[str, NDArray[Any]]:
        """The arrays of all frames, from work(start, stop) on pieces of the shot, joined along the first axis; of a
        run's share of the pieces, if it has only a share.
        """
        count = self.footage.info.count
        self.progress(stage, 0, count)
        first, every = self.share
        starts = range(first * PIECE_FRAMES, count, every * PIECE_FRAMES)
        whole, done = dict[str, NDArray[Any]](), 0
        for start in starts:
            stop = min(start + PIECE_FRAMES, count)
            key = {**depends_on, "start": start, "stop": stop}
            piece = self.once(stage, key, lambda start=start, stop=stop: work(start, stop))
            if not whole:
                frames = sum(min(PIECE_FRAMES, count - each) for each in starts)
                whole = {
                    name: np.empty((frames, *values.shape[1:]), values.dtype)
                    for name, values in piece.items()
                }
            for name, values in piece.items():
                whole[name][done : done + stop - start] = values
            done += stop - start
            give_back_memory()
            self.progress(stage, stop, count)
        return whole

    def _key(self, depends_on: Mapping[str, Any]) -> dict[str, Any]:
        info = self.footage.info
        return {
            "program": program_digest(),
            "footage": info.identity,
            "numbers": str(info.numbers),
            **depends_on,
        }


@dataclass(frozen=True)
class Shot:
    """The record of the shot; every stage adds its part.

    detections, searched (see `set_right`): after detect. tracks: after track; recover adds lost hands, and read
    replaces the readings of all. head: the landmark head, with its readings so far, once there are any. others: whether
    hands of other people were in view. expected: each hand in each frame according to the recovered tracks. squares_px
    (T, 3): the two-hand crops. predictions: after read. solution: after solve. None before that, and if the run has no
    network.
    """

    detections: ShotDetections
    searched: Mapping[int, Searched] = field(default_factory=dict)
    tracks: HandTracks | None = None
    expected: ExpectedHands | None = None
    squares_px: NDArray[np.float64] | None = None
    head: KeptReadings | None = None
    others: bool = False
    predictions: TwoHandPredictions | None = None
    solution: ShotSolution | None = None
