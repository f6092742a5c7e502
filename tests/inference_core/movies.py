# SPDX-License-Identifier: GPL-3.0-or-later
"""Small movies: one without hands, for tests that do not need any, and a long one made from a short one."""

from fractions import Fraction
from pathlib import Path

import av
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
