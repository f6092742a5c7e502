# SPDX-License-Identifier: GPL-3.0-or-later
"""Small movies without hands, for what does not depend on what is seen."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_empty_scene(path: Path, frame_count: int = 8, size_px: tuple[int, int] = (96, 64)) -> Path:
    """A movie of `frame_count` frames, 25 a second, in which a grey ramp drifts and nothing else happens."""
    width, height = size_px
    ramp = np.tile(np.linspace(60, 180, width, dtype=np.uint8)[None, :, None], (height, 1, 3))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "ultrafast"}
        for number in range(frame_count):
            frame = av.VideoFrame.from_ndarray(np.roll(ramp, number, axis=1), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
