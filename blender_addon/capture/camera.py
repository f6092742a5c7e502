# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip recorded from a camera by the engine's live preview, and handed on as footage.

The engine shows its page in the browser; Blender only polls a child process and may be closed or load another file.
"""

import atexit
import json
import time
from pathlib import Path
from typing import Any, Final

import bpy
from bpy.app.translations import pgettext_iface as iface_

from inference_core.shared.errors import DuohandError
from inference_core.shared.system import cameras_here
from inference_core.shared.whole_file import unused_path

from ..engine.child import Child, last_lines
from ..preferences import addon_preferences
from ..sidebar import redraw
from ..take.files import takes_folder_of
from .operators import start_capture

POLL_S: Final = 0.25


class CameraClip:
    """The recording of this Blender: none, or the running one."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._clip = Path()
        self._scene, self._captures = 0, False
        self.text, self.is_error = "", False

    @property
    def runs(self) -> bool:
        """Whether the engine is recording."""
        return self._child is not None

    def start(self, scene: bpy.types.Scene, number: int, captures: bool) -> None:
        """Start recording from that camera; a DuohandError says what is missing.

        captures: capture the clip when it ends.
        """
        preferences = addon_preferences()
        folder = takes_folder_of(scene)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DuohandError(f"The folder {folder} cannot be made ({error.strerror}).") from error
        self._clip = unused_path(folder / time.strftime("camera-%Y%m%d-%H%M%S.mp4"))
        self._scene, self._captures = scene.session_uid, captures
        live = ("-I", "-m", "inference_core", "live", str(number), "--record", str(self._clip), "--json")
        self._child = Child((str(preferences.engine_path()), *live), preferences.new_log("camera"))
        self.text, self.is_error = iface_("Starting the camera"), False
        if not bpy.app.background and not bpy.app.timers.is_registered(_keep_polling):
            bpy.app.timers.register(_keep_polling, first_interval=POLL_S, persistent=True)

    def stop(self) -> None:
        """Ask the engine to end the recording."""
        if self._child is not None:
            self.text = iface_("Ending the recording")
            self._child.ask_to_stop()

    def step(self) -> None:
        """Poll; hand the clip on once it is whole."""
        child = self._child
        if child is None:
            return
        for line in child.lines():
            if _kind(line) == "page":
                self.text = iface_("Recording. The page in your browser shows the hands")
        ending = child.ending()
        if ending is None:
            return
        self._child = None
        child.close()
        if not (self._clip.is_file() and self._clip.stat().st_size):
            said = last_lines(child.log_path, 1).removeprefix("duohand: ")
            self.text = said or iface_("Nothing was recorded")
            self.is_error = bool(said)
            return
        self.text = iface_("Recorded: {name}").format(name=self._clip.name)
        self._hand_on()

    def abandon(self) -> None:
        """End the engine at once; what it has written stays."""
        if self._child is not None:
            child, self._child = self._child, None
            child.kill()

    def _hand_on(self) -> None:
        """The clip as the scene's footage, and captured where that was asked for."""
        scene: Any = next((item for item in bpy.data.scenes if item.session_uid == self._scene), None)
        if scene is None:
            return
        scene.duohand.footage = str(self._clip)
        if not self._captures:
            return
        try:
            start_capture(scene)
        except DuohandError as error:
            self.text, self.is_error = str(error), True


CAMERA: Final = CameraClip()


def camera_problem() -> str:
    """The reason why nothing can be recorded; empty if it can."""
    if not addon_preferences().engine_path().exists():
        return iface_("There is no engine. Install or choose one in the add-on's preferences")
    return iface_("This machine has no camera") if cameras_here() == [] else ""


def _kind(line: str) -> str:
    try:
        message = json.loads(line)
    except ValueError:
        return ""
    return str(message.get("type", "")) if isinstance(message, dict) else ""


def _keep_polling() -> float | None:
    before = CAMERA.text
    CAMERA.step()
    if CAMERA.text != before:
        redraw("VIEW_3D")
    return POLL_S if CAMERA.runs else None


def register() -> None:
    atexit.register(CAMERA.abandon)


def unregister() -> None:
    atexit.unregister(CAMERA.abandon)
    CAMERA.abandon()
    if bpy.app.timers.is_registered(_keep_polling):
        bpy.app.timers.unregister(_keep_polling)
