# SPDX-License-Identifier: GPL-3.0-or-later
"""A live session: one thread receives frames, another reads, fits and draws the newest; all may be recorded.

A frame that arrives while an older one is being processed replaces the one that waits, so the picture is as recent as
the machine allows. Skipped frames are counted.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference_core.footage.exposure import brightened_picture
from inference_core.geometry.camera import Camera
from inference_core.hand_model.hand import HandModel
from inference_core.landmarks.networks import LandmarkNetworks
from inference_core.live.board import Board
from inference_core.live.follower import HandFollower, SeenHand
from inference_core.live.recorder import Recorder
from inference_core.live.solver import LiveSolver
from inference_core.live.source import Image, LiveFrame, Source
from inference_core.preview.hands import COLOURS, draw_hands
from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import PARENTS_21, SIDES

_WIDEST_PX = 960  # of the page's picture
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 80)
_WAIT_S = 0.25


@dataclass(frozen=True)
class LiveSettings:
    """records: gives each recording its name. at_once: record from the first frame. limit_s: end after this time."""

    records: Callable[[], Path]
    at_once: bool = False
    limit_s: float | None = None
    hand_length_mm: float | None = None


class LiveSession:
    """One source, shown until it ends, the page's button is pressed, or `stopped` returns True."""

    def __init__(
        self,
        source: Source,
        board: Board,
        networks: LandmarkNetworks,
        model: HandModel,
        camera: Camera,
        settings: LiveSettings,
    ) -> None:
        self._source, self._board, self._settings = source, board, settings
        self._follower = HandFollower(networks)
        self._solver = LiveSolver(model, camera, settings.hand_length_mm)
        self._K = camera.K
        self._newest: LiveFrame | None = None
        self._came, self._over = threading.Condition(), False
        self._fault: Exception | None = None
        self._recorder: Recorder | None = None
        self.recordings: list[Path] = []
        board.wants_recording = settings.at_once

    def run(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Show frames until the end. RequestError if a recording fails; what is already recorded is kept."""
        reader = threading.Thread(target=self._take_in, name="duohand-camera", daemon=True)
        reader.start()
        ends_s = time.monotonic() + (self._settings.limit_s or float("inf"))
        try:
            while not (self._board.wants_end or stopped() or time.monotonic() > ends_s):
                frame = self._next()
                if frame is not None:
                    self._show(frame)
                elif self._over:
                    break
        finally:
            self._over = True
            reader.join(2.0)
            self._end_recording()
            self._board.end()
        if self._fault is not None:
            raise self._fault

    def _take_in(self) -> None:
        """Pass every frame to the recorder, and keep the newest for the preview."""
        try:
            for frame in self._source.frames():
                if self._over:
                    break
                self._board.arrived()
                self._record(frame)
                with self._came:
                    self._newest = frame
                    self._came.notify()
        except Exception as error:  # noqa: BLE001 (raised again in the main thread)
            self._fault = error
        with self._came:
            self._over = True
            self._came.notify()

    def _next(self) -> LiveFrame | None:
        with self._came:
            self._came.wait_for(lambda: self._newest is not None or self._over, _WAIT_S)
            frame, self._newest = self._newest, None
            return frame

    def _show(self, frame: LiveFrame) -> None:
        hands = self._follower.look(brightened_picture(frame.image))
        vertices_m = self._solver.vertices_m(hands)
        scale = min(1.0, _WIDEST_PX / max(frame.image.shape[:2]))
        picture = _drawn(frame.image, hands, vertices_m, self._solver.faces, self._K, scale)
        _, jpeg = cv2.imencode(".jpg", picture[..., ::-1], _JPEG)
        names = tuple(f"{SIDES[side]} {100 * hand.presence:.0f} %" for side, hand in sorted(hands.items()))
        self._board.publish(jpeg.tobytes(), names, frame.came_s)

    def _record(self, frame: LiveFrame) -> None:
        try:
            if self._board.wants_recording and self._recorder is None:
                self._recorder = Recorder(self._settings.records(), self._source.size_px, self._source.fps)
                self._board.recording(str(self._recorder.path))
            elif not self._board.wants_recording:
                self._end_recording()
            if self._recorder is not None:
                self._recorder.put(frame)
        except RequestError as error:
            self._board.wants_recording = False
            self._board.note(str(error))

    def _end_recording(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        self._board.recording(None)
        recorder.close()
        if recorder.written:
            self.recordings.append(recorder.path)
        if recorder.left_out:
            self._board.note(f"{recorder.left_out} frames came faster than they could be written.")


def _drawn(
    image: Image,
    hands: dict[int, SeenHand],
    vertices_m: NDArray[np.float64],
    faces: NDArray[np.int32],
    K: NDArray[np.float64],
    scale: float,
) -> Image:
    """The picture at this scale, with the fitted hands and their landmarks drawn over it."""
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image.copy()
    sure = np.array([hands[side].presence if side in hands else 0.0 for side in (0, 1)], np.float32)
    picture: Any = draw_hands(
        np.asarray(small, np.uint8), vertices_m, faces, np.diag([scale, scale, 1.0]) @ K, 0.5 * sure
    )
    for side, hand in hands.items():
        points = np.round(hand.points_px * scale).astype(int).tolist()
        colour = [int(255 * value) for value in COLOURS[side]]
        for point, parent in zip(points, PARENTS_21, strict=True):
            if parent >= 0:
                cv2.line(picture, points[parent], point, colour, 1, cv2.LINE_AA)
            cv2.circle(picture, point, 3, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
    return picture
