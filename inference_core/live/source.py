# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources of live frames: a camera, or a movie played at its own speed."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference_core.footage import Footage, open_footage
from inference_core.footage.opencv_log import silence_opencv
from inference_core.shared.errors import FootageError
from inference_core.shared.system import cameras_here

Image = NDArray[np.uint8]

_LONGEST_SLEEP_S = 5.0  # a gap in a movie's times is not sat out


@dataclass(frozen=True)
class LiveFrame:
    """A picture (H, W, 3), when it arrived (time.monotonic), and its time in the clip."""

    image: Image
    came_s: float
    time_s: float


class Camera:
    """A camera of this machine, by its number."""

    def __init__(self, number: int) -> None:
        self.name, self.is_camera = f"camera {number}", True
        _check_camera(number)
        silence_opencv()
        self._device = cv2.VideoCapture(number)
        taken, picture = self._device.read() if self._device.isOpened() else (False, None)
        if not taken or picture is None:
            self._device.release()
            raise FootageError(
                f"Camera {number} gives no picture. Close other programs that use it, and allow Duohand to use it."
            )
        self.size_px = picture.shape[1], picture.shape[0]
        self.fps = float(self._device.get(cv2.CAP_PROP_FPS) or 30.0)

    def frames(self) -> Iterator[LiveFrame]:
        """Pictures as they arrive, until the camera is gone."""
        began = time.monotonic()
        try:
            while True:
                taken, picture = self._device.read()
                came = time.monotonic()
                if not taken:
                    return
                yield LiveFrame(np.ascontiguousarray(picture[..., ::-1], np.uint8), came, came - began)
        finally:
            self._device.release()


class Movie:
    """A movie or a picture sequence, each frame at its own time."""

    def __init__(self, footage: Footage) -> None:
        self.name, self.is_camera = Path(footage.info.name).name, False
        self.size_px, self.fps = footage.info.size_px, footage.info.fps
        self._footage = footage

    def frames(self) -> Iterator[LiveFrame]:
        """The frames, without missing ones."""
        began = time.monotonic()
        for frame in self._footage:
            wait_s = began + frame.time_s - time.monotonic()
            time.sleep(min(max(wait_s, 0.0), _LONGEST_SLEEP_S))
            if frame.image is not None:
                yield LiveFrame(frame.image, time.monotonic(), frame.time_s)


Source = Camera | Movie


def open_source(text: str) -> Source:
    """The camera with this number or device, or else the footage at this path. FootageError if there is none."""
    number = re.fullmatch(r"(?:/dev/video)?(\d{1,3})", text, re.ASCII)
    return Camera(int(number[1])) if number else Movie(open_footage(text))


def _check_camera(number: int) -> None:
    here = cameras_here()
    if here is None or number in here:
        return
    others = f"there are {', '.join(map(str, here))}" if here else "this machine has none"
    raise FootageError(f"There is no camera {number}: {others}. Plug one in, or give a movie instead.")
