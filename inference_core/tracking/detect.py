# SPDX-License-Identifier: GPL-3.0-or-later
"""Every hand in every frame of a shot: palms found on key frames, each followed forwards and backwards.

A shot is known whole, so nothing here is causal. Frames stream through a window. Palms are sought on every
n-th frame; each one starts a tracklet, and all tracklets of the window advance together, one batch a step, until
they meet the next key frame's tracklet (then the two become one) or lose the hand. Tracklets that nothing led up to
are followed backwards, and frames with fewer hands than their neighbours are searched again. Sides are not
decided here: see `tracks`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.body_reader import find_arms
from inference_core.landmarks.weights import LandmarkNetworks, PoseNetworks
from inference_core.tracking.detections import ShotDetections
from inference_core.tracking.tracklets import Sighting, Tracklets
from inference_core.tracking.window import DetectionSettings, Window

STAGE = "landmarks"
Progress = Callable[[str, int, int], None]
_ArmsArrays = tuple[NDArray[np.float32], NDArray[np.float32]]


class ShotFrame(Protocol):
    """A frame of footage: RGB image (H, W, 3) uint8, or None where it is missing."""

    @property
    def time_s(self) -> float: ...
    @property
    def image(self) -> NDArray[np.uint8] | None: ...


def detect_shot(
    frames: Iterable[ShotFrame],
    networks: LandmarkNetworks,
    settings: DetectionSettings | None = None,
    progress: Progress | None = None,
    frame_count: int = 0,
    pose: PoseNetworks | None = None,
) -> ShotDetections:
    """All sightings of hands in the shot. Holds no more than a window of images, however long the shot.

    pose: with it, the arms of the plainest person are looked for on some frames.

    progress(stage, done, total) is called after every window; total is `frame_count`, or what is known so
    far.
    """
    settings = settings or DetectionSettings()
    tracklets = Tracklets()
    times: list[float] = []
    arms: list[_ArmsArrays] = []
    size_px = (0, 0)
    window = Window(networks, settings, tracklets)
    for some in _windows(frames, settings):
        times.extend(frame.time_s for frame in some)
        size_px = next((_size_px(frame.image) for frame in some if frame.image is not None), size_px)
        window.advance([frame.image for frame in some])
        if pose is not None:
            arms.append(_arms([frame.image for frame in some], len(times) - len(some), settings, pose))
        # Only the window's short history may stay while the next frames come in.
        some.clear()
        if progress is not None:
            progress(STAGE, len(times), max(frame_count, len(times)))
    found = _as_arrays(tracklets, np.array(times, np.float64), size_px)
    if not arms:
        return found
    arms_px, arms_m = (np.concatenate(parts) for parts in zip(*arms, strict=True))
    return replace(found, arms_px=arms_px, arms_m=arms_m)


def _arms(
    images: list[NDArray[np.uint8] | None], first: int, settings: DetectionSettings, pose: PoseNetworks
) -> _ArmsArrays:
    """`arms_px` and `arms_m` of the images, which begin with the shot's frame `first`."""
    arms_px, arms_m = (np.full((len(images), 2, 3, 3), np.nan, np.float32) for _ in range(2))
    rows = [row for row in range(len(images)) if (first + row) % settings.arms_every == 0]
    looked = {row: image for row in rows if (image := images[row]) is not None}
    if looked:
        found, there = find_arms(list(looked.values()), pose), list(looked)
        arms_px[there] = np.concatenate((found.points_px, found.score[..., None]), -1)
        arms_m[there] = found.world_m
    return arms_px, arms_m


def _size_px(image: NDArray[np.uint8]) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


def _windows(frames: Iterable[ShotFrame], settings: DetectionSettings) -> Iterator[list[ShotFrame]]:
    """The frames, some at a time: few enough to stay under the settings' memory, but always a few."""
    some: list[ShotFrame] = []
    limit = settings.window_frames
    for frame in frames:
        some.append(frame)
        if frame.image is not None:
            limit = min(limit, max(settings.detect_every, settings.window_bytes // frame.image.nbytes))
        if len(some) >= limit:
            yield some
            some = []
    if some:
        yield some


def _as_arrays(tracklets: Tracklets, time_s: NDArray[np.float64], size_px: tuple[int, int]) -> ShotDetections:
    sightings: list[tuple[int, Sighting]] = sorted(tracklets.all(), key=lambda item: (item[1].at, item[0]))
    found = [sighting for _, sighting in sightings]
    return ShotDetections(
        at=np.array([sighting.at for sighting in found], np.int64),
        tracklet=np.array([tracklet for tracklet, _ in sightings], np.int64),
        points_px=np.array([sighting.points_px for sighting in found], np.float32).reshape(-1, 21, 3),
        world_m=np.array([sighting.world_m for sighting in found], np.float32).reshape(-1, 21, 3),
        presence=np.array([sighting.presence for sighting in found], np.float32),
        right=np.array([sighting.right for sighting in found], np.float32),
        crops=np.array([sighting.crop for sighting in found], np.float32).reshape(-1, 4),
        time_s=time_s,
        size_px=size_px,
    )
