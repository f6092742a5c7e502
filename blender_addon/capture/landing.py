# SPDX-License-Identifier: GPL-3.0-or-later
"""Loading a finished take into its scene: read in a thread, applied step by step."""

import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import bpy

from inference_core.shared.errors import RequestError
from inference_core.shared.take import Take, load_take

from ..scene import orphans
from ..scene.shot import animated, shots
from ..scene.unkeyed import unkeyed_kept
from ..take.apply_take import Applied, apply_steps, apply_take
from ..take.settings import ApplySettings

STEP_S: Final = 0.03  # no step is begun after this long; the last one may take as long again


@dataclass(frozen=True)
class Block:
    """A data-block, identified by number, since undo and file loading invalidate its object; once its file, `blend`,
    was opened again, by name.
    """

    uid: int
    name: str
    blend: str = ""

    @classmethod
    def of(cls, block: bpy.types.ID) -> "Block":
        """What identifies the block as long as its file is open."""
        return cls(block.session_uid, block.name)

    def now(self, blocks: Any) -> Any:
        """The block, one of `blocks` (bpy.data.scenes, ...); None if it is gone."""
        there = next((item for item in blocks if item.session_uid == self.uid), None)
        is_reopened = bool(self.blend) and self.blend == bpy.data.filepath
        return there or (blocks.get(self.name) if is_reopened else None)

    def before_loading(self, blocks: Any) -> "Block":
        """The same block as it can be found again after another file is loaded."""
        there = self.now(blocks)
        return self if there is None else replace(self, name=there.name, blend=bpy.data.filepath)


@dataclass(frozen=True)
class Target:
    """Where a take goes: its scene and, if it was asked for a shot, that shot, and the empty that carries it.

    unbound: the settings without the shot, which undo and file loading would invalidate.
    """

    scene: Block
    shot: Block | None
    place: Block | None
    unbound: ApplySettings

    @classmethod
    def of(cls, scene: bpy.types.Scene, settings: ApplySettings) -> "Target":
        """The target of a take that is to be loaded into the scene with those settings, some time later."""
        shot = settings.shot
        place = None if shot is None else shot.duohand.place
        return cls(
            Block.of(scene), shot and Block.of(shot), place and Block.of(place), replace(settings, shot=None)
        )

    def settings(self, scene: bpy.types.Scene) -> ApplySettings:
        """The settings for the scene as it is now; RequestError if the shot is gone from it."""
        if self.shot is None:
            return self.unbound
        there = [*shots(scene), *orphans.unlinked()]
        found = self.shot.now(bpy.data.collections)
        if found not in there:
            found = self._by_place(scene, there)
        if found is None:
            raise RequestError(f"The shot {self.shot.name} is gone from the scene, so nothing was changed.")
        return replace(self.unbound, shot=found)

    def before_loading(self) -> "Target":
        """The same target as it can be found again after another file is loaded."""
        return replace(
            self,
            scene=self.scene.before_loading(bpy.data.scenes),
            shot=self.shot and self.shot.before_loading(bpy.data.collections),
            place=self.place and self.place.before_loading(bpy.data.objects),
        )

    def _by_place(self, scene: bpy.types.Scene, there: list[Any]) -> bpy.types.Collection | None:
        """The shot if its collection was deleted and its hands were not."""
        place = self.place and self.place.now(bpy.data.objects)
        if place is not None and place in orphans.orphaned(scene):
            return orphans.adopt(scene, place)
        return next((item for item in there if place is not None and item.duohand.place == place), None)


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
            return apply_take(scene, self._take.result(), self.path, self.target.settings(scene))
        if self._steps is None:
            self._steps = apply_steps(scene, self._take.result(), self.path, self.target.settings(scene))
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
