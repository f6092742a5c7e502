# SPDX-License-Identifier: GPL-3.0-or-later
"""Loading a finished take into its scene: read in a thread, applied step by step."""

import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import bpy

from inference_core.shared.take import Take, load_take

from ..scene.shot import animated, shots
from ..scene.unkeyed import unkeyed_kept
from ..take.apply_take import Applied, apply_steps, apply_take
from ..take.settings import ApplySettings

STEP_S: Final = 0.03  # no step is begun after this long; the last one may take as long again


@dataclass(frozen=True)
class Target:
    """Where a take goes. The scene is identified by number, since undo and file loading invalidate its object; once
    its file, `blend`, was opened again, by name.
    """

    scene_uid: int
    scene_name: str
    settings: ApplySettings
    blend: str = ""

    def scene(self) -> bpy.types.Scene | None:
        """The scene, None if it is gone."""
        there = next((item for item in bpy.data.scenes if item.session_uid == self.scene_uid), None)
        is_reopened = bool(self.blend) and self.blend == bpy.data.filepath
        return there or (bpy.data.scenes.get(self.scene_name) if is_reopened else None)

    def before_loading(self) -> "Target":
        """The same target as it can be found again after another file is loaded."""
        scene = self.scene()
        return self if scene is None else replace(self, scene_name=scene.name, blend=bpy.data.filepath)


class Landing:
    """The loading of one take. `step` does a little of it; a DuohandError says why the take cannot be loaded."""

    def __init__(self, path: str, target: Target) -> None:
        self.path, self.target = path, target
        reader = ThreadPoolExecutor(1, "duohand-take")
        self._take: Future[Take] = reader.submit(load_take, path)
        reader.shutdown(wait=False)
        self._steps: Generator[None, None, Applied] | None = None
        self._is_stale = False

    def step(self, scene: bpy.types.Scene) -> Applied | None:
        """The outcome once it is loaded; None before."""
        if not self._take.done():
            return None
        if self._is_stale:
            return apply_take(scene, self._take.result(), self.path, self.target.settings)
        if self._steps is None:
            self._steps = apply_steps(scene, self._take.result(), self.path, self.target.settings)
            next(self._steps)
        end = time.monotonic() + STEP_S
        mine = [item for found in shots(scene) for item in animated(found)]
        try:
            with unkeyed_kept(scene, mine):
                next(self._steps)
                while time.monotonic() < end:
                    next(self._steps)
        except StopIteration as done:
            return done.value
        except ReferenceError:  # its scene or shot was deleted meanwhile
            self.begin_anew()
        return None

    def begin_anew(self) -> None:
        """Blender's data was replaced (undo, file loading): start over, and finish without pauses."""
        if self._steps is not None:
            self._steps, self._is_stale = None, True
