# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the clip while it is filmed: H.264 with the frames' own times, playable up to the last second if killed."""

import os
import queue
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from inference_core.live.source import Image, LiveFrame
from inference_core.shared.errors import RequestError, reason_of

_TICKS_A_SECOND = 90_000
_WAITING = 90  # frames, some seconds; what comes faster than it is written is left out, and counted
_GROUP = 24  # frames between key frames: a fragment of the file each


class Recorder:
    """Writes frames in its own thread. left_out: frames that arrived faster than they could be written."""

    def __init__(self, path: Path, size_px: tuple[int, int], fps: float) -> None:
        self.path, self.left_out, self.written = path, 0, 0
        self._waiting: queue.Queue[LiveFrame | None] = queue.Queue(_WAITING)
        self._fault: Exception | None = None
        self._began_s: float | None = None
        check_place(path)
        try:
            options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
            self._container: Any = av.open(str(path), "w", format="mp4", options=options)
        except (OSError, av.error.FFmpegError) as error:
            raise RequestError(
                f"{path} cannot be recorded to: {reason_of(error)}. Choose another place."
            ) from error
        self._stream = _stream(self._container, size_px, fps)
        self._thread = threading.Thread(target=self._write_all, name="duohand-recorder", daemon=True)
        self._thread.start()

    def put(self, frame: LiveFrame) -> None:
        """Queue the frame for writing; never waits."""
        if self._began_s is None:
            self._began_s = frame.time_s
        try:
            self._waiting.put_nowait(frame)
        except queue.Full:
            self.left_out += 1

    def close(self) -> None:
        """Write what is queued and finish the file. RequestError if it could not be written, as on a full disk."""
        self._waiting.put(None)
        self._thread.join()
        try:
            if self._fault is None:
                self._container.mux(self._stream.encode(None))
            self._container.close()
        except (OSError, av.error.FFmpegError) as error:
            self._fault = self._fault or error
        if not self.written:
            self.path.unlink(missing_ok=True)
        if self._fault is not None:
            raise RequestError(
                f"The recording broke off: {self._fault}. What was written until then is in {self.path}."
            ) from self._fault

    def _write_all(self) -> None:
        while (frame := self._waiting.get()) is not None:
            try:
                if self._fault is None:
                    self._write(frame)
            except (OSError, ValueError, av.error.FFmpegError) as error:
                self._fault = error

    def _write(self, frame: LiveFrame) -> None:
        picture = av.VideoFrame.from_ndarray(_even(frame.image), format="rgb24")
        picture.pts = round((frame.time_s - (self._began_s or 0.0)) * _TICKS_A_SECOND)
        picture.time_base = Fraction(1, _TICKS_A_SECOND)
        self._container.mux(self._stream.encode(picture))
        self.written += 1


def check_place(path: Path) -> None:
    """RequestError unless a recording can be written there without replacing anything."""
    if os.path.lexists(path):
        raise RequestError(f"{path} is there already. Name another file for the recording.")
    if not os.access(path.parent, os.W_OK):
        raise RequestError(
            f"{path} cannot be recorded to: its folder does not exist or is read-only. Choose another place."
        )


def _stream(container: Any, size_px: tuple[int, int], fps: float) -> Any:
    stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
    stream.width, stream.height = (side - side % 2 for side in size_px)
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, _TICKS_A_SECOND)
    stream.codec_context.gop_size = _GROUP
    stream.options = {"crf": "18", "preset": "ultrafast", "tune": "zerolatency"}
    return stream


def _even(image: Image) -> Image:
    height, width = image.shape[:2]
    return np.ascontiguousarray(image[: height - height % 2, : width - width % 2])
