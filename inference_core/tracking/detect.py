# SPDX-License-Identifier: GPL-3.0-or-later
"""Every hand in every frame of a shot: palms found on key frames, each followed forwards and backwards.

The whole shot is available, so nothing here is causal. Frames stream through a window. Hands that are known and plain
to see are followed through it. Palms are detected on every n-th frame; each of another hand starts a tracklet, and all
tracklets of the window advance together, one batch per step, until they meet the next key frame's tracklet (the two
become one) or lose the hand. Tracklets that did not continue an earlier one are followed backwards, and frames with
fewer hands than their neighbours are searched again. Sides are not decided here: see `assign`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.landmarks.body_reader import find_arms
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.landmarks.networks import LandmarkNetworks, PoseNetworks
from inference_core.runtime.ahead import Later, beside, in_turn
from inference_core.runtime.network_graph import Run
from inference_core.runtime.stopwatch import SIDES, timed
from inference_core.tracking.bars import DarkBorders, bars_px
from inference_core.tracking.cuts import PictureChanges, cut_frames
from inference_core.tracking.detections import ShotDetections
from inference_core.tracking.pairs_ahead import PairsAhead
from inference_core.tracking.settings import DetectionSettings
from inference_core.tracking.sides_ahead import SidesAhead
from inference_core.tracking.tracklets import Columns, Tracklets
from inference_core.tracking.window import Window, size_of

# Sightings this many windows back are not looked at again: the landmark head has told their sides.
_WINDOWS_BACK = 10

_ArmsArrays = tuple[NDArray[np.float32], NDArray[np.float32]]


def detect_shot(
    frames: Iterable[Frame],
    networks: LandmarkNetworks,
    settings: DetectionSettings | None = None,
) -> ShotDetections:
    """All sightings of hands in the shot. Holds at most one window of images, however long the shot."""
    detector = ShotDetector(networks, settings)
    for _ in detector.run(frames):
        pass
    return detector.detections()


@dataclass(frozen=True)
class StoppedSearch:
    """What a detector needs to continue: the `state` of the one that was stopped, and all that was `settled`."""

    state: Mapping[str, NDArray[Any]]
    settled: Sequence[Columns] = ()

    @property
    def done(self) -> int:
        """The number of frames searched."""
        return len(self.state["time_s"])


class ShotDetector:
    """The search through a shot. It can be stopped between windows and resumed from its `state` and `settled`.

    pose: loads the networks that locate the most prominent person's arms on some frames, if these are wanted. head:
    waits for the landmark head; with one, hands that show no palm are searched for. partner: the partner network, if
    there is one. sides: reads the sides of some sightings meanwhile. pairs: searches about some hands meanwhile.
    """

    def __init__(
        self,
        networks: LandmarkNetworks,
        settings: DetectionSettings | None = None,
        pose: Callable[[], PoseNetworks] | None = None,
        head: Callable[[], HeadWithLandmarks | None] = lambda: None,
        partner: Callable[[], Run | None] | None = None,
        sides: SidesAhead | None = None,
        pairs: PairsAhead | None = None,
        stopped: StoppedSearch | None = None,
    ) -> None:
        state = None if stopped is None else stopped.state
        self._settings = settings or DetectionSettings()
        self._pose, self._sides, self._pairs = pose, sides, pairs
        self._arms: list[_ArmsArrays] = [] if state is None else [(state["arms_px"], state["arms_m"])]
        self._tracklets = (
            Tracklets() if stopped is None else Tracklets.restored(stopped.state, stopped.settled)
        )
        self._times: list[float] = [] if state is None else state["time_s"].tolist()
        self._size_px = (0, 0) if state is None else (int(state["size_px"][0]), int(state["size_px"][1]))
        self._window = Window(networks, self._settings, self._tracklets, head, partner)
        self._window_state = self._window.state() if state is None else state
        self._changes = PictureChanges((), None if state is None else state["changes"])
        self._borders = DarkBorders(() if state is None else state["dark_px"])

    @property
    def done(self) -> int:
        """The number of frames searched so far."""
        return len(self._times)

    @property
    def next_frame(self) -> int:
        """The first frame that `run` needs. Some searched frames are needed again, to
        follow hands backwards into them.
        """
        return self._settings.first_needed(self.done)

    def run(self, frames: Iterable[Frame]) -> Iterator[int]:
        """Search the frames from `next_frame` to the shot's end; yields the number of
        searched frames after each window.
        """
        coming = iter(frames)
        history = [frame.image for frame in islice(coming, self.done - self.next_frame)]
        if history:
            self._window.restore(history, self.done, self._window_state)
            self._changes = PictureChanges(history, self._window_state["changes"])
        with in_turn() as later:
            yield from self._through(coming, later)

    def _through(self, frames: Iterator[Frame], later: Later) -> Iterator[int]:
        last = dict[int, Frame]()
        for some in _windows(frames, self._settings):
            start = self.done
            self._times.extend(frame.time_s for frame in some)
            first_size = (size_of(frame.image) for frame in some if frame.image is not None)
            self._size_px = next(first_size, self._size_px)
            images = [frame.image for frame in some]
            cuts = self._changes.add(images)
            self._borders.add(images)
            if self._pose is None:
                self._window.advance(images, cuts=cuts)
            else:
                with beside(_arms, images, start, self._settings, self._pose) as arms:
                    self._window.advance(images, lambda arms=arms: arms()[0], cuts)
                    self._arms.append(arms()[1:])
            if self._sides is not None:
                last = {self.done - 1: some[-1]}
                self._sides.ask(dict(enumerate(some, start)), self._tracklets, later, self.done - 1)
                self._sides.collect(self._tracklets)
            if self._pairs is not None:
                self._pairs.ask(dict(enumerate(some, start)), self._tracklets, later)
            self._tracklets.settle(self.done - _WINDOWS_BACK * self._settings.window_frames)
            # Only the window's short history may stay in memory while the next frames come in.
            some.clear()
            images.clear()
            yield self.done
        if self._sides is not None:
            self._sides.ask(last, self._tracklets, later, -1)
            self._sides.collect(self._tracklets, 0)

    def settled(self, start: int) -> Columns:
        """Sightings that will not change any more, from the start-th on: of `state`, what grows with the shot."""
        return self._tracklets.settled(start)

    def last_seen(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The frames (N,) and landmarks (N, 21, 3) of the sightings that are not settled."""
        known = self._tracklets.unsettled()
        return known["at"], known["points_px"]

    def state(self) -> dict[str, NDArray[Any]]:
        """What a new detector needs to continue from here, apart from what is `settled`."""
        if self._sides is not None:
            self._sides.collect(self._tracklets, 0)
        return {
            **self._tracklets.state(),
            **self._window.state(),
            "time_s": np.array(self._times, np.float64),
            "size_px": np.array(self._size_px),
            "changes": self._changes.known,
            "dark_px": self._borders.known,
            **dict(zip(("arms_px", "arms_m"), self._all_arms(), strict=True)),
        }

    def detections(self) -> ShotDetections:
        """All sightings so far."""
        found = _as_arrays(self._tracklets, np.array(self._times, np.float64), self._size_px)
        arms_px, arms_m = self._all_arms()
        return replace(
            found,
            arms_px=arms_px,
            arms_m=arms_m,
            cuts=cut_frames(self._changes.known),
            bars_px=bars_px(self._borders.known, self._size_px),
        )

    def _all_arms(self) -> _ArmsArrays:
        none = np.zeros((0, 2, 3, 3), np.float32)
        arms_px, arms_m = (np.concatenate(parts) for parts in zip((none, none), *self._arms, strict=True))
        return arms_px, arms_m


