# SPDX-License-Identifier: GPL-3.0-or-later
"""The preview movie: H.264 at the footage's own timing, written frame by frame."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from inference_core.footage import Footage
from inference_core.preview.hands import draw_hands
from inference_core.preview.labels import draw_labels
from inference_core.shared.errors import FootageError, RequestError, TakeError, reason_of
from inference_core.shared.messages import Progress
from inference_core.shared.stages import PREVIEW
from inference_core.shared.take import Take
from inference_core.shared.take_mesh import posed_vertices
from inference_core.shared.whole_file import check_name, whole_file

# Fine enough for every common frame rate, and usual in MP4 files.
_TICKS_A_SECOND = 90_000
_CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
_MISSING_GREY = 48

Image = NDArray[np.uint8]


def write_preview(take: Take, footage: Footage, path: Path, progress: Progress | None = None) -> None:
    """Write the take's hands over the footage to `path`: the whole movie or, with an error, nothing.

    RequestError for a name that is not a movie's; FootageError if the footage is not the take's; TakeError where
    the movie cannot be written.
    """
    _check_same_shot(take, footage)
    check_preview_name(path)
    kind = _CONTAINERS[path.suffix.lower()]
    try:
        with whole_file(path) as temporary, av.open(str(temporary), "w", format=kind) as container:
            _write_frames(take, footage, container, progress)
    except (OSError, av.error.FFmpegError) as error:
        raise TakeError(_unwritable(path, error)) from error


def check_preview_name(path: Path) -> None:
    """RequestError if `path` is not the name of a movie that can be written."""
    check_name(path, tuple(_CONTAINERS), "A preview")
    if not path.parent.is_dir():
        raise RequestError(f"There is no folder {path.parent} for the preview. Make it, or choose another.")


def draw_frame(take: Take, row: int, image: Image | None) -> Image:
    """Row `row` of the take over its picture (H, W, 3); over plain grey if the picture is missing."""
    width, height = (int(side) for side in take.size_px)
    if image is None:
        image = np.full((height, width, 3), _MISSING_GREY, np.uint8)
    K = take.K if take.K.ndim == 2 else take.K[row]
    drawn = draw_hands(image, posed_vertices(take, row), take.faces, K, take.confidence[row])
    drawn = drawn.copy() if drawn is image else drawn
    number, time_s = int(take.frame[row]), float(take.time_s[row])
    return draw_labels(drawn, number, time_s, take.present[row], take.confidence[row])


def _check_same_shot(take: Take, footage: Footage) -> None:
    if tuple(take.size_px) != footage.info.size_px:
        raise FootageError(
            f"The take was made from footage of {take.size_px[0]}x{take.size_px[1]} pixels; "
            f"{footage.info.name} has {footage.info.size_px[0]}x{footage.info.size_px[1]}. "
            "Choose the footage of the take."
        )
    if list(take.frame) != list(footage.info.numbers):
        raise FootageError(
            f"The take holds the frames {take.frame[0]}..{take.frame[-1]} ({take.frame_count} of them); "
            f"{footage.info.name} has other frames. Choose the footage of the take."
        )


def _write_frames(take: Take, footage: Footage, container: Any, progress: Progress | None) -> None:
    stream = _stream(container, footage.info.size_px, footage.info.fps)
    for row, frame in enumerate(footage):
        image = _even(draw_frame(take, row, frame.image))
        picture = av.VideoFrame.from_ndarray(image, format="rgb24")
        picture.pts = round((frame.time_s - take.time_s[0]) * _TICKS_A_SECOND)
        picture.time_base = Fraction(1, _TICKS_A_SECOND)
        container.mux(stream.encode(picture))
        if progress is not None:
            progress(PREVIEW, row + 1, take.frame_count)
    container.mux(stream.encode(None))


def _stream(container: Any, size_px: tuple[int, int], fps: float) -> Any:
    stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
    stream.width, stream.height = (side - side % 2 for side in size_px)
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, _TICKS_A_SECOND)
    stream.options = {"crf": "19", "preset": "veryfast"}
    return stream


def _even(image: Image) -> Image:
    """The picture without its last column or row if their number is odd: 4:2:0 has no half pixels."""
    height, width = image.shape[:2]
    return np.ascontiguousarray(image[: height - height % 2, : width - width % 2])


def _unwritable(path: Path, error: Exception) -> str:
    return (
        f"The preview could not be written to {path}: {reason_of(error)}. "
        "Choose a folder that you may write to and that has room."
    )
