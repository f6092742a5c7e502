# SPDX-License-Identifier: GPL-3.0-or-later
"""Small movies: one without hands, for tests that do not need any, and a long one made from a short one."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray


def write_empty_scene(path: Path, frame_count: int = 8, size_px: tuple[int, int] = (96, 64)) -> Path:
    """A movie of `frame_count` frames, 25 a second, in which a grey ramp drifts and nothing else happens."""
    width, height = size_px
    ramp = np.tile(np.linspace(60, 180, width, dtype=np.uint8)[None, :, None], (height, 1, 3))
    return _write(path, size_px, [np.roll(ramp, number, axis=1) for number in range(frame_count)])


def write_there_and_back(path: Path, movie: Path, frame_count: int) -> Path:
    """A movie of `frame_count` frames at half size: the other one's, forwards, backwards, forwards..."""
    with av.open(str(movie)) as container:
        frames = [frame.to_ndarray(format="rgb24")[::2, ::2] for frame in container.decode(video=0)]
    turn = 2 * (len(frames) - 1)
    places = (min(number % turn, turn - number % turn) for number in range(frame_count))
    return _write(path, frames[0].shape[1::-1], [frames[place] for place in places])


def write_small(path: Path, movie: Path, frames: range, height: int, at: tuple[int, int]) -> Path:
    """Frames of a movie, shrunk to that height, at x, y in an even picture of 1280x720."""
    pictures: list[NDArray[np.uint8]] = []
    for picture in pictures_of(movie, frames):
        width = round(height * picture.shape[1] / picture.shape[0])
        wide = np.full((720, 1280, 3), 110, np.uint8)
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        wide[at[1] : at[1] + height, at[0] : at[0] + width] = small
        pictures.append(wide)
    return _write(path, (1280, 720), pictures)


def pictures_of(movie: Path, frames: range) -> list[NDArray[np.uint8]]:
    """Frames of a movie, RGB (H, W, 3)."""
    with av.open(str(movie)) as container:
        shown = islice(container.decode(video=0), frames.start, frames.stop, frames.step)
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in shown]


def write_pictures(path: Path, pictures: list[NDArray[np.uint8]]) -> Path:
    """A movie of these pictures (H, W, 3), 25 a second."""
    height, width = pictures[0].shape[:2]
    return _write(path, (width, height), pictures)


def _write(path: Path, size_px: tuple[int, int], pictures: list[NDArray[np.uint8]]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        (stream.width, stream.height), stream.pix_fmt = size_px, "yuv420p"
        stream.options = {"preset": "ultrafast"}
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