@timed(SIDES)
def _arms(
    images: list[NDArray[np.uint8] | None],
    first: int,
    settings: DetectionSettings,
    pose: Callable[[], PoseNetworks],
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float32]]:
    """The hands' crops, `arms_px` and `arms_m` of the images; the first one is the shot's frame `first`."""
    crops = np.full((len(images), 2, 4), np.nan)
    arms_px, arms_m = (np.full((len(images), 2, 3, 3), np.nan, np.float32) for _ in range(2))
    rows = [row for row in range(len(images)) if settings.tells_arms(first + row)]
    looked = {row: image for row in rows if (image := images[row]) is not None}
    if looked:
        found, there = find_arms(list(looked.values()), pose()), list(looked)
        arms_px[there] = np.concatenate((found.points_px, found.score[..., None]), -1)
        arms_m[there] = found.world_m
        crops[there] = found.crops
    return crops, arms_px, arms_m


def _windows(frames: Iterable[Frame], settings: DetectionSettings) -> Iterator[list[Frame]]:
    """The frames in groups that fit the settings' memory, but never fewer than a few."""
    some: list[Frame] = []
    limit = settings.window_frames
    for frame in frames:
        some.append(frame)
        if frame.image is not None:
            limit = min(limit, settings.frames_held(frame.image.nbytes, settings.detect_every))
        if len(some) >= limit:
            yield some
            some = []
    if some:
        yield some


def _as_arrays(tracklets: Tracklets, time_s: NDArray[np.float64], size_px: tuple[int, int]) -> ShotDetections:
    columns = tracklets.columns()
    return ShotDetections(
        at=columns["at"],
        tracklet=columns["tracklet"],
        points_px=columns["points_px"],
        world_m=columns["world_m"],
        presence=columns["presence"],
        right=columns["right"],
        crops=columns["crop"],
        growth=columns["growth"],
        odds=columns["odds"],
        time_s=time_s,
        size_px=size_px,
    )
