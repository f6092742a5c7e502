# SPDX-License-Identifier: GPL-3.0-or-later
"""The plate movie: the frames as processed, one per frame of the take, for footage that Blender shows differently.

Blender's reader ignores orientation, pixel aspect and interlacing, assumes a constant frame rate, and plays a file's
first picture stream.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from inference_core.footage import Footage
from inference_core.shared.errors import RequestError, TakeError, reason_of
from inference_core.shared.messages import Progress
from inference_core.shared.stages import PLATE
from inference_core.shared.whole_file import check_name, whole_file

_CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
_GROUP = 12  # frames between key frames, few because the timeline is scrubbed
_MISSING_GREY = 48


def plate_beside(take: Path) -> Path:
    """The default path of a take's plate movie."""
    return take.with_name(f"{take.stem}.plate.mp4")


def check_plate_name(path: Path) -> None:
    """RequestError if `path` is not the name of a movie that can be written."""
    check_name(path, tuple(_CONTAINERS), "A plate movie")
    if not path.parent.is_dir():
        raise RequestError(
            f"There is no folder {path.parent} for the plate movie. Make it, or choose another."
        )


def write_plate(footage: Footage, path: Path, progress: Progress | None = None) -> None:
    """Write the footage's picked frames to `path`, the n-th as frame n: the whole movie or, with an error, nothing.

    A missing frame shows the one before it. TakeError if the movie cannot be written.
    """
    kind = _CONTAINERS[path.suffix.lower()]
    try:
        with whole_file(path) as temporary, av.open(str(temporary), "w", format=kind) as container:
            _write_frames(footage, container, progress)
    except (OSError, av.error.FFmpegError) as error:
        raise TakeError(
            f"The plate movie could not be written to {path}: {reason_of(error)}. "
            "The take is complete; make room, or continue without the plate (--proxy none)."
        ) from error


def _write_frames(footage: Footage, container: Any, progress: Progress | None) -> None:
    width, height = footage.info.size_px
    stream = _stream(container, footage)
    image: NDArray[np.uint8] = np.full((height, width, 3), _MISSING_GREY, np.uint8)
    for number, frame in enumerate(footage):
        image = image if frame.image is None else frame.image
        picture = av.VideoFrame.from_ndarray(image, format="rgb24")
        picture.pts, picture.time_base = number, stream.codec_context.time_base
        container.mux(stream.encode(picture))
        if progress is not None:
            progress(PLATE, number + 1, len(footage))
    container.mux(stream.encode(None))


def _stream(container: Any, footage: Footage) -> Any:
    rate = Fraction(footage.info.fps).limit_denominator(1001)
    stream = container.add_stream("libx264", rate=rate)
    stream.width, stream.height = footage.info.size_px
    # 4:2:0 needs an even number of rows and columns.
    stream.pix_fmt = "yuv444p" if any(side % 2 for side in footage.info.size_px) else "yuv420p"
    stream.codec_context.time_base = 1 / rate
    stream.codec_context.gop_size = _GROUP
    stream.options = {"crf": "18", "preset": "veryfast"}
    return stream
